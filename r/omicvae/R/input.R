# What is read from an R object: a genes x cells matrix, names, and what describes the cells.

#' Read cells from an object
#'
#' How [cvae()] sees an object: methods for further classes make it take them.
#'
#' @param x An object with cells or samples.
#' @param assay,layer Which values; `NULL` for the usual ones of the class.
#' @param col_data A data frame with a row for each cell, for objects that have none.
#' @param ... Not used.
#' @return A list with `matrix` (genes x cells), `genes` and `cells` (names), and `col_data` (NULL, or anything from
#'   which `[[` takes columns).
#' @examples
#' str(cells_of(matrix(rpois(12, 2), 3)))
#' @export
cells_of <- function(x, assay = NULL, layer = NULL, col_data = NULL, ...) UseMethod("cells_of")

#' @export
cells_of.default <- function(x, assay = NULL, layer = NULL, col_data = NULL, ...) {
  if (!is.null(assay) || !is.null(layer)) {
    stop_input("assay and layer belong to SummarizedExperiment and Seurat objects; x is ", a_class(x), ".")
  }
  make_source(as_matrix(x), col_data)
}

#' @export
cells_of.SummarizedExperiment <- function(x, assay = NULL, layer = NULL, col_data = NULL, ...) {
  needs("SummarizedExperiment")
  refuse_col_data(col_data, "colData(x)")
  if (!is.null(layer)) stop_input("A SummarizedExperiment has assays: pass assay = \"", layer, "\".")
  names <- SummarizedExperiment::assayNames(x)
  if (length(SummarizedExperiment::assays(x)) == 0) stop_input("x has no assays.")
  if (is.null(assay)) assay <- if ("counts" %in% names) "counts" else 1
  if (!(length(assay) == 1 && assay %in% c(names, seq_along(SummarizedExperiment::assays(x))))) {
    stop_input("x has no assay ", quoted(assay), ". Its assays: ", listed(names), ".")
  }
  make_source(as_matrix(SummarizedExperiment::assay(x, assay)), SummarizedExperiment::colData(x), own = TRUE)
}

#' @export
cells_of.Seurat <- function(x, assay = NULL, layer = NULL, col_data = NULL, ...) {
  needs("SeuratObject")
  refuse_col_data(col_data, "x[[]]")
  if (is.null(assay)) assay <- SeuratObject::DefaultAssay(x)
  known <- SeuratObject::Assays(x)
  if (!assay %in% known) stop_input("x has no assay ", quoted(assay), ". Its assays: ", listed(known), ".")
  matrix <- seurat_layer(x[[assay]], if (is.null(layer)) "counts" else layer)
  cells <- colnames(matrix)
  make_source(as_matrix(matrix), x[[]][cells, , drop = FALSE], own = TRUE)
}

refuse_col_data <- function(col_data, own) {
  if (!is.null(col_data)) stop_input("col_data is for plain matrices; x has ", own, ": put the columns there.")
}

needs <- function(package) {
  if (!requireNamespace(package, quietly = TRUE)) stop_input("This object needs the R package ", package, ".")
}

make_source <- function(matrix, col_data = NULL, own = FALSE) {
  if (nrow(matrix) == 0 || ncol(matrix) == 0) {
    stop_input("x is empty: it has ", nrow(matrix), " genes (rows) and ", ncol(matrix), " cells (columns).")
  }
  source <- list(matrix = matrix, genes = gene_names(matrix), cells = cell_names(matrix), col_data = col_data)
  check_barcodes(source)
  if (!own && !is.null(col_data)) source$col_data <- aligned(col_data, source)
  source
}

# Numbers in two dimensions; what else there is gets an error that names the way.
as_matrix <- function(x) {
  if (is.data.frame(x)) {
    other <- names(x)[!vapply(x, function(v) is.numeric(v) || is.logical(v), NA)]
    if (length(other)) {
      stop_input(
        "x is a data frame whose column", plural(other), " ", listed(other), " hold no numbers. ",
        "Genes are rows and cells columns: make gene names row names, and drop what is no cell."
      )
    }
    x <- as.matrix(x)
  }
  if (inherits(x, "integer64")) {
    needs("bit64")
    x <- structure(bit64::as.double.integer64(x), dim = dim(x), dimnames = dimnames(x))
  }
  if (length(dim(x)) != 2) {
    stop_input("x must be a genes x cells matrix, a SummarizedExperiment or a Seurat object, got ", a_class(x), ".")
  }
  if (is.matrix(x) && !is.numeric(x) && !is.logical(x)) {
    stop_input("x must hold numbers, got a matrix of type ", typeof(x), ". See storage.mode(x).")
  }
  x
}

gene_names <- function(x) {
  names <- rownames(x)
  if (is.null(names)) return(paste0("gene_", seq_len(nrow(x))))
  bad <- is.na(names) | !nzchar(names)
  if (any(bad)) stop_input(sum(bad), " gene", plural(which(bad)), " without a name in rownames(x).")
  twice <- unique(names[duplicated(names)])
  if (length(twice)) {
    stop_input(
      "rownames(x) has duplicates: ", listed(twice), ". Genes are matched by name: ",
      "rownames(x) <- make.unique(rownames(x))."
    )
  }
  names
}

cell_names <- function(x) if (is.null(colnames(x))) paste0("cell_", seq_len(ncol(x))) else colnames(x)

# Cell barcodes among the genes are the one sign of a transposed matrix that the matrix itself gives.
check_barcodes <- function(source) {
  share <- function(names) mean(grepl("^([A-Za-z0-9.]+[_-])?[ACGT]{12,}([-_.].*)?$", utils::head(names, 1000)))
  if (share(source$genes) > 0.5 && share(source$cells) < 0.5) {
    stop_input("rownames(x) look like cell barcodes, and cells are columns here: pass t(x).")
  }
}

# A data frame of the user's, in the order of the cells.
aligned <- function(col_data, source) {
  if (is.null(dim(col_data))) stop_input("col_data must be a data frame with a row for each cell.")
  n <- length(source$cells)
  if (nrow(col_data) != n) stop_input(wrong_length("col_data has", nrow(col_data), "rows", source))
  names <- rownames(col_data)
  automatic <- is.data.frame(col_data) && is.integer(attr(col_data, "row.names"))
  if (automatic || is.null(names) || is.null(colnames(source$matrix)) || identical(names, source$cells)) {
    return(col_data)
  }
  order <- match(source$cells, names)
  if (anyNA(order) || anyDuplicated(source$cells)) {
    if (setequal(names, source$genes)) stop_input("col_data describes the rows of x, and cells are columns: pass t(x).")
    other <- source$cells[is.na(order)]
    stop_input(
      "rownames(col_data) are not the cells of x: no row for ", listed(other), ". Row names that mean nothing go by ",
      "rownames(col_data) <- NULL."
    )
  }
  col_data[order, , drop = FALSE]
}

wrong_length <- function(what, length, unit, source) {
  text <- paste0(what, " ", length, " ", unit, " and x ", length(source$cells), " cells (columns).")
  if (length == length(source$genes)) text <- paste(text, "x seems to be cells x genes: pass t(x).")
  text
}

# A column by its name, or a vector with a value for each cell. Returns a named list of one column.
one_column <- function(value, role, source) {
  if (is.null(value)) return(list())
  if (is_name(value, source)) return(stats::setNames(list(named_column(value, role, source)), value))
  stats::setNames(list(checked_column(value, role, source)), role)
}

# Several: names of columns, a data frame or list of columns, or one vector.
many_columns <- function(value, role, source) {
  if (is.null(value)) return(list())
  if (is.list(value)) {
    if (is.null(names(value)) || any(names(value) == "")) stop_input(role, " must have names.")
    return(Map(function(v, name) checked_column(v, name, source), as.list(value), names(value)))
  }
  if (is.character(value) && (is_name(value, source) || all(value %in% names(source$col_data)))) {
    return(stats::setNames(lapply(value, named_column, role, source), value))
  }
  one_column(value, role, source)
}

is_name <- function(value, source) {
  is.character(value) && length(value) == 1 && (length(source$cells) != 1 || value %in% names(source$col_data))
}

named_column <- function(name, role, source) {
  known <- names(source$col_data)
  if (!name %in% known) {
    close <- agrep(name, known, value = TRUE, ignore.case = TRUE)
    stop_input(
      role, " = \"", name, "\": there is no such column. ",
      if (length(close)) paste0("Did you mean ", paste(quoted(close), collapse = " or "), "? "),
      if (length(known)) paste0("Columns: ", listed(known, 20), ".") else
        paste0("A matrix has no columns of its cells: pass a vector, or col_data = data.frame(", name, " = ...).")
    )
  }
  checked_column(source$col_data[[name]], name, source)
}

checked_column <- function(v, name, source) {
  if (inherits(v, "integer64")) {
    needs("bit64")
    v <- bit64::as.double.integer64(v)
  }
  if (inherits(v, "Rle")) v <- as.vector(v)
  if (inherits(v, c("POSIXt"))) v <- as.POSIXct(v)
  if (!is.null(dim(v)) || !(is.atomic(v) || is.factor(v))) {
    stop_input(name, " must be a vector or factor with a value for each cell, got ", a_class(v), ".")
  }
  if (length(v) != length(source$cells)) stop_input(wrong_length(paste(name, "has"), length(v), "values", source))
  v
}

# What a role allows: no gaps but in labels, numbers where numbers are wanted, dates as text or days.
prepare <- function(columns, role, source) {
  Map(function(v, name) {
    gaps <- which(is.na(v))
    if (length(gaps) && role != "labels") {
      stop_input(
        name, " is NA in ", length(gaps), " cell", plural(gaps), ": ", listed(source$cells[gaps]), ". Leave ",
        if (length(gaps) == 1) "it" else "them", " out, ",
        if (role %in% c("continuous", "size_factor")) "or fill in values." else
          "or make the gap a level of its own: as.character(), then v[is.na(v)] <- \"missing\"."
      )
    }
    if (role %in% c("continuous", "size_factor")) {
      if (inherits(v, c("Date", "POSIXct"))) v <- as.numeric(v)
      if (!is.numeric(v) && !is.logical(v)) {
        stop_input(role, ": ", name, " holds no numbers (", a_class(v), "). Pass it as one of covariates.")
      }
      return(as.double(v))
    }
    if (inherits(v, c("Date", "POSIXct")) || is.complex(v) || (is.numeric(v) && anyNA(v))) v <- as.character(v)
    v
  }, columns, names(columns))
}

# Rows of cells from numbers, names or logicals; 0-based, for Python.
row_numbers <- function(chosen, cells) {
  if (is.null(chosen)) return(NULL)
  n <- length(cells)
  if (is.logical(chosen) && length(chosen) != n) {
    stop_input("A logical vector chooses cells with one value for each of ", n, "; it has ", length(chosen), ".")
  }
  rows <- if (is.character(chosen)) match(chosen, cells) else if (is.logical(chosen)) which(chosen) else chosen
  if (is.character(chosen) && anyNA(rows)) stop_input("There are no cells ", listed(chosen[is.na(rows)]), ".")
  if (!is.numeric(rows) || anyNA(rows) || any(rows != round(rows) | rows < 1 | rows > n)) {
    stop_input("Cells are chosen by numbers from 1 to ", n, ", by names, or by a logical vector.")
  }
  if (length(rows) == 0) stop_input("No cell is chosen.")
  as.list(as.integer(rows) - 1L)
}

# For methods of generics, whose `...` would swallow what is misspelt.
no_more <- function(verb, ...) {
  if (...length()) stop_input(verb, "() has no argument ", listed(...names() %||% "without a name"), ".")
}

quoted <- function(x) paste0("\"", x, "\"")
listed <- function(x, shown = 5) {
  paste0(paste(quoted(utils::head(x, shown)), collapse = ", "), if (length(x) > shown) ", ...")
}
plural <- function(x) if (length(x) == 1) "" else "s"
a_class <- function(x) paste("an object of class", class(x)[[1]])
