# How long cells take from R to Python and their latents back, beyond training, and how much memory that takes.
#
#   RETICULATE_PYTHON=.venv/bin/python Rscript benchmarks/r_transfer.R
#
# And what a product of two 512 x 512 matrices takes in PyTorch as R's process loads it, and as omicvae does.
#
# 10,000 cells x 2000 genes, one entry in six not zero, as a dgCMatrix: 12 bytes for each of these. Writes
# results/r_transfer.json.
library(omicvae)
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))))

n_cells <- 10000
n_genes <- 2000
repeats <- 5
set.seed(1)
x <- Matrix::rsparsematrix(n_genes, n_cells, 1 / 6, rand.x = function(n) as.double(1 + rpois(n, 0.7)))
dimnames(x) <- list(paste0("gene", seq_len(n_genes)), paste0("cell", seq_len(n_cells)))
batch <- rep(c("a", "b"), length.out = n_cells)
slots <- length(x@x) * 12 + length(x@p) * 4

megabytes <- function(what) {
  line <- grep(paste0("^", what), readLines("/proc/self/status"), value = TRUE)
  as.numeric(gsub("[^0-9]", "", line)) / 1024
}

# Peak of the process above what it had before, MB.
peak <- function(code) {
  gc()
  before <- megabytes("VmRSS")
  writeLines("5", "/proc/self/clear_refs") # the peak starts here
  force(code)
  megabytes("VmHWM") - before
}

clock <- reticulate::py_run_string("
import functools, time
import omicvae as ov
train, spent = ov.CVAE.train, []
@functools.wraps(train)
def timed(self, *arguments, **named):
    start = time.perf_counter()
    train(self, *arguments, **named)
    spent.append(time.perf_counter() - start)
ov.CVAE.train = timed
def seconds():
    return spent.pop()
")
fit <- function(x, batch) cvae(x, batch = batch, max_epochs = 1, diagnose = FALSE, verbose = FALSE)
invisible(fit(x[, 1:500], batch[1:500])) # loads and compiles

# In sessions of their own, whose memory nothing has passed through before.
transfer <- function() omicvae:::send_cells(omicvae:::cells_of(x), list(batch = batch))$anndata()
asked <- commandArgs(TRUE)
if (length(asked)) {
  cat("MB", peak(if (asked == "transfer") transfer() else fit(x, batch)), "\n")
  quit(status = 0)
}
in_a_session <- function(what) {
  script <- c(file.path(here, "r_transfer.R"), what)
  said <- system2(file.path(R.home("bin"), "Rscript"), script, stdout = TRUE, stderr = FALSE)
  as.numeric(sub("MB ", "", grep("^MB ", said, value = TRUE)))
}
memory <- list(matrix = slots / 2^20, transfer = in_a_session("transfer"), whole_fit = in_a_session("fit"))
invisible(clock$seconds())

runs <- lapply(seq_len(repeats), function(i) {
  there <- system.time(cells <- omicvae:::send_cells(omicvae:::cells_of(x), list(batch = batch)))[["elapsed"]]
  made <- system.time(cells$anndata())[["elapsed"]]
  whole <- system.time(model <- fit(x, batch))[["elapsed"]]
  list(send = there, anndata = made, beyond_training = whole - clock$seconds())
})
seconds <- lapply(c(send = "send", anndata = "anndata", beyond_training = "beyond_training"), function(name) {
  values <- vapply(runs, `[[`, 0, name)
  list(median = stats::median(values), least = min(values), each = values)
})
# Milliseconds of a product in a session of R of its own, in one thread.
product <- function(load) {
  program <- paste0(load, "
import time
import torch
torch.set_num_threads(1)
a = torch.ones(512, 512)
def once():
    start = time.perf_counter()
    a @ a
    return time.perf_counter() - start
print('ms', 1000 * min(once() for _ in range(20)))
")
  file <- tempfile(fileext = ".R")
  writeLines(sprintf("reticulate::py_run_string(%s)", deparse(program)), file)
  said <- system2(file.path(R.home("bin"), "Rscript"), file, stdout = TRUE, stderr = FALSE)
  as.numeric(sub("ms ", "", grep("^ms ", said, value = TRUE)))
}
products <- list(blas_of_r = product("import torch"), own_blas = product("import omicvae.r_bridge"))
about <- reticulate::py_run_string("
import os, platform
from importlib.metadata import version
about = {'python': platform.python_version(), 'cpu_count': os.cpu_count(), 'load': os.getloadavg()[0],
         **{name: version(name) for name in ('omicvae', 'torch', 'numpy', 'anndata')}}
")$about
about$R <- as.character(getRversion())
about$reticulate <- as.character(utils::packageVersion("reticulate"))
found <- list(
  data = list(cells = n_cells, genes = n_genes, entries = length(x@x)), seconds = seconds, megabytes = memory,
  peak_in_matrices = list(transfer = memory$transfer / memory$matrix, whole_fit = memory$whole_fit / memory$matrix),
  product_ms = products, about = about
)
text <- jsonlite::toJSON(found, auto_unbox = TRUE, digits = 5, pretty = TRUE)
writeLines(text, file.path(here, "results", "r_transfer.json"))
cat(text, "\n")
