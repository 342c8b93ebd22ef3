library(testthat)
library(omicvae)

test_check("omicvae")
