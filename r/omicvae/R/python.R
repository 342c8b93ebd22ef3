# Python: which one, and one call of it.

state <- new.env(parent = emptyenv())

envname <- "r-omicvae"

#' Is the Python package there?
#'
#' @param quiet `FALSE` says why it is not.
#' @return `TRUE` or `FALSE`. Starts Python, where it is not running yet.
#' @examples
#' omicvae_available()
#' @export
omicvae_available <- function(quiet = TRUE) {
  missing <- missing_python()
  if (!quiet && !is.null(missing)) message(missing)
  is.null(missing)
}

# What lacks, and the line to run; NULL where nothing does, and then the bridge is there.
missing_python <- function() {
  if (!is.null(state$bridge)) return(NULL)
  choose_python()
  lacks <- "No Python was found"
  if (reticulate::py_available(initialize = TRUE)) {
    found <- tryCatch(reticulate::import("omicvae.r_bridge"), error = conditionMessage)
    if (!is.character(found)) {
      state$bridge <- found
      return(NULL)
    }
    python <- reticulate::py_config()$python
    lacks <- paste0("The Python package omicvae cannot be loaded in ", python, " (", trimws(found), ")")
    if (grepl("No module named 'omicvae'", found)) lacks <- paste("The Python package omicvae is not in", python)
  }
  paste0(
    lacks, ". In a fresh R session run omicvae_install(\"path/to/omicvae\"), with the folder of the repository; ",
    "or choose a Python (>= 3.11) that has it, Sys.setenv(RETICULATE_PYTHON = \"path/to/python\")."
  )
}

# The user's own choice comes first, whatever form it has; then our environment, then what reticulate can make.
choose_python <- function() {
  if (reticulate::py_available()) return(invisible())
  if (reticulate::virtualenv_exists(envname)) {
    reticulate::use_virtualenv(envname, required = FALSE)
  } else {
    require_python(getOption("omicvae.python_package"))
  }
}

# reticulate from 1.41 on makes an environment by itself from requirements.
require_python <- function(package, reticulate = asNamespace("reticulate")) {
  if (!is.null(package) && !is.null(reticulate$py_require)) {
    reticulate$py_require(package, python_version = ">=3.11")
  }
  invisible()
}

#' Install the Python package
#'
#' Makes a virtual environment, without conda, that later sessions find by themselves, and installs the Python package
#' omicvae in it. Run it in a session that has not started Python yet. A Python of your own that has the package needs
#' none of this: name it in the environment variable `RETICULATE_PYTHON`.
#'
#' PyTorch is large: on Linux its usual build brings several GB for CUDA. `torch` names a smaller one.
#'
#' With reticulate 1.41 or later, `options(omicvae.python_package = "omicvae @ file:///path/to/omicvae")` lets
#' reticulate make a passing environment instead.
#'
#' @param source Folder of a clone of the repository; `NULL` looks at the working directory and those above it.
#' @param torch What to install of PyTorch first: `NULL` what pip takes, or the path or address of a wheel.
#' @param python Python (3.11 or later) to make the environment with; `NULL` for one that reticulate finds.
#' @param pip_options Further options of pip.
#' @return The name of the environment, invisibly.
#' @examples
#' \dontrun{
#' omicvae_install("path/to/omicvae")
#' }
#' @export
omicvae_install <- function(source = NULL, torch = NULL, python = NULL, pip_options = character()) {
  source <- repository(source)
  # R's path of libraries would give the environment's Python the libpython of another one
  path <- Sys.getenv("LD_LIBRARY_PATH", NA)
  if (!is.na(path)) {
    Sys.unsetenv("LD_LIBRARY_PATH")
    on.exit(Sys.setenv(LD_LIBRARY_PATH = path))
  }
  if (!reticulate::virtualenv_exists(envname)) {
    reticulate::virtualenv_create(envname, python = python, version = if (is.null(python)) ">=3.11", packages = NULL)
  }
  pins <- c("-c", file.path(source, "constraints.txt"), pip_options)
  if (!is.null(torch)) reticulate::virtualenv_install(envname, torch, pip_options = pip_options)
  reticulate::virtualenv_install(envname, source, pip_options = pins)
  message("omicvae is in the virtual environment '", envname, "'. Start a new R session, then library(omicvae).")
  invisible(envname)
}

repository <- function(source) {
  tried <- if (is.null(source)) parents(getwd()) else normalizePath(source, mustWork = FALSE)
  is_clone <- file.exists(file.path(tried, "constraints.txt")) & dir.exists(file.path(tried, "src", "omicvae"))
  if (any(is_clone)) return(tried[is_clone][[1]])
  stop_input(
    "source must be the folder of a clone of the omicvae repository, with constraints.txt and src/omicvae; ",
    if (is.null(source)) "the working directory is in none." else paste0("'", source, "' is none.")
  )
}

parents <- function(folder) {
  above <- dirname(folder)
  if (above == folder) folder else c(folder, parents(above))
}

bridge <- function() {
  missing <- missing_python()
  if (!is.null(missing)) stop_omicvae(missing, "omicvae_python_error")
  state$bridge
}

# One call: its value; its warnings, but for what is expected, and errors as R's.
ask <- function(verb, ..., verbose = FALSE, expected = "^$") {
  if (verbose && interactive()) on.exit(message(""))  # ends the line of the epochs
  answer <- bridge()$answer(verb, if (verbose) tell, ...)
  for (text in grep(expected, unlist(answer$warnings), value = TRUE, invert = TRUE)) warning(text, call. = FALSE)
  if (is.null(answer$error)) return(answer$value)
  if (answer$kind == "KeyboardInterrupt") {
    signalCondition(structure(class = c("interrupt", "condition"), list(message = "", call = NULL)))
    invokeRestart("abort")
  }
  kind <- gsub("(?<=[a-z])(?=[A-Z])", "_", answer$kind, perl = TRUE)
  stop_omicvae(answer$error, paste0("omicvae_", tolower(kind)), answer$trace)
}

# Epochs overwrite each other on a console.
tell <- function(line) {
  epoch <- startsWith(line, "epoch ") && interactive()
  message(if (epoch) paste0("\r", strtrim(line, getOption("width") - 1)) else line, appendLF = !epoch)
}

# An error that nobody meant has Python's trace beside its message.
stop_omicvae <- function(text, class, trace = NULL) {
  condition <- list(message = text, call = NULL, trace = trace)
  stop(structure(condition, class = c(class, "omicvae_error", "error", "condition")))
}

stop_input <- function(...) stop_omicvae(paste0(...), "omicvae_data_error")
