# What comes after a fit.

#' Decoded expression
#'
#' What the model expects of each cell: shares of the library times `library_size` for counts (or exp(f) times it with
#' size factors), means in data units else. Base R has [base::expression()], hence the longer name.
#'
#' @param object A `cvae_fit`, or an object that [cvae()] returned.
#' @param genes,cells Which ones: names, or for cells numbers or a logical vector; `NULL` for all.
#' @param transform A list of covariates to decode at instead of the cells' own: `list(batch = "b1", age = 40)`.
#' @param library_size Library to which counts are scaled.
#' @param n_samples Draws of z to average over; 1 decodes the posterior mean.
#' @param newdata,col_data Other cells, as in [predict.cvae_fit()].
#' @return A matrix, genes x cells.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 100, n_genes = 30)
#'   fit <- cvae(cells$x, batch = cells$col_data$batch, max_epochs = 4)
#'   normalized_expression(fit, genes = c("gene_2", "gene_1"), cells = 1:3, library_size = 1e4)
#' }
#' @export
normalized_expression <- function(object, genes = NULL, cells = NULL, transform = NULL, library_size = 1, n_samples = 1,
                                  newdata = NULL, col_data = NULL) {
  fit <- fit_of(object)
  new <- if (!is.null(newdata)) new_cells(fit, newdata, col_data)
  names <- if (is.null(new)) fit$cells else new$names
  rows <- row_numbers(cells, names)
  found <- ask("expression",
    model = model_of(fit), cells = new$cells, indices = rows, transform = plain_value(transform, "transform"),
    gene_list = if (!is.null(genes)) as.list(enc2utf8(as.character(genes))), library_size = library_size,
    n_samples = n_samples
  )
  values <- from_matrix(found$values, found$genes, if (is.null(rows)) names else names[unlist(rows) + 1L])
  if (is.null(genes)) values else values[as.character(genes), , drop = FALSE]
}

#' Cells as they would be in another state
#'
#' decode(z, c') - decode(z, c) at the same draws z of each cell, beside what simple baselines say of it. Counts are in
#' log1p of counts per 10,000.
#'
#' @inheritParams normalized_expression
#' @param to The state: `list(condition = "stim")`. Several covariates are changed together.
#' @param groupby Column (or vector) whose groups are averaged and judged; `NULL` for all cells together.
#' @param cells Which ones: numbers, names or a logical vector; `NULL` for all.
#' @param layers Further matrices to return, of `"own"`, `"target"`, `"lower"`, `"upper"`, `"mean"`, `"variance"`.
#' @param n_samples Draws of z of each cell.
#' @param interval Level of the intervals.
#' @param seed Of the draws; `NULL` for that of the fit.
#' @return A `cvae_counterfactual`: a list with `change` (genes x cells), the `layers`, `groups` and `by_gene` (data
#'   frames: predicted means beside no change and the mean shift of the other groups; change with interval, p and q),
#'   `summary` (a text) and `told_by_z` (balanced accuracy with which z tells the state).
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 150, n_genes = 30)
#'   fit <- cvae(cells$x, batch = cells$col_data$batch, max_epochs = 10)
#'   counterfactual(fit, to = list(batch = "batch_1"), cells = cells$col_data$batch == "batch_0")
#' }
#' @export
counterfactual <- function(object, to, groupby = NULL, cells = NULL, layers = character(), n_samples = 25,
                           interval = 0.95, seed = NULL, newdata = NULL, col_data = NULL) {
  fit <- fit_of(object)
  if (!is.list(to)) stop_input("to must be a list such as list(condition = \"stim\"), got ", a_class(to), ".")
  known <- c("own", "target", "lower", "upper", "mean", "variance")
  if (!all(layers %in% known)) stop_input("layers must be of ", listed(known, 6), ", got ", listed(layers), ".")
  new <- if (!is.null(newdata)) new_cells(fit, newdata, col_data, groupby)
  found <- ask("counterfactual",
    model = model_of(fit), cells = new$cells, indices = row_numbers(cells, if (is.null(new)) fit$cells else new$names),
    to = plain_value(to, "to"), groupby = if (is.null(new)) describe(fit, groupby, "groupby") else names(new$further),
    layers = as.list(layers), n_samples = n_samples, interval = interval, seed = seed
  )
  matrices <- lapply(c(list(change = found$change), found$layers), from_matrix, found$genes, found$cells)
  said <- list(groups = from_table(found$groups), by_gene = from_table(found$by_gene), summary = found$summary)
  structure(c(matrices, said, list(told_by_z = found$told_by_z)), class = "cvae_counterfactual")
}

#' @method print cvae_counterfactual
#' @export
print.cvae_counterfactual <- function(x, ...) {
  for (line in strsplit(x$summary, "\n", fixed = TRUE)[[1]]) wrapped(line, "", "  ")
  columns <- c("group", "n", "n_target", "r2_model", "r2_no_change", "r2_mean_shift", "against_mean_shift")
  print(x$groups[columns], digits = 3, row.names = FALSE)
  invisible(x)
}

#' @export
as.data.frame.cvae_counterfactual <- function(x, ...) x$by_gene

#' @export
plot.cvae_counterfactual <- function(x, group = x$by_gene$group[[1]], ...) {
  genes <- x$by_gene[x$by_gene$group == group, ]
  seen <- !all(is.na(genes$observed_mean))
  y <- if (seen) genes$observed_mean else genes$predicted_mean
  x_values <- if (seen) genes$predicted_mean else genes$own_mean
  graphics::plot(x_values, y,
    pch = 16, cex = 0.6, las = 1, main = group, col = palette_of(2)[[1]],
    xlab = if (seen) "predicted mean" else "mean as it is", ylab = if (seen) "observed mean" else "predicted mean", ...
  )
  graphics::abline(0, 1, col = "grey60")
  invisible(x)
}

#' Effects on genes, with replicates as the unit
#'
#' A method of [stats::effects()]. With `replicate` the groups are compared across donors or samples by a moderated
#' t-test, beside runs with permuted labels. Without, effects are what the model says of these cells, and there are no
#' p-values.
#'
#' @param object A `cvae_fit`, or an object that [cvae()] returned.
#' @param groupby Column or vector with the groups.
#' @param replicate Column or vector that names donor, patient or sample.
#' @param groups Group and reference, two levels; `NULL` where there are two, of which the first is the reference.
#' @param within Cells that take part: `list(cell_type = "B")`.
#' @param states `"as_found"` or `"equal"`: whether what the cells' states make expect is subtracted.
#' @param n_samples,n_permutations Draws of z; runs with permuted labels.
#' @param fdr At which hits are counted.
#' @param seed Of draws and permutations; `NULL` for that of the fit.
#' @param ... Not used.
#' @return A data frame of class `cvae_effects` with a row for each gene: `effect` with `lower` and `upper` (95 %),
#'   `mean`, and with replicates `p` and `q`. Printing says what may be claimed.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 150, n_genes = 30)
#'   fit <- cvae(cells$x, batch = cells$col_data$batch, max_epochs = 10)
#'   effects(fit, "batch")
#' }
#' @name effects
#' @importFrom stats effects
NULL

#' @rdname effects
#' @export
effects.cvae_fit <- function(object, groupby, replicate = NULL, groups = NULL, within = NULL, states = NULL,
                             n_samples = 25, n_permutations = 100, fdr = 0.05, seed = NULL, ...) {
  no_more("effects", ...)
  for (name in names(within)) describe(object, name, "within")
  found <- ask("effects",
    model = model_of(object), groupby = describe(object, groupby, "groupby"),
    replicate_key = describe(object, replicate, "replicate"),
    groups = if (!is.null(groups)) as.list(plain_value(groups, "groups")), within = plain_value(within, "within"),
    states = states, n_samples = n_samples, n_permutations = n_permutations, fdr = fdr, seed = seed
  )
  genes <- from_table(found$genes)
  for (name in c("said", "unit", "fdr", "group", "reference", "n_hits")) attr(genes, name) <- found[[name]]
  attr(genes, "null_hits") <- as.integer(unlist(found$null_hits))
  structure(genes, class = c("cvae_effects", "data.frame"))
}

#' @rdname effects
#' @export
effects.SummarizedExperiment <- function(object, ...) effects(fit_of(object), ...)

#' @rdname effects
#' @export
effects.Seurat <- function(object, ...) effects(fit_of(object), ...)

#' @method print cvae_effects
#' @export
print.cvae_effects <- function(x, n = 6, ...) {
  for (line in strsplit(attr(x, "said") %||% "", "\n", fixed = TRUE)[[1]]) wrapped(line)
  table <- as.data.frame(x)
  print(utils::head(table[setdiff(names(table), "unit")], n), digits = 3)
  if (nrow(x) > n) cat("... and", nrow(x) - n, "genes more\n")
  invisible(x)
}

#' @export
as.data.frame.cvae_effects <- function(x, ...) {
  for (name in c("said", "unit", "fdr", "group", "reference", "n_hits", "null_hits")) attr(x, name) <- NULL
  structure(x, class = "data.frame")
}

#' @export
plot.cvae_effects <- function(x, ...) {
  tested <- !is.null(x$p)
  hit <- if (tested) !is.na(x$q) & x$q <= attr(x, "fdr") else rep(FALSE, nrow(x))
  graphics::plot(x$effect, if (tested) -log10(x$p) else x$mean,
    pch = 16, cex = 0.6, las = 1, col = ifelse(hit, palette_of(2)[[1]], "grey50"), log = if (tested) "" else "y",
    xlab = paste0("effect (", attr(x, "unit"), ")"), ylab = if (tested) "-log10 p" else "mean",
    main = paste(attr(x, "group"), "against", attr(x, "reference")), ...
  )
  graphics::abline(v = 0, col = "grey80")
  invisible(x)
}

#' Generate cells
#'
#' @param object A `cvae_fit`, or an object that [cvae()] returned.
#' @param n How many.
#' @param covariates A list or data frame of covariates, one value for all or one for each; what is not named comes from
#'   the cells of the data.
#' @param source `"prior"`, `"aggregate"` (posteriors of random training cells), or cells of the fit (numbers or names).
#' @param temperature Factor of the SD of z.
#' @param library_size Counts: library of each; `NULL` for those of the data.
#' @param seed `NULL` for that of the fit.
#' @return A list: `x` (genes x cells; a `dgCMatrix` for counts), `col_data`, `latent`.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 100, n_genes = 30)
#'   fit <- cvae(cells$x, batch = cells$col_data$batch, max_epochs = 4)
#'   str(generate(fit, 5, covariates = list(batch = "batch_0")))
#' }
#' @export
generate <- function(object, n, covariates = NULL, source = "prior", temperature = 1, library_size = NULL,
                     seed = NULL) {
  fit <- fit_of(object)
  own <- is.character(source) && length(source) == 1 && source %in% c("prior", "aggregate")
  found <- ask("generate",
    model = model_of(fit), n = n, covariates = plain_value(as.list(covariates), "covariates"),
    source = if (own) source else row_numbers(source, fit$cells), temperature = temperature,
    library_size = library_size, seed = seed
  )
  list(
    x = from_matrix(found$x, found$genes, found$cells), col_data = from_table(found$col_data),
    latent = from_matrix(found$latent, found$cells, dimension_names(fit$n_latent))
  )
}

#' Map new cells to a fit
#'
#' The fit is the reference and stays as it is. New levels of covariates get weights of their own. Labels come from the
#' nearest reference cells, with a confidence; the verdict says how far the reference covers the new cells. It measures
#' how far out they lie, and does not find every type that the reference lacks.
#'
#' @param object A `cvae_fit`, or an object that [cvae()] returned: the reference.
#' @param x New cells, as in [cvae()], with the columns that the model is conditioned on.
#' @param labels Column or vector with labels of the reference's cells; `NULL` takes those of [cvae()].
#' @param col_data For a matrix: a data frame with these columns.
#' @param missing_genes `"error"`, or `"zero"` to fill up to a fifth of the genes with zeros.
#' @param training A list of arguments for training the weights of new levels.
#' @param seed `NULL` for that of the fit.
#' @return For a matrix a `cvae_mapping`: a list with `verdict`, `headline`, `evidence`, `cells` (a data frame with
#'   `label`, `confidence`, `outside`, `p_value`, `misfit`) and `latent`. For other objects the same object with the
#'   latents as of [cvae()], the columns `omicvae_label`, ..., and the mapping in `metadata(x)$omicvae_mapping`
#'   (`Misc()`).
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 200, n_genes = 30)
#'   known <- cells$col_data$batch == "batch_0"
#'   fit <- cvae(cells$x[, known], labels = cells$col_data$cell_type[known], max_epochs = 10)
#'   map_query(fit, cells$x[, !known])
#' }
#' @export
map_query <- function(object, x, labels = NULL, col_data = NULL, missing_genes = "error", training = NULL,
                      seed = NULL) {
  fit <- fit_of(object)
  new <- new_cells(fit, x, col_data)
  found <- ask("map_query",
    model = model_of(fit), cells = new$cells, labels_key = describe(fit, labels, "labels"),
    missing_genes = missing_genes, training = plain_value(training, "training"), seed = seed
  )
  mapping <- found[c("verdict", "headline", "tone")]
  mapping$evidence <- from_table(found$evidence)
  mapping$cells <- from_table(found$cells)
  mapping$latent <- from_matrix(found$latent, new$names, dimension_names(fit$n_latent))
  rownames(mapping$cells) <- make.unique(new$names)
  put_mapping(x, structure(mapping, class = "cvae_mapping"))
}

put_mapping <- function(x, mapping) {
  names <- paste0("omicvae_", names(mapping$cells))
  if (inherits(x, "SummarizedExperiment")) {
    for (i in seq_along(names)) SummarizedExperiment::colData(x)[[names[[i]]]] <- mapping$cells[[i]]
    latent <- unname_columns(mapping$latent, x)
    if (inherits(x, "SingleCellExperiment")) {
      SingleCellExperiment::reducedDim(x, "omicvae") <- latent
    } else {
      x$omicvae <- latent
    }
    S4Vectors::metadata(x)$omicvae_mapping <- mapping
  } else if (inherits(x, "Seurat")) {
    for (i in seq_along(names)) x[[names[[i]]]] <- mapping$cells[[i]]
    x[["omicvae"]] <- dim_reduc(mapping$latent, SeuratObject::DefaultAssay(x))
    x@misc$omicvae_mapping <- mapping
  } else {
    return(mapping)
  }
  x
}

#' @method print cvae_mapping
#' @export
print.cvae_mapping <- function(x, ...) {
  print_verdict(x)
  cat("\n")
  print_evidence(x$evidence)
  invisible(x)
}

#' @export
as.data.frame.cvae_mapping <- function(x, ...) x$cells

#' What would another seed give?
#'
#' Repeats a fit with other seeds and says what the fits agree on.
#'
#' @param object A `cvae_fit`, or an object that [cvae()] returned.
#' @param seeds Number of fits (the given one among them), or their seeds.
#' @param labels,groupby Columns or vectors: labels to find in the latent space; groups whose effects are compared.
#' @param verbose Say what happens.
#' @return A `cvae_stability`: a list with `headline`, `checks` (a data frame: agreement beside chance, and whether to
#'   rely on it), `fits` and `genes`.
#' @examples
#' \donttest{
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 150, n_genes = 30)
#'   stability(cvae(cells$x, batch = cells$col_data$batch, max_epochs = 10), seeds = 2)
#' }
#' }
#' @export
stability <- function(object, seeds = 5, labels = NULL, groupby = NULL, verbose = interactive()) {
  fit <- fit_of(object)
  found <- ask("stability",
    model = model_of(fit), seeds = if (length(seeds) > 1) as.list(seeds) else seeds,
    labels_key = describe(fit, labels, "labels"), groupby = describe(fit, groupby, "groupby"), verbose = verbose
  )
  tables <- lapply(found[c("checks", "fits", "genes")], from_table)
  structure(c(list(headline = found$headline), tables), class = "cvae_stability")
}

#' @method print cvae_stability
#' @export
print.cvae_stability <- function(x, ...) {
  wrapped(x$headline)
  cat("\n")
  print(x$checks[setdiff(names(x$checks), "meaning")], digits = 3, row.names = FALSE)
  invisible(x)
}

#' @export
as.data.frame.cvae_stability <- function(x, ...) x$checks

#' Put fits side by side
#'
#' Bound of the validation cells with the error of paired differences, KL, active dimensions, probe, leakage and verdict
#' of each. A difference within two standard errors is a tie.
#'
#' @param ... Two fits or more by name (or one list of them), or objects that [cvae()] returned; also files of evidence
#'   of other programs' fits, by their paths.
#' @param labels Column that the fits are probed for.
#' @param seed Of draws and folds; `NULL` for that of each fit.
#' @return A `cvae_comparison`: a list with `table` (a data frame, best first; bounds in nats per cell, higher is
#'   better) and `notes` (what is to be known before a difference is believed).
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 150, n_genes = 30)
#'   fit <- function(...) cvae(cells$x, max_epochs = 10, diagnose = FALSE, ...)
#'   compare(narrow = fit(n_latent = 2), wide = fit(n_latent = 8))
#' }
#' @export
compare <- function(..., labels = NULL, seed = NULL) {
  runs <- list(...)
  if (length(runs) == 1 && is.list(runs[[1]]) && !inherits(runs[[1]], "cvae_fit")) runs <- runs[[1]]
  if (length(runs) < 2 || is.null(names(runs)) || any(names(runs) == "") || anyDuplicated(names(runs))) {
    stop_input("compare() needs two fits or more, each with a name of its own: compare(first = fit1, second = fit2).")
  }
  models <- lapply(runs, function(run) if (is.character(run)) path.expand(run) else model_of(fit_of(run)))
  keys <- unlist(lapply(runs, function(run) if (!is.character(run)) describe(fit_of(run), labels, "labels")))
  if (length(unique(keys)) > 1) stop_input("labels must be the name of a column that all fits have.")
  found <- ask("compare", runs = models, labels_key = if (length(keys)) keys[[1]], seed = seed)
  structure(list(table = from_table(found$table), notes = as.character(unlist(found$notes))), class = "cvae_comparison")
}

#' @method print cvae_comparison
#' @export
print.cvae_comparison <- function(x, ...) {
  columns <- c("elbo", "behind", "behind_se", "tied", "rate", "active", "probe", "verdict")
  columns <- columns[vapply(x$table[columns], function(v) !all(is.na(v)), NA)]
  print(x$table[columns], digits = 4)
  for (note in x$notes) wrapped(note, "\n", "")
  invisible(x)
}

#' @export
as.data.frame.cvae_comparison <- function(x, ...) x$table

#' Write a fit as one HTML file
#'
#' Verdict, facts, figures, evidence, remedies and exact settings, in a file that loads nothing from elsewhere. Remedies
#' stand there as calls of Python; [diagnose()] has them as calls of R.
#'
#' @param object A `cvae_fit`, or an object that [cvae()] returned.
#' @param path Where it goes; what is there is replaced.
#' @param labels As in [diagnose()]; they colour the maps of the cells.
#' @param umap Whether to draw maps of the cells and to make the UMAP check.
#' @param seed `NULL` for that of the fit.
#' @return The path, invisibly.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 150, n_genes = 30)
#'   report(cvae(cells$x, max_epochs = 10), tempfile(fileext = ".html"), umap = FALSE)
#' }
#' @export
report <- function(object, path = "report.html", labels = NULL, umap = TRUE, seed = NULL) {
  fit <- fit_of(object)
  key <- describe(fit, labels, "labels")
  invisible(ask("report", model = model_of(fit), path = path.expand(path), labels_key = key, umap = umap, seed = seed))
}
