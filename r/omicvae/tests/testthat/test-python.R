# The same data and seed in a process of Python.
python_says <- function(folder) {
  script <- "
import json, sys
import numpy as np
import omicvae as ov
adata = ov.datasets.simulate_counts(n_cells=150, n_genes=40)
ov.CVAE.setup_anndata(adata, batch_key='batch', labels_key='cell_type')
model = ov.CVAE(adata, n_latent=4, seed=7)
model.train(max_epochs=12, objective={'beta': 0.5}, progress_bar=False)
mean, variance = model.get_latent_representation(return_dist=True)
open(sys.argv[1] + '/mean', 'wb').write(mean.tobytes())
open(sys.argv[1] + '/sd', 'wb').write(np.sqrt(variance).tobytes())
open(sys.argv[1] + '/draw', 'wb').write(model.get_latent_representation(give_mean=False).tobytes())
diagnosis = model.diagnose(umap=False)
json.dump(diagnosis.to_dict(), open(sys.argv[1] + '/diagnosis.json', 'w'))
"
  file <- file.path(folder, "fit.py")
  writeLines(script, file)
  arguments <- c("-W", "ignore", shQuote(file), shQuote(folder))
  system2(reticulate::py_config()$python, arguments, stderr = FALSE, env = "LD_LIBRARY_PATH=")
  array <- function(name) {
    matrix(readBin(file.path(folder, name), "double", 600, size = 4), 150, byrow = TRUE)
  }
  c(
    sapply(c("mean", "sd", "draw"), array, simplify = FALSE),
    list(diagnosis = jsonlite::fromJSON(file.path(folder, "diagnosis.json")))
  )
}

test_that("latents are Python's bit for bit, and so are verdict and evidence", {
  needs_python()
  needs_package("jsonlite")
  python <- python_says(new_folder())
  cells <- example_cells("simulate_counts", n_cells = 150, n_genes = 40)
  fit <- cvae(cells$x,
    batch = "batch", labels = "cell_type", col_data = cells$col_data, n_latent = 4, seed = 7, max_epochs = 12,
    objective = list(beta = 0.5)
  )
  for (give in c("mean", "sd", "draw")) expect_identical(unname(latent(fit, give)), python[[give]])
  expect_identical(fit$diagnosis$verdict, python$diagnosis$verdict)
  expect_identical(fit$diagnosis$headline, python$diagnosis$headline)
  evidence <- python$diagnosis$evidence
  expect_identical(fit$diagnosis$evidence$check, evidence$check)
  expect_identical(fit$diagnosis$evidence$value, as.double(evidence$value))
  expect_identical(fit$diagnosis$evidence$passed, evidence$passed)
  expect_identical(fit$diagnosis$evidence$threshold, evidence$threshold)
})

test_that("random numbers of R are neither used nor changed", {
  needs_python()
  cells <- some_cells()
  set.seed(1)
  before <- .Random.seed
  first <- latent(tiny_fit(cells$x))
  expect_identical(.Random.seed, before)
  set.seed(2)
  expect_identical(latent(tiny_fit(cells$x)), first)
  expect_false(identical(latent(tiny_fit(cells$x, seed = 2)), first))
})
