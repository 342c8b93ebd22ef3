#' Save and load a fit
#'
#' `saveRDS()` keeps latents and diagnosis of a fit, and not its model, which lives in Python. `save_cvae()` writes the
#' model (safetensors and JSON, which the Python package reads too) and beside it what R knows of the fit.
#'
#' @param object A `cvae_fit`, or an object that [cvae()] returned.
#' @param folder Folder of the model.
#' @param overwrite Replace a model that is there.
#' @param data Whether to write the cells as well.
#' @param x The cells: the object that was fitted, or others with the same genes and columns. `NULL` takes those that
#'   were saved with the model; without cells a fit still predicts for others.
#' @param col_data For a matrix: a data frame with the columns that the model is conditioned on. `NULL` takes those of
#'   the fit, where `x` has the same cells.
#' @return `save_cvae()`: the folder, invisibly. `load_cvae()`: the fit, or `x` with it.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 100, n_genes = 30)
#'   fit <- cvae(cells$x, max_epochs = 4)
#'   folder <- save_cvae(fit, tempfile())
#'   identical(latent(load_cvae(folder, cells$x)), latent(fit))
#' }
#' @export
save_cvae <- function(object, folder, overwrite = FALSE, data = FALSE) {
  fit <- fit_of(object)
  folder <- path.expand(folder)
  ask("save", model = model_of(fit), folder = folder, overwrite = overwrite, save_anndata = data)
  known <- c("call", "assay", "layer", "diagnosis", "attempts", "cells", "columns")
  saveRDS(fit[known], file.path(folder, "fit.rds"))
  invisible(folder)
}

#' @rdname save_cvae
#' @export
load_cvae <- function(folder, x = NULL, col_data = NULL) {
  folder <- path.expand(folder)
  own <- file.path(folder, "fit.rds")
  saved <- if (file.exists(own)) readRDS(own) else list(call = quote(cvae(x)))
  facts <- ask("load", folder = folder)
  new <- NULL
  if (!is.null(x)) {
    new <- new_cells(c(facts["setup"], saved), x, col_data, own = TRUE)
    facts <- ask("load", folder = folder, cells = new$cells)
  }
  fit <- make_fit(facts, saved$call, saved$assay, saved$layer, new$col_data, saved$diagnosis)
  fit[c("attempts", "columns")] <- list(saved$attempts, if (is.null(new)) saved$columns else new$columns)
  if (is.null(x)) fit else with_fit(x, fit)
}
