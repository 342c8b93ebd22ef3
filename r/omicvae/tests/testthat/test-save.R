test_that("a fit is saved and loaded, with and without its cells", {
  needs_python()
  cells <- some_cells()
  fit <- tiny_fit(cells$x, batch = "batch", labels = "cell_type", col_data = cells$col_data, diagnose = TRUE)
  folder <- file.path(new_folder(), "fit")
  expect_identical(save_cvae(fit, folder), folder)
  expect_error(save_cvae(fit, folder), "overwrite=TRUE")
  save_cvae(fit, folder, overwrite = TRUE)
  same <- load_cvae(folder, cells$x, cells$col_data)
  expect_identical(latent(same), latent(fit))
  expect_identical(diagnose(same, umap = FALSE)$evidence, diagnose(fit, umap = FALSE)$evidence)
  expect_identical(same$diagnosis$verdict, fit$diagnosis$verdict)
  expect_identical(same$history$loss_train, fit$history$loss_train)
  bare <- load_cvae(folder)
  expect_output(print(bare), "without its cells")
  expect_equal(predict(bare, cells$x, cells$col_data), latent(fit), tolerance = 1e-6)
  expect_error(diagnose(bare, umap = FALSE), "load_cvae\\(folder, x\\)")
  expect_error(diagnose(bare, labels = rep("a", 120)), "cells")
  expect_error(load_cvae(file.path(folder, "gone")), "no omicvae model")
})

test_that("cells can be saved with the model", {
  needs_python()
  cells <- some_cells()
  fit <- tiny_fit(cells$x, batch = "batch", col_data = cells$col_data)
  folder <- save_cvae(fit, new_folder(), data = TRUE)
  expect_identical(latent(load_cvae(folder)), latent(fit))
})

test_that("a vector that was a batch is remembered", {
  needs_python()
  cells <- some_cells()
  fit <- tiny_fit(cells$x, batch = cells$col_data$batch)
  folder <- save_cvae(fit, new_folder())
  expect_identical(latent(load_cvae(folder, cells$x)), latent(fit))
})

test_that("objects are loaded into", {
  needs_python()
  needs_package("SingleCellExperiment")
  cells <- some_cells()
  sce <- SingleCellExperiment::SingleCellExperiment(
    list(logs = log1p(as.matrix(cells$x)), counts = cells$x), colData = S4Vectors::DataFrame(cells$col_data)
  )
  fitted <- tiny_fit(sce, batch = "batch", assay = "counts")
  again <- load_cvae(save_cvae(fitted, new_folder()), sce)
  expect_identical(SingleCellExperiment::reducedDim(again, "omicvae"), latent(fitted))
})

test_that("what saveRDS keeps can be looked at, and its model is said to be gone", {
  needs_python()
  path <- tempfile(fileext = ".rds")
  saveRDS(looked_at(), path)
  fit <- readRDS(path)
  expect_identical(latent(fit), latent(looked_at()))
  expect_output(print(fit), "cvae_fit: nb")
  expect_error(latent(fit, "sd"), "model of this fit is gone.*save_cvae\\(fit, folder\\)")
})

test_that("Python reads what R saved", {
  needs_python()
  cells <- some_cells()
  fit <- tiny_fit(cells$x, batch = "batch", col_data = cells$col_data)
  folder <- save_cvae(fit, new_folder())
  program <- "import omicvae as ov, sys; print(ov.CVAE.load(sys.argv[1]))"
  arguments <- c("-W", "ignore", "-c", shQuote(program), shQuote(folder))
  python <- reticulate::py_config()$python
  said <- system2(python, arguments, stdout = TRUE, stderr = FALSE, env = "LD_LIBRARY_PATH=")
  expect_match(said, "trained for 3 epochs", all = FALSE)
})
