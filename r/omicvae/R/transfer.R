# Matrices, columns and tables to Python as raw bytes, and back.

# Entries of a block of columns: what is sent at once, and what is copied beyond the matrix itself. At most 32 blocks.
block_entries <- function(entries) max(2^18, entries / 32)

# Cells in Python, sent block by block. The bytes of a genes x cells matrix are those of a cells x genes one in row
# order, and the slots of a dgCMatrix are the CSR: nothing is transposed and nothing made dense.
send_cells <- function(source, columns = list()) {
  cells <- bridge()$Cells(enc2utf8(source$genes), enc2utf8(source$cells))
  for (name in names(columns)) cells$add_column(name, encode_column(columns[[name]]))
  x <- source$matrix
  if (methods::is(x, "sparseMatrix") && !methods::is(x, "dgCMatrix")) x <- as_dgc(x)
  if (methods::is(x, "dgCMatrix")) send_sparse(cells, x) else send_blocks(cells, x)
  cells
}

as_dgc <- function(x) {
  for (class in c("generalMatrix", "CsparseMatrix", "dMatrix")) x <- methods::as(x, class)
  x
}

send_sparse <- function(cells, x) {
  n <- ncol(x)
  most <- block_entries(length(x@x))
  start <- 0
  while (start < n) {
    ends <- x@p[(start + 1):(n + 1)]
    size <- max(1, sum(ends - ends[[1]] <= most) - 1)
    ends <- ends[seq_len(size + 1)]
    entries <- seq.int(ends[[1]] + 1, length.out = ends[[size + 1]] - ends[[1]])
    cells$add_sparse(to_bytes(x@x[entries]), to_bytes(x@i[entries]), to_bytes(ends - ends[[1]]))
    start <- start + size
    tidy()
  }
}

# What a block left behind; R by itself would let several matrices of it gather.
tidy <- function() invisible(gc(full = FALSE))

# Ordinary matrices, and those that are read when they are needed.
send_blocks <- function(cells, x) {
  delayed <- !is.matrix(x) && !methods::is(x, "Matrix")
  sparse <- delayed && is_sparse(x)
  size <- max(1, floor(block_entries(prod(dim(x))) / nrow(x)))
  for (start in seq(1, ncol(x), by = size)) {
    block <- x[, start:min(start + size - 1, ncol(x)), drop = FALSE]
    if (sparse) {
      send_sparse(cells, methods::as(block, "dgCMatrix"))
    } else {
      block <- as.matrix(block)
      if (!is.double(block)) storage.mode(block) <- if (anyNA(block)) "double" else "integer"
      cells$add_dense(to_bytes(block), typeof(block))
      tidy()
    }
  }
}

# Of those on disk, what becomes a dgCMatrix block by block: sparse delayed ones, and all of BPCells.
is_sparse <- function(x) {
  methods::is(x, "IterableMatrix") || (methods::is(x, "DelayedArray") && DelayedArray::is_sparse(x))
}

to_bytes <- function(x) writeBin(as.vector(x), raw())

# Numbers and logicals as they are, text as codes of its levels.
encode_column <- function(v) {
  if (is.logical(v) && !anyNA(v)) return(list(kind = "logical", data = to_bytes(as.integer(v))))
  if (is.numeric(v)) {
    whole <- !anyNA(v) && all(v == round(v)) && all(abs(v) < .Machine$integer.max)
    v <- if (whole) as.integer(v) else as.double(v)
    return(list(kind = typeof(v), data = to_bytes(v)))
  }
  v <- droplevels(as.factor(v))
  codes <- as.integer(v) - 1L
  codes[is.na(codes)] <- -1L
  list(kind = "text", data = to_bytes(codes), levels = enc2utf8(levels(v)))
}

from_table <- function(table) {
  columns <- lapply(table$columns, from_column)
  rows <- if (is.null(table$row_names)) seq_len(table$n) else make.unique(as.character(table$row_names))
  structure(columns, names = as.character(names(columns)), row.names = rows, class = "data.frame")
}

from_column <- function(column) {
  if (column$kind == "double") return(readBin(column$data, "double", length(column$data) / 8))
  codes <- readBin(column$data, "integer", length(column$data) / 4)
  switch(column$kind,
    integer = codes,
    logical = as.logical(codes),
    text = as.character(column$levels)[ifelse(codes < 0, NA, codes + 1L)],
    factor = structure(ifelse(codes < 0, NA, codes + 1L), levels = as.character(column$levels), class = "factor")
  )
}

from_matrix <- function(array, rows = NULL, columns = NULL) {
  dim <- as.integer(array$dim)
  names <- list(unlist(rows), unlist(columns))
  if (is.null(array$values)) {
    return(matrix(readBin(array$data, "double", prod(dim), size = array$size), dim[[1]], dim[[2]], dimnames = names))
  }
  entries <- length(array$values) / 8
  methods::new("dgCMatrix",
    x = readBin(array$values, "double", entries), i = readBin(array$genes, "integer", entries),
    p = readBin(array$ends, "integer", dim[[2]] + 1), Dim = dim, Dimnames = names
  )
}
