needs_python <- function() skip_if_not(omicvae_available(), "the Python package omicvae")

needs_package <- function(...) for (package in c(...)) skip_if_not_installed(package)

# 120 cells x 30 genes, with everything that can describe a cell.
some_cells <- function() {
  cells <- example_cells("simulate_counts", n_cells = 120, n_genes = 30)
  n <- ncol(cells$x)
  cells$col_data$age <- 40 + (seq_len(n) %% 17)
  cells$col_data$donor <- paste0("donor_", seq_len(n) %% 6)
  cells$col_data$day <- as.Date("2024-01-01") + seq_len(n) %% 3
  cells
}

tiny_fit <- function(x, ..., max_epochs = 3, n_latent = 3, diagnose = FALSE) {
  cvae(x, ..., max_epochs = max_epochs, n_latent = n_latent, diagnose = diagnose)
}

shared <- new.env()

# One fit for all tests that only look at it.
looked_at <- function() {
  if (is.null(shared$fit)) {
    cells <- some_cells()
    shared$cells <- cells
    shared$fit <- tiny_fit(
      cells$x, batch = "batch", continuous = "age", labels = "cell_type", col_data = cells$col_data, max_epochs = 8
    )
  }
  shared$fit
}

# What Python got: genes x cells, and columns.
received <- function(cells) {
  content <- reticulate::py_run_string("
def content(cells):
    import numpy as np
    adata = cells.anndata()
    x = adata.X.toarray() if hasattr(adata.X, 'toarray') else adata.X
    return {
        'x': bytearray(np.ascontiguousarray(x, dtype=float)), 'dtype': str(adata.X.dtype),
        'sparse': hasattr(adata.X, 'toarray'), 'cells': list(adata.obs_names), 'genes': list(adata.var_names),
        'obs': {k: [None if v != v else str(v) for v in adata.obs[k]] for k in adata.obs},
    }
", local = TRUE)$content(cells)
  content$genes <- unlist(content$genes)
  content$cells <- unlist(content$cells)
  names <- list(content$genes, content$cells)
  content$x <- matrix(readBin(content$x, "double", length(content$x) / 8), length(content$genes), dimnames = names)
  content
}

new_folder <- function() {
  folder <- tempfile()
  dir.create(folder)
  folder
}

# Another value for something in the package, until the test ends.
local_mocked <- function(..., frame = parent.frame()) {
  where <- asNamespace("omicvae")
  put <- function(name, value) {
    unlockBinding(name, where)
    assign(name, value, where)
    lockBinding(name, where)
  }
  for (name in names(list(...))) {
    undo <- bquote(.(put)(.(name), .(get(name, where))))
    do.call(on.exit, list(undo, add = TRUE), envir = frame)
    put(name, list(...)[[name]])
  }
}
