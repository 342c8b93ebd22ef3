#' Is the latent space alive?
#'
#' A verdict, the evidence it rests on, and remedies as calls that can be run.
#'
#' @param object A `cvae_fit`, or an object that [cvae()] returned.
#' @param labels Classes to find in the latent space: the name of a column or a vector; `NULL` takes those of [cvae()].
#' @param umap Whether to make the UMAP check, the slowest; it changes no verdict.
#' @param seed Of draws and folds; `NULL` for that of the fit.
#' @return A `cvae_diagnosis`: a list with `verdict`, `headline`, `evidence` (a data frame with `check`, `value`,
#'   `threshold`, `passed`, `meaning`), `notes`, `remedies` (a list; each with its `call`), `sound`, `dimensions` (KL of
#'   each in nats, and whether it is active), `probes` and `umap` (data frames). `as.data.frame()` gives the evidence.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 150, n_genes = 40)
#'   fit <- cvae(cells$x, max_epochs = 10, objective = list(beta = 50), labels = cells$col_data$cell_type)
#'   diagnosis <- diagnose(fit, umap = FALSE)
#'   diagnosis
#'   diagnosis$remedies[[1]]$call
#' }
#' @export
diagnose <- function(object, labels = NULL, umap = TRUE, seed = NULL) {
  fit <- fit_of(object)
  key <- describe(fit, labels, "labels")
  found <- ask("diagnose", model = model_of(fit), labels_key = key, umap = umap, seed = seed)
  make_diagnosis(found, fit$call)
}

make_diagnosis <- function(found, call = NULL) {
  tables <- intersect(c("evidence", "probes", "umap", "history"), names(found))
  found[tables] <- lapply(found[tables], from_table)
  if (!is.null(found$dimensions)) found$dimensions <- as.data.frame(lapply(found$dimensions, unlist))
  found$remedies <- lapply(found$remedies, function(remedy) c(remedy, list(call = remedy_call(remedy, call))))
  for (name in c("findings", "notes")) found[[name]] <- as.character(unlist(found[[name]]))
  structure(found, class = "cvae_diagnosis")
}

# What a run that starts anew does not take over: a remedy names all that stays.
started_anew <- c(
  "objective", "max_epochs", "learning_rate", "lr_schedule", "early_stopping", "early_stopping_patience",
  "early_stopping_min_delta"
)

# A remedy as a call: the one that made the fit with the remedy's changes, or one that goes on with it.
remedy_call <- function(remedy, call = NULL) {
  arguments <- remedy$arguments
  if (length(remedy$objective)) arguments$objective <- remedy$objective
  if (remedy$goes_on && !is.null(call)) {
    return(as.call(c(quote(train_further), quote(fit), lapply(arguments, as_language))))
  }
  arguments$fresh <- NULL
  if (is.null(call)) call <- quote(cvae(x))
  call <- as.call(lapply(call, function(part) if (is.language(part) || length(part) < 10) part else quote(x)))
  call[[1]] <- quote(cvae)
  call[intersect(names(call), started_anew)] <- NULL
  changes <- c(remedy$model, arguments)
  call[intersect(names(call), names(changes))] <- NULL
  for (name in names(changes)) if (!is.null(changes[[name]])) call[[name]] <- as_language(changes[[name]])
  call
}

as_language <- function(value) {
  if (is.list(value)) return(as.call(c(quote(list), lapply(value, as_language))))
  if (is.integer(value)) value <- as.double(value)
  if (length(value) > 1) as.call(c(quote(c), as.list(value))) else value
}

#' @export
as.data.frame.cvae_diagnosis <- function(x, ...) x$evidence

#' @method print cvae_diagnosis
#' @export
print.cvae_diagnosis <- function(x, ...) {
  print_verdict(x)
  cat("\n")
  print_evidence(x$evidence)
  if (length(x$notes)) cat("\n")
  for (note in x$notes) wrapped(note, "* ", "  ")
  if (length(x$remedies)) cat("\nWhat to try, best first:\n")
  for (i in seq_along(x$remedies)) {
    wrapped(x$remedies[[i]]$why, paste0(i, ". "), "   ")
    writeLines(paste0("   ", shown_call(x$remedies[[i]]$call)))
  }
  invisible(x)
}

print_verdict <- function(x) {
  cat("Verdict: ", x$verdict, "\n", sep = "")
  wrapped(x$headline)
}

wrapped <- function(text, initial = "", prefix = "") {
  writeLines(strwrap(text, width = getOption("width"), initial = initial, prefix = prefix))
}

# One line for each check, and its meaning below it.
print_evidence <- function(evidence) {
  mark <- ifelse(is.na(evidence$passed), "", ifelse(evidence$passed, "ok", "FAIL"))
  value <- formatC(evidence$value, digits = 3, format = "g", width = 9)
  writeLines(paste(format(evidence$check), value, "", format(evidence$threshold), mark))
  invisible(evidence)
}

# Lines of a call; broken where R allows it, so that they run when copied.
shown_call <- function(call) deparse(call, width.cutoff = max(20, getOption("width") - 20))

#' @method summary cvae_diagnosis
#' @export
summary.cvae_diagnosis <- function(object, ...) {
  print_verdict(object)
  for (i in seq_len(nrow(object$evidence))) {
    row <- object$evidence[i, ]
    cat("\n")
    print_evidence(row)
    wrapped(row$meaning, "  ", "  ")
  }
  invisible(object)
}

#' Use of the latent dimensions
#'
#' @param x A `cvae_diagnosis`.
#' @param ... Passed to [graphics::barplot()].
#' @return `x`, invisibly.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 150, n_genes = 40)
#'   plot(diagnose(cvae(cells$x, max_epochs = 20), umap = FALSE))
#' }
#' @export
plot.cvae_diagnosis <- function(x, ...) {
  if (is.null(x$dimensions)) return(invisible(plot_loss(cbind(epoch = seq_len(nrow(x$history)), x$history), ...)))
  order <- order(x$dimensions$kl, decreasing = TRUE)
  active <- x$dimensions$active[order]
  colours <- palette_of(2)
  graphics::barplot(x$dimensions$kl[order],
    names.arg = order, col = ifelse(active, colours[[1]], "grey80"), border = NA, las = 1, xlab = "latent dimension",
    ylab = "KL, nats per cell", main = paste("Verdict:", x$verdict), ...
  )
  graphics::legend("topright", c("active", "unused"), fill = c(colours[[1]], "grey80"), border = NA, bty = "n")
  invisible(x)
}

#' Go on training
#'
#' @param object A `cvae_fit`, or an object that [cvae()] returned.
#' @param objective A list as in [cvae()]; `NULL` keeps the last one, at its final weight of the KL.
#' @param diagnose Whether to diagnose at once.
#' @param verbose Say what happens.
#' @param ... Further arguments of the Python package's `train`: `max_epochs`, `learning_rate`, `resume_from`, ...
#' @return The object with the new fit; the old one stays as it is.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 100, n_genes = 30)
#'   fit <- cvae(cells$x, max_epochs = 4)
#'   nrow(train_further(fit, max_epochs = 4)$history)
#' }
#' @export
train_further <- function(object, objective = NULL, diagnose = TRUE, verbose = interactive(), ...) {
  fit <- fit_of(object)
  facts <- ask("train_further",
    model = model_of(fit), settings = settings(objective = objective, ...), verbose = verbose,
    expected = "^Training goes on"
  )
  new <- make_fit(facts, fit$call, fit$assay, fit$layer, fit$col_data)
  new$columns <- fit$columns
  if (diagnose) new$diagnosis <- first_diagnosis(new)
  with_fit(object, new)
}

#' Try the remedies, and keep the best fit
#'
#' Every attempt is a new model of the same cells with the same validation cells; the first sound one ends the search.
#' Soundness decides, then the bound of the validation cells.
#'
#' @param object A `cvae_fit`, or an object that [cvae()] returned.
#' @param labels As in [diagnose()].
#' @param max_attempts Most fits to try.
#' @param max_seconds No attempt begins later; `NULL` for no such limit.
#' @param verbose Say what happens.
#' @return The object with the best fit, in which `attempts` is a data frame with a row for each: `remedy` (a call),
#'   `verdict`, `elbo_validation` (nats per cell, higher is better), `seconds`, `failure`, `chosen`. The fit that was
#'   given is left as it is.
#' @examples
#' \donttest{
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 150, n_genes = 40)
#'   fit <- cvae(cells$x, max_epochs = 10, objective = list(beta = 50))
#'   rescue(fit, max_attempts = 1)$attempts
#' }
#' }
#' @export
rescue <- function(object, labels = NULL, max_attempts = 6, max_seconds = NULL, verbose = interactive()) {
  fit <- fit_of(object)
  key <- describe(fit, labels, "labels")
  found <- ask("rescue",
    model = model_of(fit), labels_key = key, max_attempts = max_attempts, max_seconds = max_seconds, verbose = verbose
  )
  attempts <- from_table(found$attempts)
  tried <- lapply(found$tried, function(remedy) if (length(remedy)) remedy_call(remedy, fit$call))
  attempts$remedy <- vapply(tried, function(call) {
    if (is.null(call)) "as given" else paste(trimws(shown_call(call)), collapse = " ")
  }, "")
  diagnosis <- make_diagnosis(found$diagnosis, fit$call)
  chosen <- tried[[which(attempts$chosen)]]
  if (!is.null(chosen)) fit$call <- chosen
  new <- make_fit(found, fit$call, fit$assay, fit$layer, fit$col_data, diagnosis)
  new[c("attempts", "columns")] <- list(attempts, fit$columns)
  with_fit(object, new)
}

#' Judge the loss curves of any program
#'
#' @param source A data frame with a row for each epoch; the path of a log (CSV, JSON, Keras, Lightning, TensorBoard,
#'   text); or its text.
#' @param kl_weight Weight of the KL in the loss, where the log does not say it.
#' @return A `cvae_diagnosis`, with the curves as they were read in `history`.
#' @examples
#' if (omicvae_available()) {
#'   epochs <- data.frame(
#'     epoch = 1:30, kl = 5 * exp(-(1:30) / 3),
#'     loss = 100 + 50 * exp(-(1:30) / 5), val_loss = 101 + 50 * exp(-(1:30) / 5)
#'   )
#'   diagnose_log(epochs, kl_weight = 1)
#' }
#' @export
diagnose_log <- function(source, kl_weight = NULL) {
  number <- function(v) if (is.numeric(v)) as.double(v) else v
  columns <- if (is.data.frame(source)) lapply(source, function(v) encode_column(number(v)))
  text <- if (is.null(columns)) paste(enc2utf8(as.character(source)), collapse = "\n")
  make_diagnosis(ask("diagnose_log", source = text, columns = columns, kl_weight = kl_weight))
}
