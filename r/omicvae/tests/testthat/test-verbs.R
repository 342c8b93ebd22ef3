test_that("a fit prints what it is, within the width of the console", {
  needs_python()
  fit <- looked_at()
  fit$diagnosis <- diagnose(fit, umap = FALSE)
  for (object in list(fit, fit$diagnosis, effects(fit, "batch"), counterfactual(fit, list(batch = "batch_1")))) {
    lines <- capture.output(print(object))
    expect_true(all(nchar(lines) <= 80))
    expect_no_match(paste(lines, collapse = "\n"), "adata|None|_key|model\\.")
  }
  expect_output(print(fit), "cvae_fit: nb, 30 genes, 3 latent dimensions, 8 epochs")
  expect_output(print(fit), "120 cells, conditioned on batch, age")
  expect_output(print(fit$diagnosis), paste("Verdict:", fit$diagnosis$verdict))
  expect_output(summary(fit), "Last epochs")
  expect_output(summary(fit$diagnosis), "a permuted z costs")
})

test_that("a diagnosis has evidence as a data frame and remedies as calls that run", {
  needs_python()
  cells <- some_cells()
  fit <- cvae(cells$x, batch = "batch", col_data = cells$col_data, n_latent = 3, max_epochs = 4, learning_rate = 1e-3,
    objective = list(beta = 200), n_hidden = 16)
  diagnosis <- fit$diagnosis
  expect_identical(names(diagnosis$evidence), c("check", "value", "threshold", "passed", "meaning"))
  expect_type(diagnosis$evidence$passed, "logical")
  expect_identical(as.data.frame(diagnosis), diagnosis$evidence)
  expect_false(diagnosis$sound)
  expect_gt(length(diagnosis$remedies), 0)
  anew <- Filter(function(remedy) !remedy$goes_on, diagnosis$remedies)[[1]]
  call <- anew$call
  expect_identical(call[[1]], quote(cvae))
  expect_identical(call$batch, "batch")
  expect_identical(call$n_hidden, 16)
  expect_null(call$learning_rate)  # what may have been wrong is not taken over
  expect_identical(eval(call$objective)$beta, 1)
  call$max_epochs <- 2
  expect_s3_class(eval(call), "cvae_fit")
  further <- Filter(function(remedy) remedy$goes_on, diagnosis$remedies)
  for (remedy in further) {
    expect_identical(remedy$call[[1]], quote(train_further))
    remedy$call$max_epochs <- 2
    expect_s3_class(eval(remedy$call), "cvae_fit")
  }
  shown <- paste(capture.output(print(diagnosis)), collapse = "\n")
  expect_match(shown, "objective = list\\(beta = 1, schedule = \"linear\"")
})

test_that("a diagnosis has Python's numbers of dimensions and probes", {
  needs_python()
  fit <- looked_at()
  diagnosis <- diagnose(fit, umap = FALSE)
  expect_identical(dim(diagnosis$dimensions), c(3L, 2L))
  rate <- diagnosis$evidence$value[diagnosis$evidence$check == "rate (KL)"]
  expect_equal(sum(diagnosis$dimensions$kl), rate, tolerance = 1e-4)
  expect_true(all(c("representation", "balanced_accuracy") %in% names(diagnosis$probes)))
  given <- diagnose(fit, labels = rep(c("u", "v"), 60), umap = FALSE)
  expect_true(any(grepl("labels", given$evidence$check)))
  expect_identical(diagnose(fit, umap = FALSE)$evidence, diagnosis$evidence)  # a vector took no column's place
  expect_true(any(grepl("probe of donor", diagnose(fit, labels = "donor", umap = FALSE)$evidence$check)))
  expect_error(diagnose(fit, labels = "dono"), "Did you mean \"donor\"")
})

test_that("rescue keeps the best of its attempts and leaves the fit as it is", {
  needs_python()
  cells <- some_cells()
  fit <- cvae(cells$x, n_latent = 3, max_epochs = 4, objective = list(beta = 500, schedule = "constant"))
  before <- latent(fit, "sd")
  best <- rescue(fit, max_attempts = 1)
  expect_identical(latent(fit, "sd"), before)
  expect_identical(names(best$attempts), c("remedy", "verdict", "elbo_validation", "seconds", "failure", "chosen"))
  expect_identical(best$attempts$remedy[[1]], "as given")
  expect_match(best$attempts$remedy[[2]], "^cvae\\(x = cells\\$x")
  expect_identical(best$diagnosis$verdict, best$attempts$verdict[best$attempts$chosen])
  expect_gt(nrow(best$history), 4)
})

test_that("latents of other cells are matched by name", {
  needs_python()
  fit <- looked_at()
  cells <- shared$cells
  new <- predict(fit, cells$x[30:1, 10:1], col_data = cells$col_data[10:1, ])
  expect_equal(new, latent(fit)[10:1, ], tolerance = 1e-5)
  expect_identical(dim(predict(fit, cells$x, cells$col_data, give = "sd")), c(120L, 3L))
  expect_true(all(latent(fit, "sd") > 0))
  expect_false(identical(latent(fit, "draw", seed = 1), latent(fit, "draw", seed = 2)))
  expect_identical(latent(fit, "draw", seed = 1), latent(fit, "draw", seed = 1))
  expect_error(predict(fit, cells$x), "batch.*col_data")
  other <- transform(cells$col_data, batch = "new")
  expect_error(predict(fit, cells$x, other), "unknown level.*'new'.*Known levels: 'batch_0', 'batch_1'")
  expect_silent(predict(fit, cells$x, other, unseen = list(batch = "batch_0")))
  expect_error(predict(fit, cells$x[1:29, ], cells$col_data), "gene")
  expect_identical(dim(predict(fit, cells$x[1:28, ], cells$col_data, missing_genes = "zero")), c(120L, 3L))
  old <- transform(cells$col_data, age = 80)[1:2, ]
  expect_warning(predict(fit, cells$x[, 1:2], old), "outside of the training range")
})

test_that("expression has the genes and cells that were asked for, in that order", {
  needs_python()
  fit <- looked_at()
  all <- normalized_expression(fit)
  expect_identical(dimnames(all), list(fit$genes, fit$cells))
  expect_equal(unname(colSums(all)), rep(1, 120), tolerance = 1e-5)
  some <- normalized_expression(fit, genes = c("gene_7", "gene_2"), cells = c("cell_5", "cell_3"))
  expect_equal(some, all[c("gene_7", "gene_2"), c("cell_5", "cell_3")], tolerance = 1e-5)
  expect_equal(normalized_expression(fit, cells = seq_along(fit$cells) == 4)[, 1], all[, 4], tolerance = 1e-5)
  expect_error(normalized_expression(fit, genes = "gene_x"), "gene_x")
  expect_error(normalized_expression(fit, cells = 0), "from 1 to 120")
  expect_error(normalized_expression(fit, cells = "nobody"), "no cells \"nobody\"")
  moved <- normalized_expression(fit, transform = list(batch = "batch_1", age = 45))
  expect_false(identical(moved, all))
})

test_that("counterfactuals have matrices, tables and a summary", {
  needs_python()
  fit <- looked_at()
  found <- counterfactual(fit, list(batch = "batch_1"), groupby = "cell_type", layers = c("lower", "upper"), seed = 1)
  expect_identical(dimnames(found$change), list(fit$genes, fit$cells))
  inside <- found$lower <= found$change & found$change <= found$upper
  expect_true(all(inside))
  expect_identical(nrow(as.data.frame(found)), 30L * nrow(found$groups))
  expect_match(found$summary, "^Counterfactual to batch='batch_1'")
  expect_error(counterfactual(fit, "batch_1"), "list\\(condition")
  unknown <- "^to\\$batch names levels that the model does not know: 'batch_9'"
  expect_error(counterfactual(fit, list(batch = "batch_9")), unknown)
  expect_error(counterfactual(fit, list(batch = "batch_1"), layers = "low"), "layers must be of")
  own <- shared$cells
  new <- counterfactual(fit, list(batch = "batch_1"), "donor", newdata = own$x, col_data = own$col_data)
  expect_setequal(new$groups$group, unique(own$col_data$donor))
})

test_that("effects across replicates have p and q, and without none", {
  needs_python()
  fit <- looked_at()
  found <- effects(fit, "batch", "donor", n_permutations = 5)
  expect_true(all(c("effect", "lower", "upper", "p", "q") %in% names(found)))
  expect_output(print(found), "replicates \\(donor\\)")
  expect_false(any(is.na(match(rownames(found), fit$genes))))
  plain <- effects(fit, "batch", within = list(cell_type = "type_0"))
  expect_null(plain$p)
  expect_output(print(plain), "as replicate\\.")
  expect_s3_class(as.data.frame(plain), "data.frame", exact = TRUE)
  expect_error(effects(fit, "batch", groups = c("batch_0", "x")), "'x'")
  expect_error(effects(fit, "batch", replicates = "donor"), "no argument \"replicates\"")
})

test_that("cells are generated with names, covariates and latents", {
  needs_python()
  fit <- looked_at()
  made <- generate(fit, 4, covariates = list(batch = "batch_1"), seed = 3)
  expect_s4_class(made$x, "dgCMatrix")
  expect_identical(dim(made$x), c(30L, 4L))
  expect_identical(as.character(made$col_data$batch), rep("batch_1", 4))
  expect_identical(dim(made$latent), c(4L, 3L))
  expect_identical(generate(fit, 4, covariates = list(batch = "batch_1"), seed = 3), made)
  of_cells <- generate(fit, 3, source = c("cell_2", "cell_9"))
  expect_identical(of_cells$col_data$source_cell, c("cell_2", "cell_9", "cell_2"))
  each <- generate(fit, 2, covariates = data.frame(batch = c("batch_0", "batch_1")))
  expect_identical(as.character(each$col_data$batch), c("batch_0", "batch_1"))
})

test_that("queries are mapped, with new levels too", {
  needs_python()
  fit <- looked_at()
  cells <- shared$cells
  found <- map_query(fit, cells$x[, 1:50], col_data = cells$col_data[1:50, ])
  expect_s3_class(found, "cvae_mapping")
  expect_identical(rownames(as.data.frame(found)), fit$cells[1:50])
  expect_gt(mean(as.character(found$cells$label) == cells$col_data$cell_type[1:50]), 0.9)
  expect_output(print(found), "Verdict: covered")
  new <- transform(cells$col_data, batch = "batch_new")[1:50, ]
  mapped <- map_query(fit, cells$x[, 1:50], labels = "donor", col_data = new, training = list(max_epochs = 2))
  expect_true(all(mapped$cells$label %in% cells$col_data$donor))
})

test_that("stability compares fits of several seeds", {
  needs_python()
  cells <- some_cells()
  found <- stability(tiny_fit(cells$x, max_epochs = 2), seeds = c(1, 2), labels = cells$col_data$cell_type)
  expect_identical(nrow(found$fits), 2L)
  expect_output(print(found), "verdict|seeds|fits")
})

test_that("a report is a page", {
  needs_python()
  path <- file.path(new_folder(), "a report.html")
  expect_identical(report(looked_at(), path, umap = FALSE), path)
  expect_match(paste(readLines(path, warn = FALSE), collapse = ""), "<html")
})

test_that("curves of other programs are judged from a table, a file and text", {
  needs_python()
  epochs <- data.frame(epoch = 1:40, loss = 100 + 50 * exp(-(1:40) / 4), kl = 5 * exp(-(1:40) / 3), kl_weight = 1)
  found <- diagnose_log(epochs)
  expect_s3_class(found, "cvae_diagnosis")
  path <- file.path(new_folder(), "log.csv")
  utils::write.csv(epochs, path, row.names = FALSE)
  expect_identical(diagnose_log(path)$verdict, found$verdict)
  expect_identical(diagnose_log(readLines(path))$verdict, found$verdict)
  expect_match(paste(vapply(found$remedies, function(r) deparse(r$call)[[1]], ""), collapse = " "), "cvae\\(x")
  expect_error(diagnose_log("nothing to see"), "omicvae|nothing to see|read")
})

test_that("figures are drawn, with the devices of R", {
  needs_python()
  fit <- looked_at()
  path <- tempfile(fileext = ".pdf")
  grDevices::pdf(path)
  on.exit(unlink(path))
  plot(fit)
  plot(fit, "latent", colour = "cell_type")
  plot(fit, "latent")
  plot(diagnose(fit, umap = FALSE))
  plot(effects(fit, "batch"))
  plot(effects(fit, "batch", "donor", n_permutations = 0))
  plot(counterfactual(fit, list(batch = "batch_1")))
  grDevices::dev.off()
  expect_gt(file.size(path), 10000)
})

test_that("a fit that cannot be diagnosed is not lost", {
  needs_python()
  cells <- some_cells()
  local_mocked(make_diagnosis = function(...) stop_input("no such thing"))
  expect_warning(fit <- tiny_fit(cells$x, diagnose = TRUE), "not diagnosed \\(no such thing\\). It can be used")
  expect_null(fit$diagnosis)
  expect_identical(dim(latent(fit)), c(120L, 3L))
  local_mocked(diagnose = function(...) {
    signalCondition(structure(class = c("interrupt", "condition"), list(message = "", call = NULL)))
  })
  expect_warning(fit <- tiny_fit(cells$x, diagnose = TRUE), "interrupted")
  expect_output(print(fit), "Not diagnosed yet: diagnose\\(fit\\)")
})

test_that("a fit is quiet, and tells its epochs where it shall", {
  needs_python()
  cells <- some_cells()
  expect_silent(tiny_fit(cells$x))
  said <- character()
  withCallingHandlers(tiny_fit(cells$x, verbose = TRUE), message = function(m) {
    said <<- c(said, conditionMessage(m))
    invokeRestart("muffleMessage")
  })
  expect_match(said, "^Training a CVAE on 120 cells x 30 genes", all = FALSE)
  expect_match(said, "^epoch 003 .*train loss", all = FALSE)
  expect_warning(tiny_fit(cells$x, objective = list(reduction = "mean")), "acts like beta")
})

test_that("fits are compared by name", {
  needs_python()
  cells <- some_cells()
  first <- tiny_fit(cells$x, col_data = cells$col_data)
  second <- tiny_fit(cells$x, col_data = cells$col_data, max_epochs = 12)
  found <- compare(short = first, long = second, labels = "cell_type")
  expect_setequal(rownames(found$table), c("short", "long"))
  expect_identical(found$table$behind[[1]], 0)
  expect_true(all(found$table$labels == "cell_type"))
  expect_identical(compare(list(short = first, long = second), labels = "cell_type"), found)
  lines <- capture.output(print(found))
  expect_true(all(nchar(lines) <= 80))
  expect_match(lines, "stability", all = FALSE)
  expect_no_match(lines, "ov\\.")
  expect_error(compare(first, second), "each with a name")
  expect_error(compare(a = first), "two fits or more")
})
