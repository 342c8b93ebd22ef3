# Bad and odd input: each a right result, or an error in words that an R user can act on.
counts <- function() {
  x <- matrix(as.double(rpois(20 * 40, 3)), 20, dimnames = list(paste0("g", 1:20), paste0("c", 1:40)))
  x[cbind(1:20, 1:20)] <- 0
  x
}
with_seed <- function(code) {
  set.seed(1)
  code
}
barcodes <- function() replicate(40, paste(sample(c("A", "C", "G", "T"), 16, TRUE), collapse = ""))
batch <- function() rep(c("a", "b"), 20)
frame <- function(...) data.frame(batch = batch(), ..., row.names = paste0("c", 1:40))

# what is done to a fit of 20 genes x 40 cells -> a pattern of its error
refused <- list(
  "a transposed matrix, by its batch" = list(quote(cvae(t(x), batch = batch())), "pass t\\(x\\)"),
  "a transposed matrix, by col_data" = list(quote(cvae(t(x), batch = "batch", col_data = frame())), "pass t\\(x\\)"),
  "a transposed matrix, by barcodes" = list(
    quote(cvae(`rownames<-`(t(x), barcodes()))),
    "barcodes.*pass t\\(x\\)"
  ),
  "col_data of the genes" = list(
    quote(cvae(x[, 1:20], batch = "batch", col_data = frame()[1:20, , drop = FALSE] |> `rownames<-`(rownames(x)))),
    "describes the rows of x.*pass t\\(x\\)"
  ),
  "col_data of other cells" = list(
    quote(cvae(x, batch = "batch", col_data = `rownames<-`(frame(), paste0("d", 1:40)))), "no row for \"c1\""
  ),
  "NA in batch" = list(
    quote(cvae(x, batch = replace(batch(), 3:4, NA))), "batch is NA in 2 cells: \"c3\", \"c4\".*missing"
  ),
  "NA in a factor of covariates" = list(
    quote(cvae(x, covariates = list(site = factor(replace(batch(), 1, NA))))), "site is NA in 1 cell: \"c1\""
  ),
  "NA in a number" = list(quote(cvae(x, continuous = list(age = c(NA, 2:40)))), "age is NA in 1 cell: \"c1\".*fill in"),
  "Inf in a number" = list(
    quote(cvae(x, continuous = list(age = c(Inf, 2:40)))), "column 'age' is missing or infinite"
  ),
  "text for a number" = list(quote(cvae(x, continuous = list(age = batch()))), "age holds no numbers.*covariates"),
  "a column that is not there" = list(
    quote(cvae(x, batch = "Batsch", col_data = frame())), "no such column. Did you mean \"batch\"\\? Columns: \"batch\""
  ),
  "the name of a column and no columns" = list(
    quote(cvae(x, batch = "batch")), "col_data = data.frame\\(batch = ...\\)"
  ),
  "a batch of another length" = list(quote(cvae(x, batch = batch()[1:39])), "batch has 39 values and x 40 cells"),
  "one column in two roles" = list(
    quote(cvae(x, batch = "batch", covariates = "batch", col_data = frame())),
    "'batch' is named twice, as batch and as covariates"
  ),
  "NA in the matrix" = list(
    quote(cvae(replace(x, 5, NA))), "NA or NaN.*: 1; the first is nan \\(cell 'c1', gene 'g5'\\)"
  ),
  "NA in integers" = list(
    quote(cvae(structure(as.integer(replace(x, 5, NA)), dim = dim(x), dimnames = dimnames(x)))), "NA or NaN"
  ),
  "Inf in the matrix" = list(quote(cvae(methods::as(replace(x, 5, Inf), "CsparseMatrix"))), "infinite"),
  "fractions as counts" = list(
    quote(cvae(x + 0.5, likelihood = "nb")), "holds 0\\.5 \\(cell 'c1', gene 'g1'\\).*gaussian"
  ),
  "negative counts" = list(quote(cvae(replace(x, 1, -1), likelihood = "nb")), "holds -1 \\(cell 'c1', gene 'g1'\\)"),
  "log-normalised counts under auto" = list(
    quote(cvae(log1p(t(t(x) / colSums(x)) * 1e4))), "looks log-normalised.*cvae\\(x, assay = ...\\).*gaussian"
  ),
  "duplicated genes" = list(
    quote(cvae(`rownames<-`(x, c("g1", "g1", rownames(x)[-(1:2)])))), "duplicates: \"g1\".*make.unique"
  ),
  "a gene without a name" = list(quote(cvae(`rownames<-`(x, c("", rownames(x)[-1])))), "1 gene without a name"),
  "no genes" = list(quote(cvae(x[0, ])), "empty: it has 0 genes"),
  "no cells" = list(quote(cvae(x[, 0])), "empty.*0 cells"),
  "text" = list(quote(cvae(matrix("a", 2, 2))), "must hold numbers, got a matrix of type character"),
  "complex numbers" = list(quote(cvae(x + 1i)), "type complex"),
  "a data frame with text" = list(quote(cvae(cbind(gene = rownames(x), as.data.frame(x)))), "column \"gene\" hold"),
  "a vector" = list(quote(cvae(1:10)), "genes x cells matrix.*class integer"),
  "a list" = list(quote(cvae(list(1))), "genes x cells matrix"),
  "NULL" = list(quote(cvae(NULL)), "genes x cells matrix.*NULL"),
  "three dimensions" = list(quote(cvae(array(1, c(2, 2, 2)))), "genes x cells matrix"),
  "a list column" = list(quote(cvae(x, batch = list(a = as.list(1:40)))), "batch must be|must be a vector"),
  "a misspelt argument" = list(quote(cvae(x, n_latnt = 3)), "For n_latnt write n_latent"),
  "scVI's word for an argument" = list(quote(cvae(x, gene_likelihood = "nb")), "likelihood"),
  "an argument without a name" = list(
    quote(cvae(x, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "auto", 3, NULL, 1, FALSE, FALSE, FALSE, 50)),
    "need names"
  ),
  "NA for an argument" = list(quote(cvae(x, max_epochs = NA)), "max_epochs is NA"),
  "an unknown likelihood" = list(quote(cvae(x, likelihood = "NB")), "'NB' is not known.*'nb'"),
  "half a dimension" = list(quote(cvae(x, n_latent = 2.5)), "n_latent must be a whole number, got 2.5"),
  "an unknown schedule" = list(quote(cvae(x, objective = list(schedule = "lin"))), "linear"),
  "a warm-up that does not fit" = list(quote(cvae(x, objective = list(warmup_epochs = 50), max_epochs = 10)), "50|warm")
)

for (case in names(refused)) {
  local({
    case <- case
    test_that(paste("refused:", case), {
      needs_python()
      x <- with_seed(counts())
      error <- tryCatch(eval(refused[[case]][[1]]), error = identity)
      expect_s3_class(error, "omicvae_error")
      text <- conditionMessage(error)
      expect_match(text, refused[[case]][[2]])
      expect_no_match(text, "adata|AnnData|\\bobs\\[|setup_anndata|\\bTrue\\b|\\bNone\\b|CVAE\\(|pandas|numpy")
    })
  })
}

# what is fitted -> what it must equal: the latent of the plain case, unless another expression is given
plain <- quote(tiny_fit(x, batch = batch()))
taken <- list(
  "integers" = quote(tiny_fit(structure(as.integer(x), dim = dim(x), dimnames = dimnames(x)), batch = batch())),
  "a sparse matrix" = quote(tiny_fit(methods::as(x, "CsparseMatrix"), batch = batch())),
  "a triplet matrix" = quote(tiny_fit(methods::as(methods::as(x, "CsparseMatrix"), "TsparseMatrix"), batch = batch())),
  "a row-sparse matrix" = quote(tiny_fit(methods::as(x, "RsparseMatrix"), batch = batch())),
  "explicit zeros" = quote({
    s <- methods::as(replace(x, x == 0, 9), "CsparseMatrix")
    s@x[as.vector(x) == 0] <- 0
    tiny_fit(s, batch = batch())
  }),
  "a data frame" = quote(tiny_fit(as.data.frame(x), batch = batch())),
  "no dimnames" = quote(tiny_fit(unname(x), batch = batch())),
  "duplicated cells" = quote(tiny_fit(`colnames<-`(x, rep("c", 40)), batch = batch())),
  "a factor with unused levels" = quote(tiny_fit(x, batch = factor(batch(), levels = c("z", "b", "a", "y")))),
  "a column by its name" = quote(tiny_fit(x, batch = "batch", col_data = frame())),
  "col_data in another order" = quote(tiny_fit(x, batch = "batch", col_data = frame()[40:1, , drop = FALSE])),
  "col_data without row names" = quote(tiny_fit(x, batch = "batch", col_data = data.frame(batch = batch()))),
  "a batch with names" = quote(tiny_fit(x, batch = stats::setNames(batch(), colnames(x)))),
  "doubles for whole numbers" = quote(tiny_fit(x, batch = batch(), n_hidden = 128, seed = 1.0)),
  "NULL for arguments" = quote(tiny_fit(x, batch = batch(), covariates = NULL, objective = NULL, learning_rate = NULL)),
  "an empty list for the objective" = quote(tiny_fit(x, batch = batch(), objective = list())),
  "labels with NA" = quote(tiny_fit(x, batch = batch(), labels = replace(batch(), 1:3, NA)))
)

for (case in names(taken)) {
  local({
    case <- case
    test_that(paste("taken:", case), {
      needs_python()
      x <- with_seed(counts())
      expect_identical(unname(latent(eval(taken[[case]]))), unname(latent(eval(plain))))
    })
  })
}

test_that("levels are levels in any form", {
  needs_python()
  x <- with_seed(counts())
  as_text <- latent(tiny_fit(x, batch = rep(c("1", "2"), 20)))
  for (given in list(rep(1:2, 20), rep(c(1, 2), 20), factor(rep(1:2, 20)))) {
    expect_identical(latent(tiny_fit(x, batch = given)), as_text)
  }
  expect_identical(latent(tiny_fit(x, batch = rep(c(FALSE, TRUE), 20))), as_text)
})

test_that("dates are categories by day, and numbers where numbers are wanted", {
  needs_python()
  x <- with_seed(counts())
  day <- as.Date("2024-03-01") + rep(0:1, 20)
  fit <- tiny_fit(x, batch = day)
  expect_identical(unlist(fit$levels), c("2024-03-01", "2024-03-02"), ignore_attr = TRUE)
  expect_s3_class(counterfactual(fit, to = list(batch = as.Date("2024-03-02"))), "cvae_counterfactual")
  numbers <- tiny_fit(x, continuous = list(day = day))
  expect_identical(latent(numbers), latent(tiny_fit(x, continuous = list(day = as.numeric(day)))))
})

test_that("integer64 is read as the numbers that it holds", {
  needs_python()
  needs_package("bit64")
  x <- with_seed(counts())
  given <- bit64::as.integer64(as.vector(x))
  dim(given) <- dim(x)
  age <- bit64::as.integer64(1:40)
  got <- tiny_fit(given, continuous = list(age = age))
  expect_identical(unname(latent(got)), unname(latent(tiny_fit(x, continuous = list(age = 1:40)))))
})

test_that("logicals are 0 and 1", {
  needs_python()
  fit <- tiny_fit(with_seed(counts()) > 2)
  expect_identical(fit$likelihood, "bernoulli")
})

test_that("names that are not ASCII survive", {
  needs_python()
  x <- with_seed(counts())
  rownames(x)[1] <- "g\u00e8ne \u03b2"
  colnames(x)[2] <- "cellule n\u00b0 2"
  fit <- tiny_fit(x, batch = rep(c("K\u00f6ln", "\u6771\u4eac"), 20))
  expect_identical(fit$genes[1], rownames(x)[1])
  expect_identical(rownames(latent(fit))[2], colnames(x)[2])
  expect_setequal(unlist(fit$levels), c("K\u00f6ln", "\u6771\u4eac"))
  latin <- rownames(x)[1]
  Encoding(latin) <- "UTF-8"
  expect_identical(rownames(normalized_expression(fit, genes = latin)), latin)
})

test_that("one cell is fitted and has a latent", {
  needs_python()
  x <- with_seed(counts())[, 1, drop = FALSE]
  expect_identical(dim(latent(tiny_fit(x))), c(1L, 3L))
})

test_that("one gene and one column keep their dimensions", {
  needs_python()
  x <- with_seed(counts())[1, , drop = FALSE] + 1
  fit <- tiny_fit(x)
  expect_identical(dim(normalized_expression(fit, cells = 3)), c(1L, 1L))
})
