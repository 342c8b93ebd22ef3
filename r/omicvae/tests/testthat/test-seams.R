# What the machine at hand may lack, by small fakes of what is called.
fake_seurat <- function(layers, cells) {
  list(
    Layers = function(object, search = NULL) {
      names <- names(layers)
      if (is.null(search)) names else names[startsWith(names, search)]
    },
    LayerData = function(object, layer) layers[[layer]]
  )
}

a_v5_assay <- function(cells) {
  structure(matrix(0, 1, length(cells), dimnames = list("g", cells)), class = c("StdAssay", "matrix"))
}

named <- function(genes, cells) {
  matrix(as.double(seq_len(length(genes) * length(cells)) %% 7), length(genes), dimnames = list(genes, cells))
}

test_that("matrices of BPCells are read by blocks, sparse", {
  needs_python()
  where <- environment()
  methods::setClass("IterableMatrix", representation(m = "matrix"), where = where)
  methods::setMethod("dim", "IterableMatrix", function(x) dim(x@m), where = where)
  methods::setMethod("dimnames", "IterableMatrix", function(x) dimnames(x@m), where = where)
  methods::setMethod("[", "IterableMatrix", function(x, i, j, ..., drop) {
    methods::new("IterableMatrix", m = x@m[, j, drop = FALSE])
  }, where = where)
  methods::setAs("IterableMatrix", "dgCMatrix", function(from) methods::as(from@m, "CsparseMatrix"), where = where)
  on.exit(methods::removeClass("IterableMatrix", where = where))
  x <- named(c("g1", "g2"), paste0("c", 1:5))
  local_mocked(block_entries = function(n) 4)
  got <- received(send_cells(cells_of(methods::new("IterableMatrix", m = x))))
  expect_identical(got$x, x)
  expect_true(got$sparse)
})

test_that("layers of Seurat v5 are put side by side, by genes in common and in the order of the cells", {
  layers <- list(
    counts.a = named(c("g1", "g2", "g3"), c("c1", "c3")), counts.b = named(c("g3", "g2"), c("c2", "c4")),
    data.a = named("g1", "c1")
  )
  assay <- a_v5_assay(paste0("c", 1:4))
  joined <- seurat_layer(assay, "counts", fake_seurat(layers))
  expect_identical(dimnames(joined), list(c("g2", "g3"), paste0("c", 1:4)))
  expect_identical(joined["g3", "c2"], layers$counts.b["g3", "c2"])
  expect_error(seurat_layer(assay, "spliced", fake_seurat(layers)), "no layer \"spliced\". Its layers: \"counts.a\"")
})

test_that("IntegrateLayers gets a reduction whose batches are the layers", {
  needs_python()
  needs_package("SeuratObject")
  cells <- some_cells()
  x <- cells$x
  own <- split(colnames(x), cells$col_data$batch)
  layers <- stats::setNames(lapply(own, function(names) x[, names]), paste0("counts.", names(own)))
  got <- integrate(
    a_v5_assay(colnames(x)), "RNA",
    layers = sub("counts", "data", names(layers)), features = NULL, groups = NULL, new.reduction = "integrated.omicvae",
    key = "omicvae_", verbose = FALSE, seurat = fake_seurat(layers), max_epochs = 3, n_latent = 3, diagnose = FALSE
  )
  expect_named(got, "integrated.omicvae")
  expect_s4_class(got[[1]], "DimReduc")
  z <- SeuratObject::Embeddings(got[[1]])
  fit <- tiny_fit(x, batch = as.character(cells$col_data$batch))
  expect_identical(unname(z), unname(latent(fit)))
  expect_identical(rownames(z), colnames(x))
  expect_identical(attr(OmicvaeIntegration, "Seurat.method"), "integration")
})

test_that("reticulate makes an environment where it can and shall", {
  asked <- NULL
  new <- list(py_require = function(packages, python_version) asked <<- c(packages, python_version))
  require_python(NULL, new)
  expect_null(asked)
  require_python("omicvae @ file:///somewhere", list())  # reticulate before 1.41
  expect_null(asked)
  require_python("omicvae @ file:///somewhere", new)
  expect_identical(asked, c("omicvae @ file:///somewhere", ">=3.11"))
})

test_that("an environment is made from a clone, with its pins", {
  clone <- new_folder()
  dir.create(file.path(clone, "src", "omicvae"), recursive = TRUE)
  file.create(file.path(clone, "constraints.txt"))
  expect_error(omicvae_install(new_folder()), "folder of a clone")
  expect_identical(repository(clone), normalizePath(clone))
  deep <- file.path(clone, "src", "omicvae")
  old <- setwd(deep)
  on.exit(setwd(old))
  expect_identical(normalizePath(repository(NULL)), normalizePath(clone))
})

test_that("what lacks is said with the line to run", {
  needs_python()
  local_mocked(missing_python = function() "The Python package omicvae is not in python3. Run omicvae_install()")
  bridge_before <- state$bridge
  state$bridge <- NULL
  on.exit(state$bridge <- bridge_before, add = TRUE)
  expect_message(expect_false(omicvae_available(quiet = FALSE)), "omicvae_install")
  error <- tryCatch(ask("latent"), error = identity)
  expect_s3_class(error, "omicvae_python_error")
  expect_match(conditionMessage(error), "omicvae_install")
})
