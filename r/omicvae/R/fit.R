#' Latent space
#'
#' @param object A `cvae_fit`, or an object that [cvae()] returned.
#' @param give `"mean"` or `"sd"` of the posterior, or one `"draw"` from it, which is what the decoder gets.
#' @param seed Of the draw; `NULL` for that of the fit.
#' @return A matrix, cells x dimensions, as `reducedDim()` has it.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 100, n_genes = 30)
#'   fit <- cvae(cells$x, max_epochs = 4, n_latent = 3)
#'   head(latent(fit))
#'   head(latent(fit, "sd"))
#' }
#' @export
latent <- function(object, give = c("mean", "sd", "draw"), seed = NULL) {
  fit <- fit_of(object)
  give <- match.arg(give)
  if (give == "mean" && !is.null(fit$latent)) return(fit$latent)
  array <- ask("latent", model = model_of(fit), give = give, seed = seed)
  from_matrix(array, fit$cells, dimension_names(fit$n_latent))
}

#' Latents of new cells
#'
#' Genes and levels are matched by name.
#'
#' @param object A `cvae_fit`, or an object that [cvae()] returned.
#' @param newdata Cells as in [cvae()], with the columns that the model is conditioned on; `NULL` for the fit's own.
#' @param col_data For a matrix: a data frame with these columns.
#' @param unseen `"error"`, or the known level that stands in for unknown ones, or a list of them by column.
#' @param missing_genes `"error"`, or `"zero"` to fill up to a fifth of the genes with zeros.
#' @param give,seed As in [latent()].
#' @param ... Not used.
#' @return A matrix, cells x dimensions.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 100, n_genes = 30)
#'   fit <- cvae(cells$x, max_epochs = 4, n_latent = 3)
#'   predict(fit, cells$x[30:1, 1:5])
#' }
#' @export
predict.cvae_fit <- function(object, newdata = NULL, col_data = NULL, unseen = "error", missing_genes = "error",
                             give = c("mean", "sd", "draw"), seed = NULL, ...) {
  no_more("predict", ...)
  if (is.null(newdata)) return(latent(object, give, seed))
  new <- new_cells(object, newdata, col_data)
  array <- ask("latent",
    model = model_of(object), cells = new$cells, give = match.arg(give), seed = seed,
    unseen = plain_value(unseen, "unseen"), missing_genes = missing_genes
  )
  from_matrix(array, new$names, dimension_names(object$n_latent))
}

#' @method print cvae_fit
#' @export
print.cvae_fit <- function(x, ...) {
  cat(sprintf(
    "cvae_fit: %s, %d genes, %d latent dimensions, %d epochs%s\n", x$likelihood, length(x$genes), x$n_latent,
    nrow(x$history), if (isTRUE(x$interrupted)) " (interrupted)" else ""
  ))
  keys <- c("batch_key", "categorical_covariate_keys", "continuous_covariate_keys")
  covariates <- unlist(x$setup[keys])
  cat(if (length(x$cells)) paste0(length(x$cells), " cell", plural(x$cells)) else "without its cells")
  cat(if (length(covariates)) paste0(", conditioned on ", paste(covariates, collapse = ", ")), "\n", sep = "")
  if (is.null(x$diagnosis)) cat("Not diagnosed yet: diagnose(fit)\n") else print_verdict(x$diagnosis)
  invisible(x)
}

#' @method summary cvae_fit
#' @export
summary.cvae_fit <- function(object, ...) {
  print(object)
  shown <- c("epoch", "loss_train", "loss_validation", "kl_validation", "elbo_validation")
  shown <- intersect(shown, names(object$history))
  cat("\nLast epochs, nats per cell:\n")
  print(utils::tail(object$history[shown], 3), row.names = FALSE, digits = 5)
  if (nzchar(object$step %||% "")) cat("\nTrained by the ", object$step, "\n", sep = "")
  invisible(object)
}

#' Curves of a fit, or its latent space
#'
#' @param x A `cvae_fit`.
#' @param what `"loss"`: training and validation loss, and the KL, by epoch. `"latent"`: two dimensions of the latent
#'   space.
#' @param colour For `"latent"`: a vector with a value for each cell, or the name of a column.
#' @param dims For `"latent"`: which two dimensions; `NULL` for the first two principal components of the latents.
#' @param ... Passed to [graphics::plot()].
#' @return `x`, invisibly.
#' @examples
#' if (omicvae_available()) {
#'   cells <- example_cells("simulate_counts", n_cells = 100, n_genes = 30)
#'   fit <- cvae(cells$x, max_epochs = 20, n_latent = 3)
#'   plot(fit)
#'   plot(fit, "latent", colour = cells$col_data$cell_type)
#' }
#' @export
plot.cvae_fit <- function(x, what = c("loss", "latent"), colour = NULL, dims = NULL, ...) {
  if (match.arg(what) == "latent") plot_latent(x, colour, dims, ...) else plot_loss(x$history, ...)
  invisible(x)
}

palette_of <- function(n) grDevices::hcl.colors(max(n, 2), if (n <= 8) "Dark 3" else "Spectral")[seq_len(n)]

plot_loss <- function(history, ...) {
  old <- graphics::par(mfrow = c(1, 2), mar = c(4, 4, 2, 1))
  on.exit(graphics::par(old))
  colours <- palette_of(2)
  for (part in list(c("loss", "objective"), c("kl", "KL"))) {
    columns <- paste0(part[[1]], c("_train", "_validation"))
    columns <- columns[columns %in% names(history)]
    values <- as.matrix(history[columns])
    graphics::matplot(history$epoch, values,
      type = "l", lty = 1, lwd = 2, col = colours, xlab = "epoch", ylab = "nats per cell",
      main = part[[2]], las = 1, ...
    )
    graphics::legend("topright", sub(".*_", "", columns), col = colours, lty = 1, lwd = 2, bty = "n")
  }
}

plot_latent <- function(fit, colour, dims, ...) {
  z <- latent(fit)
  if (is.null(dims) && ncol(z) > 2) z <- stats::prcomp(z)$x
  z <- z[, rep_len(dims %||% seq_len(ncol(z)), 2), drop = FALSE]
  source <- list(cells = fit$cells, genes = fit$genes, col_data = fit$col_data)
  group <- if (!is.null(colour)) factor(one_column(colour, "colour", source)[[1]])
  colours <- palette_of(nlevels(group))
  beside <- if (is.null(group)) 1 else 2 + 0.55 * max(nchar(levels(group)))
  old <- graphics::par(mar = c(4, 4, 1, beside))
  on.exit(graphics::par(old))
  graphics::plot(z, pch = 16, cex = 0.6, las = 1, col = if (is.null(group)) "grey30" else colours[group], ...)
  if (!is.null(group)) {
    at <- graphics::par("usr")
    graphics::legend(at[[2]], at[[4]], levels(group), col = colours, pch = 16, cex = 0.8, bty = "n", xpd = NA)
  }
}
