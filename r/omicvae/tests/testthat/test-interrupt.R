# A real Ctrl-C, sent to another session of R.
test_that("an interrupt leaves a usable fit, and R its own interrupts", {
  needs_python()
  skip_on_os("windows")
  folder <- new_folder()
  script <- file.path(folder, "train.R")
  writeLines(c(
    sprintf(".libPaths(%s)", paste(deparse(.libPaths()), collapse = "")), "library(omicvae)",
    sprintf("folder <- %s", deparse(folder)),
    "cells <- example_cells(\"simulate_counts\", n_cells = 150, n_genes = 30)",
    "writeLines(as.character(Sys.getpid()), file.path(folder, \"pid\"))",
    "said <- character()",
    "fit <- withCallingHandlers(",
    "  cvae(cells$x, max_epochs = 1e5, early_stopping = FALSE, verbose = TRUE, diagnose = FALSE),",
    "  message = function(m) if (grepl(\"epoch 020\", conditionMessage(m))) file.create(file.path(folder, \"on\")),",
    "  warning = function(w) { said <<- c(said, conditionMessage(w)); invokeRestart(\"muffleWarning\") }",
    ")",
    "file.create(file.path(folder, \"trained\"))",
    "slept <- tryCatch({ Sys.sleep(30); \"slept\" }, interrupt = function(i) \"interrupted\")",
    "out <- list(fit = fit, said = said, slept = slept, latent = dim(latent(fit, \"sd\")))",
    "saveRDS(out, file.path(folder, \"out.rds\"))"
  ), script)
  rscript <- file.path(R.home("bin"), "Rscript")
  system2(rscript, shQuote(script), wait = FALSE, stdout = FALSE, stderr = FALSE)
  until <- function(name) {
    for (i in 1:900) if (file.exists(file.path(folder, name))) return(TRUE) else Sys.sleep(0.1)
    FALSE
  }
  expect_true(until("on"))
  pid <- as.integer(readLines(file.path(folder, "pid")))
  tools::pskill(pid, tools::SIGINT)
  expect_true(until("trained"))
  Sys.sleep(0.5)
  tools::pskill(pid, tools::SIGINT)
  expect_true(until("out.rds"))
  Sys.sleep(0.3)
  out <- readRDS(file.path(folder, "out.rds"))
  expect_true(out$fit$interrupted)
  expect_gt(nrow(out$fit$history), 10)
  expect_match(out$said, "interrupted after [0-9]+ of 100000 epochs; the model is usable", all = FALSE)
  expect_identical(out$latent, c(150L, 10L))
  expect_identical(out$slept, "interrupted")
})
