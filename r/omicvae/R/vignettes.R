# The output format of the vignettes: BiocStyle where it is installed.
vignette_style <- function(...) {
  if (requireNamespace("BiocStyle", quietly = TRUE)) BiocStyle::html_document(...) else rmarkdown::html_vignette(...)
}
