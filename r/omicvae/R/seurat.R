# Seurat v4 (one matrix in each slot) and v5 (layers, perhaps one for each batch).

seurat_layer <- function(assay, layer, seurat = asNamespace("SeuratObject")) {
  if (!inherits(assay, "StdAssay")) {
    matrix <- if (methods::.hasSlot(assay, layer)) methods::slot(assay, layer)
    if (length(matrix) == 0) stop_input("The assay has nothing in its slot ", quoted(layer), ".")
    return(matrix)
  }
  layers <- seurat$Layers(assay, search = layer)
  if (length(layers) == 0) {
    stop_input("The assay has no layer ", quoted(layer), ". Its layers: ", listed(seurat$Layers(assay)), ".")
  }
  join_layers(lapply(layers, function(name) seurat$LayerData(assay, layer = name)), colnames(assay))
}

# Layers side by side, with the genes that all of them have.
join_layers <- function(matrices, cells) {
  genes <- Reduce(intersect, lapply(matrices, rownames))
  if (length(genes) == 0) stop_input("The layers have no gene in common.")
  joined <- do.call(cbind, lapply(matrices, function(m) m[genes, , drop = FALSE]))
  joined[, intersect(cells, colnames(joined)), drop = FALSE]
}

#' Integration of the layers of a Seurat v5 assay
#'
#' For `Seurat::IntegrateLayers(object, method = OmicvaeIntegration, orig.reduction = NULL)`: fits a model of the
#' counts, whose batches are the layers.
#'
#' @param object The assay, as `IntegrateLayers()` passes it.
#' @param assay Its name.
#' @param layers Names of its normalised layers; the counts beside them are used.
#' @param orig,scale.layer Not used.
#' @param features Genes to use; `NULL` for all.
#' @param groups A data frame whose first column has the batch of each cell; `NULL` takes the layers.
#' @param new.reduction Name of the reduction.
#' @param key Of its columns.
#' @param verbose Say what happens.
#' @param ... For [cvae()]: `n_latent`, `max_epochs`, `seed`, ...
#' @return A list with one `DimReduc`; the fit is in its `misc` slot.
#' @examples
#' # obj <- IntegrateLayers(obj, method = OmicvaeIntegration, orig.reduction = NULL)
#' attr(OmicvaeIntegration, "Seurat.method")
#' @export
OmicvaeIntegration <- function(object, assay = "RNA", layers = NULL, orig = NULL, scale.layer = NULL, features = NULL,
                               groups = NULL, new.reduction = "omicvae", key = "omicvae_", verbose = TRUE, ...) {
  integrate(object, assay, layers, features, groups, new.reduction, key, verbose, asNamespace("SeuratObject"), ...)
}
attr(OmicvaeIntegration, "Seurat.method") <- "integration"

integrate <- function(object, assay, layers, features, groups, new.reduction, key, verbose, seurat, ...) {
  counts <- seurat$Layers(object, search = "counts")
  if (length(layers)) {
    beside <- intersect(sub("^[^.]+", "counts", layers), counts)
    if (length(beside)) counts <- beside
  }
  if (length(counts) == 0) {
    stop_input("The assay has no layer of counts. Its layers: ", listed(seurat$Layers(object)), ".")
  }
  matrices <- lapply(counts, function(layer) seurat$LayerData(object, layer = layer))
  batch <- rep(sub("^counts\\.", "", counts), vapply(matrices, ncol, 1L))
  names(batch) <- unlist(lapply(matrices, colnames))
  matrix <- join_layers(matrices, colnames(object))
  if (!is.null(features)) matrix <- matrix[intersect(features, rownames(matrix)), , drop = FALSE]
  batch <- if (is.null(groups)) batch[colnames(matrix)] else groups[colnames(matrix), 1]
  fit <- cvae(matrix, batch = unname(batch), verbose = verbose, ...)
  reduction <- dim_reduc(fit$latent, assay, key)
  reduction@misc$omicvae <- fit
  stats::setNames(list(reduction), new.reduction)
}
