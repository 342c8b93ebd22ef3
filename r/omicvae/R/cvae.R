#' Fit a conditional variational autoencoder
#'
#' Fits a model of the cells (or samples) in `x`, conditioned on batch and covariates, and says whether its latent space
#' is alive. Per cell the bound log p(x | c) >= E\[log p(x | z, c)\] - KL(q(z | x, c) || p(z)) is maximised, in nats
#' (Kingma and Welling 2014; Sohn et al. 2015; for counts Lopez et al. 2018).
#'
#' Genes are rows and cells columns, as in all of R's containers. A matrix goes to Python as the bytes of its slots,
#' without a dense copy.
#'
#' @param x Genes x cells: a matrix, any class of \pkg{Matrix}, a `DelayedMatrix`, a data frame of numbers; a
#'   `SummarizedExperiment` (or `SingleCellExperiment`, `DESeqDataSet`, ...); or a `Seurat` object (v4, or v5 with its
#'   layers).
#' @param batch,labels The name of a column of `colData(x)`, `x[[]]` or `col_data`, or a vector with a value for each
#'   cell. The model is conditioned on `batch`; `labels` serve the diagnosis alone and may be `NA`.
#' @param covariates,continuous Further columns that the model is conditioned on, as categories and as numbers: names, a
#'   data frame, or one vector. Dates are categories by day, or numbers.
#' @param size_factor As `batch`: positive factors near 1. The mean of a count is then s exp(f) instead of
#'   library x softmax(f).
#' @param assay,layer Of a `SummarizedExperiment` the assay (`NULL`: `"counts"`, or the first); of a `Seurat` object the
#'   assay (`NULL`: the default one) and its layer or slot (`NULL`: `"counts"`).
#' @param col_data For a matrix: a data frame with a row for each cell.
#' @param likelihood `"auto"` chooses by the values: `"nb"` for counts, `"gaussian"` for real values, `"bernoulli"` for
#'   0/1. Also `"zinb"`, `"poisson"`, `"student_t"`.
#' @param n_latent Dimensions of the latent space.
#' @param objective A list: `beta`, `schedule`, `warmup`, `free_bits`, `capacity`, `target_rate`, `adversary`, ...;
#'   `NULL` is the bound itself with a linear warm-up.
#' @param seed Fixes weights, split, order and noise. R's own random numbers are neither used nor changed.
#' @param round_counts Round what is read, for counts that were corrected to fractions.
#' @param diagnose Whether to diagnose the fit at once (without the UMAP check).
#' @param verbose Say what happens, and show the epochs.
#' @param ... Further arguments of the Python package's `CVAE` and `train` by name: `max_epochs`, `n_hidden`,
#'   `n_layers`, `prior`, `batch_size`, `learning_rate`, `train_size`, `checkpoint_dir`, ...
#' @return For a matrix a `cvae_fit` with methods for `print`, `summary`, `plot`, `predict` and [stats::effects()]. For
#'   other objects the same object, with
#'   * `reducedDim(x, "omicvae")` (`SingleCellExperiment`), the matrix column `x$omicvae` (`SummarizedExperiment`) or
#'     the reduction `"omicvae"` (`Seurat`): posterior means, cells x dimensions;
#'   * the `cvae_fit`, and in it the diagnosis, in `metadata(x)$omicvae` (`Misc(x, "omicvae")`). All verbs take the
#'     object itself as well: [latent()], [diagnose()], [rescue()], [normalized_expression()], [counterfactual()], ...
#' @section Interrupting:
#' Ctrl-C during training leaves a fit of the epochs so far, with a warning.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 150, n_genes = 40)
#'   fit <- cvae(cells$x, batch = cells$col_data$batch, n_latent = 4, max_epochs = 10)
#'   fit
#'   head(latent(fit))
#' }
#' @export
cvae <- function(x, batch = NULL, covariates = NULL, continuous = NULL, labels = NULL, size_factor = NULL, assay = NULL,
                 layer = NULL, col_data = NULL, likelihood = "auto", n_latent = 10, objective = NULL, seed = 1,
                 round_counts = FALSE, diagnose = TRUE, verbose = interactive(), ...) {
  call <- match.call()
  source <- cells_of(x, assay = assay, layer = layer, col_data = col_data)
  roles <- list(
    batch = one_column(batch, "batch", source),
    labels = one_column(labels, "labels", source),
    covariates = many_columns(covariates, "covariates", source),
    continuous = many_columns(continuous, "continuous", source),
    size_factor = one_column(size_factor, "size_factor", source)
  )
  roles <- Map(prepare, roles, names(roles), MoreArgs = list(source = source))
  setup <- c(setup_keys(lapply(roles, names)), list(round_counts = round_counts))
  settings <- c(list(likelihood = likelihood, n_latent = n_latent, seed = seed), settings(objective = objective, ...))
  columns <- each_once(do.call(c, unname(roles)))
  cells <- send_cells(source, columns)
  if (verbose) message("Training a CVAE on ", ncol(source$matrix), " cells x ", nrow(source$matrix), " genes ...")
  facts <- ask("fit", cells = cells, setup = setup, settings = settings, verbose = verbose)
  fit <- make_fit(facts, call = call, assay = assay, layer = layer, col_data = source$col_data)
  fit$columns <- columns
  if (diagnose) fit$diagnosis <- first_diagnosis(fit)
  with_fit(x, fit)
}

# What was trained is not lost where a diagnosis fails or is interrupted.
first_diagnosis <- function(fit) {
  without <- function(why) {
    warning("The fit was not diagnosed (", why, "). It can be used; diagnose(fit) tries again.", call. = FALSE)
    NULL
  }
  if (nrow(fit$history) == 0) return(without("no epoch was run"))
  tryCatch(
    diagnose(fit, umap = FALSE),
    omicvae_error = function(e) without(conditionMessage(e)), interrupt = function(e) without("interrupted")
  )
}

each_once <- function(columns) columns[!duplicated(names(columns))]

# The names that setup_anndata takes.
setup_keys <- function(names) {
  list(
    batch_key = names$batch, labels_key = names$labels, size_factor_key = names$size_factor,
    categorical_covariate_keys = as.list(names$covariates), continuous_covariate_keys = as.list(names$continuous)
  )
}

# Arguments in `...` as Python takes them: named, without NULLs, factors and dates as text.
settings <- function(...) {
  given <- list(...)
  given <- given[!vapply(given, is.null, NA)]
  if (length(given) && (is.null(names(given)) || any(names(given) == ""))) {
    stop_input("Further arguments need names, such as max_epochs = 50.")
  }
  for (name in names(given)[duplicated(names(given))]) stop_input(name, " is given twice.")
  Map(plain_value, given, names(given))
}

plain_value <- function(value, name = "an argument") {
  if (is.list(value)) return(if (length(value)) Map(plain_value, value, names(value) %||% rep(name, length(value))))
  if (is.factor(value) || inherits(value, c("Date", "POSIXt"))) value <- as.character(value)
  if (is.atomic(value) && anyNA(value)) stop_input(name, " is NA.")
  value
}

`%||%` <- function(x, y) if (is.null(x)) y else x

make_fit <- function(facts, call, assay = NULL, layer = NULL, col_data = NULL, diagnosis = NULL) {
  fit <- facts[c("model", "likelihood", "n_latent", "seed", "interrupted", "step", "setup", "levels")]
  fit$genes <- as.character(unlist(facts$genes))
  fit$cells <- as.character(unlist(facts$cells))
  fit$history <- from_table(facts$history)
  fit$history <- cbind(epoch = seq_len(nrow(fit$history)), fit$history)
  if (!is.null(facts$latent)) {
    fit$latent <- from_matrix(facts$latent, fit$cells, dimension_names(fit$n_latent))
  }
  own <- list(call = call, assay = assay, layer = layer, col_data = col_data, diagnosis = diagnosis)
  structure(c(fit, own), class = "cvae_fit")
}

dimension_names <- function(n) paste0("omicvae_", seq_len(n))

#' Put a fit where its object keeps it
#'
#' What [cvae()] returns for an object: methods for further classes make it put its result there.
#'
#' @param x The object that was fitted.
#' @param fit A `cvae_fit`.
#' @return `x` with the fit and its latents; the fit itself where `x` is a matrix.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 100, n_genes = 30)
#'   class(with_fit(cells$x, cvae(cells$x, max_epochs = 4)))
#' }
#' @export
with_fit <- function(x, fit) UseMethod("with_fit")

#' @export
with_fit.default <- function(x, fit) fit

#' @export
with_fit.SummarizedExperiment <- function(x, fit) {
  x$omicvae <- unname_columns(fit$latent, x)
  S4Vectors::metadata(x)$omicvae <- fit
  x
}

#' @export
with_fit.SingleCellExperiment <- function(x, fit) {
  SingleCellExperiment::reducedDim(x, "omicvae") <- unname_columns(fit$latent, x)
  S4Vectors::metadata(x)$omicvae <- fit
  x
}

#' @export
with_fit.Seurat <- function(x, fit) {
  x[["omicvae"]] <- dim_reduc(fit$latent, fit$assay %||% SeuratObject::DefaultAssay(x))
  x@misc$omicvae <- fit
  x
}

# Cells that have no names in the object get none.
unname_columns <- function(latent, x) {
  rownames(latent) <- colnames(x)
  latent
}

dim_reduc <- function(latent, assay, key = "omicvae_") {
  colnames(latent) <- paste0(key, seq_len(ncol(latent)))
  SeuratObject::CreateDimReducObject(embeddings = latent, key = key, assay = assay)
}

#' The fit in an object
#'
#' @param object A `cvae_fit`, or an object that [cvae()] returned.
#' @return The `cvae_fit`.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 100, n_genes = 30)
#'   fit <- cvae(cells$x, max_epochs = 4)
#'   identical(fit_of(fit), fit)
#' }
#' @export
fit_of <- function(object) UseMethod("fit_of")

#' @export
fit_of.default <- function(object) {
  stop_input("Expected a fit, or an object that cvae() returned, got ", a_class(object), ". Run fit <- cvae(x) first.")
}

#' @export
fit_of.cvae_fit <- function(object) object

#' @export
fit_of.SummarizedExperiment <- function(object) found(S4Vectors::metadata(object)$omicvae, "metadata(x)$omicvae")

#' @export
fit_of.Seurat <- function(object) found(object@misc$omicvae, "Misc(x, \"omicvae\")")

found <- function(fit, where) {
  if (!inherits(fit, "cvae_fit")) stop_input("The object holds no fit in ", where, ": run x <- cvae(x) first.")
  fit
}

# The model in Python; a fit that came from a file has none.
model_of <- function(fit) {
  if (is.null(fit$model) || reticulate::py_is_null_xptr(fit$model)) {
    stop_omicvae(paste(
      "The model of this fit is gone: it lives in Python and ends with the R session, and saveRDS() does not keep it.",
      "Use save_cvae(fit, folder) before, and load_cvae(folder, x) after."
    ), "omicvae_saving_error")
  }
  fit$model
}

# Columns for a verb, by name or as vectors, given to the model's own cells; returns their names.
describe <- function(fit, value, role) {
  if (is.null(value)) return(NULL)
  if (is.character(value) && length(value) == 1 && value %in% unlist(fit$setup)) return(value)
  source <- list(cells = fit$cells, genes = fit$genes, col_data = fit$col_data)
  columns <- one_column(value, role, source)
  # a gap is a cell that takes no part
  columns <- prepare(columns, "labels", source)
  if (!is.character(value) || length(value) > 1) {  # a vector takes no column's place
    names(columns) <- utils::tail(make.unique(c(unlist(fit$setup), names(columns))), 1)
  }
  ask("describe", model = model_of(fit), columns = lapply(columns, encode_column))
  names(columns)
}

# New cells for a verb of a fit, with the columns that its model is conditioned on, and a further one. Where they are
# the fit's own cells, columns that they lack are the fit's.
new_cells <- function(fit, newdata, col_data = NULL, further = NULL, own = FALSE) {
  source <- cells_of(newdata, assay = in_kind(fit, newdata, "assay"), layer = in_kind(fit, newdata, "layer"), col_data)
  setup <- fit$setup
  roles <- list(
    covariates = c(setup$batch_key, unlist(setup$categorical_covariate_keys)),
    continuous = unlist(setup$continuous_covariate_keys), size_factor = setup$size_factor_key,
    labels = if (own) intersect(setup$labels_key, c(names(source$col_data), names(fit$columns)))
  )
  lacking <- setdiff(names(fit$columns), names(source$col_data))
  known <- if (own && identical(source$cells, fit$cells)) fit$columns[lacking]
  columns <- Map(function(names, role) {
    found <- lapply(names, function(name) known[[name]] %||% named_column(name, role, source))
    prepare(stats::setNames(found, names), role, source)
  }, roles, names(roles))
  further <- prepare(one_column(further, "groupby", source), "labels", source)
  columns <- each_once(c(do.call(c, unname(columns)), further))
  list(
    cells = send_cells(source, columns), names = source$cells, further = further, col_data = source$col_data,
    columns = columns
  )
}

in_kind <- function(fit, x, what) if (inherits(x, c("SummarizedExperiment", "Seurat"))) fit[[what]]
