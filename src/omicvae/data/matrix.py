"""Any container of an expression matrix, read as CSR chunks of rows."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from omicvae._core import DataError

if TYPE_CHECKING:
    from anndata import AnnData

#: Entries (zeros included) of one chunk: 32 MB if a chunk were float64 and dense.
_CHUNK_ENTRIES = 4_000_000


def get_matrix(adata: "AnnData", layer: str | None) -> Any:
    """Return ``adata.layers[layer]``, or ``adata.X`` for None, in the container it has.

    Raises
    ------
    DataError
        If the layer does not exist or X is empty; the message lists the layers that exist.
    """
    layers = ", ".join(repr(name) for name in adata.layers if name is not None) or "none"
    if layer is not None and layer not in adata.layers:
        raise DataError(f"adata.layers has no {layer!r}. Layers that exist: {layers}; layer=None means adata.X.")
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        raise DataError(
            f"adata.X is empty (None). Call CVAE.setup_anndata(adata, layer=...) with one of the layers "
            f"that exist: {layers}."
        )
    return matrix


def chunk_rows(n_columns: int) -> int:
    """Rows of a chunk such that temporary arrays stay small whatever the number of columns."""
    return max(1, _CHUNK_ENTRIES // max(1, n_columns))


def iter_rows(matrix: Any, rows: int | None = None) -> Iterator[sp.csr_matrix]:
    """Yield consecutive rows as CSR chunks: sorted, without duplicates or stored zeros, in a plain dtype.

    Takes scipy sparse matrices and arrays, dense arrays of any order, ``numpy.matrix``, views, and matrices
    on disk (anndata's backed sparse classes, ``h5py.Dataset``). Neither a dense nor a float64 copy of the
    whole is made, and the caller's object is never changed; a chunk may share its memory, so treat chunks as
    read-only.

    Parameters
    ----------
    matrix
        Cells × genes.
    rows
        Rows of a chunk; None chooses by the number of columns.

    Raises
    ------
    DataError
        If the entries are no real numbers.
    """
    _require_numbers(matrix)
    from anndata.abc import CSCDataset

    if isinstance(matrix, CSCDataset):
        matrix = matrix.to_memory()
    sparse = sp.issparse(matrix)
    if sparse and matrix.format != "csr":
        matrix = matrix.tocsr()  # rows of a CSC cannot be read without sorting it once
    rows = chunk_rows(matrix.shape[1]) if rows is None else rows
    read = _slice_csr if sparse else _read_block
    for start in range(0, matrix.shape[0], rows):
        yield _canonical(read(matrix, start, min(start + rows, matrix.shape[0])))


def _require_numbers(matrix: Any) -> None:
    dtype = getattr(matrix, "dtype", None)
    if dtype is None or len(getattr(matrix, "shape", ())) != 2:
        raise DataError(
            f"The data matrix is a {type(matrix).__name__}; use a 2-D numpy array or a scipy sparse matrix."
        )
    if np.dtype(dtype).kind not in "biuf":
        raise DataError(
            f"The data matrix has dtype {dtype}, which is not numeric. Convert it, e.g. X.astype('float32')."
        )


def _slice_csr(matrix: Any, start: int, stop: int) -> sp.csr_matrix:
    """Rows ``start:stop`` without copying their entries."""
    first, last = int(matrix.indptr[start]), int(matrix.indptr[stop])
    pointers = matrix.indptr[start : stop + 1] - first
    parts = (_plain(matrix.data[first:last]), matrix.indices[first:last], pointers)
    return sp.csr_matrix(parts, shape=(stop - start, matrix.shape[1]), copy=False)


def _read_block(matrix: Any, start: int, stop: int) -> sp.csr_matrix:
    block: Any = matrix[start:stop]
    sparse = sp.issparse(block)
    if sparse:
        return _slice_csr(block.tocsr(), 0, stop - start)
    return sp.csr_matrix(_plain(np.asarray(block)))


def _plain(values: np.ndarray) -> np.ndarray:
    """Cast what scipy and torch cannot hold: bool, float16, long double, foreign byte order."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    target = np.dtype(np.uint8) if kind == "b" else values.dtype.newbyteorder("=")
    if kind == "f":
        target = np.dtype(np.float64 if size > 4 else np.float32)
    return values.astype(target, copy=False)


def _canonical(chunk: sp.csr_matrix) -> sp.csr_matrix:
    if not chunk.has_canonical_format:
        if chunk.data.dtype.kind != "f":
            chunk = chunk.astype(np.int64)  # summed duplicates must not wrap around
        chunk = chunk.copy()
        chunk.sum_duplicates()
    if chunk.nnz and not chunk.data.all():
        chunk = chunk.copy()
        chunk.eliminate_zeros()
    return chunk
