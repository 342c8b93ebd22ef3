# What arrives in Python is what R has, whatever the class.
dense <- function() {
  x <- matrix(c(0, 3, 0, 1, 0, 0, 2.5, 7, 0, 0, 0, 4), 3)
  dimnames(x) <- list(c("A", "\u00df", "C"), paste0("c", 1:4))
  x
}

send <- function(x, ...) received(send_cells(cells_of(x, ...)))

test_that("every class of matrix arrives the same, sparse ones sparse", {
  needs_python()
  x <- dense()
  sparse <- methods::as(x, "CsparseMatrix")
  classes <- list(
    sparse, methods::as(sparse, "RsparseMatrix"), methods::as(sparse, "TsparseMatrix"), x,
    methods::as(methods::as(x, "unpackedMatrix"), "generalMatrix"), as.data.frame(x)
  )
  for (given in classes) {
    got <- send(given)
    expect_identical(got$x, x)
    expect_identical(got$sparse, methods::is(given, "sparseMatrix"))
  }
})

test_that("integers, logicals and patterns are numbers", {
  needs_python()
  x <- round(dense())
  expect_identical(send(structure(as.integer(x), dim = dim(x), dimnames = dimnames(x)))$x, x)
  flags <- x > 0
  expect_identical(send(flags)$x, flags + 0)
  expect_identical(send(methods::as(flags, "CsparseMatrix"))$x, flags + 0)
  expect_identical(send(methods::as(methods::as(flags, "CsparseMatrix"), "nMatrix"))$x, flags + 0)
})

test_that("NA is NaN in Python, in integers too", {
  needs_python()
  x <- matrix(c(1L, NA, 3L, 4L), 2)
  expect_true(is.na(send(x)$x[2, 1]))
  expect_true(is.na(send(methods::as(x + 0, "CsparseMatrix"))$x[2, 1]))
})

test_that("short numbers take half of the memory, long ones keep every bit", {
  needs_python()
  counts <- methods::as(matrix(c(0, 1, 16777216, 5), 2), "CsparseMatrix")
  expect_identical(send(counts)$dtype, "float32")
  x <- methods::as(matrix(c(0, 0.1, pi, 16777217), 2), "CsparseMatrix")
  got <- send(x)
  expect_identical(got$dtype, "float64")
  expect_identical(unname(got$x), unname(as.matrix(x)))
})

test_that("blocks give what a whole gives", {
  needs_python()
  x <- dense()
  for (entries in c(1, 3, 5, 100)) {
    local_mocked(block_entries = function(n) entries)
    expect_identical(send(x)$x, x)
    expect_identical(send(methods::as(x, "CsparseMatrix"))$x, x)
  }
})

test_that("a block of integers with NA makes the whole real", {
  needs_python()
  local_mocked(block_entries = function(n) 2)
  x <- matrix(c(1L, 2L, 3L, NA), 2)
  expect_identical(unname(send(x)$x), x + 0)
})

test_that("delayed matrices are read by blocks", {
  needs_python()
  needs_package("DelayedArray")
  x <- dense()
  local_mocked(block_entries = function(n) 4)
  expect_identical(send(DelayedArray::DelayedArray(x))$x, x)
  sparse <- DelayedArray::DelayedArray(methods::as(x, "CsparseMatrix"))
  got <- send(sparse * 2)
  expect_identical(got$x, x * 2)
  expect_true(got$sparse)
})

test_that("integer64 is not taken for doubles", {
  needs_python()
  needs_package("bit64")
  x <- bit64::as.integer64(c(1, 2, 3, 4))
  dim(x) <- c(2, 2)
  expect_identical(unname(send(x)$x), matrix(c(1, 2, 3, 4), 2))
})

test_that("columns keep their values", {
  needs_python()
  source <- cells_of(dense())
  columns <- list(
    f = factor(c("b", "a", "b", NA), levels = c("unused", "b", "a")), i = c(3, 1, 2, 2), d = c(0.5, 1, NA, 2),
    l = c(TRUE, FALSE, TRUE, TRUE), t = c("\u00e9", "x", NA, "NA")
  )
  got <- received(send_cells(source, columns))$obs
  expect_identical(got$f[1:3], list("b", "a", "b"))
  expect_null(got$f[[4]])
  expect_identical(unlist(got$i), c("3", "1", "2", "2"))
  expect_null(got$d[[3]])
  expect_identical(unlist(got$l), c("True", "False", "True", "True"))
  expect_identical(got$t[c(1, 2, 4)], list("\u00e9", "x", "NA"))
})

test_that("tables come back as they are in Python", {
  needs_python()
  table <- reticulate::py_run_string("
import pandas as pd
from omicvae.r_bridge.transfer import table
frame = pd.DataFrame({
    'd': [1.5, float('nan')], 'i': [1, 2], 'big': [2**40, 1], 'l': [True, False], 'm': [True, None],
    's': ['a', None], 'f': pd.Categorical(['y', 'x'], categories=['y', 'x']),
}, index=['r1', 'r2'])
found = table(frame)
empty = table(pd.DataFrame())
", local = TRUE)
  got <- from_table(table$found)
  expect_identical(got, data.frame(
    d = c(1.5, NaN), i = 1:2, big = c(2^40, 1), l = c(TRUE, FALSE), m = c(TRUE, NA), s = c("a", NA),
    f = factor(c("y", "x"), levels = c("y", "x")), row.names = c("r1", "r2")
  ))
  expect_identical(dim(from_table(table$empty)), c(0L, 0L))
})

test_that("the numbers of epochs are those of Python", {
  needs_python()
  expect_identical(looked_at()$history$epoch, seq_len(8))
})
