#' Cells to try things on
#'
#' Data of the Python package, without a download.
#'
#' @param name `"pbmc68k_counts"`: counts of 700 blood cells x 765 genes with ten labelled types (Zheng et al. 2017).
#'   `"simulate_counts"` and `"simulate_bulk"`: draws from a known model.
#' @param ... Of the simulations: `n_cells` (`n_samples`), `n_genes`, `seed`, ...
#' @return A list: `x` (genes x cells) and `col_data` (a data frame).
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 50, n_genes = 20)
#'   dim(cells$x)
#'   table(cells$col_data$batch)
#' }
#' @export
example_cells <- function(name = c("pbmc68k_counts", "simulate_counts", "simulate_bulk"), ...) {
  found <- do.call(ask, c(list("dataset", name = match.arg(name)), settings(...)))
  list(x = from_matrix(found$x, found$genes, found$cells), col_data = from_table(found$col_data))
}
