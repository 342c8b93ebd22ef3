"""Any container of an expression matrix, read as CSR chunks of rows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from omicvae._core import DataError
from omicvae._core.arrays import WHAT_MASKED_ENTRIES_ARE

if TYPE_CHECKING:
    from anndata import AnnData

#: Entries (zeros included) of one chunk: 32 MB if a chunk were float64 and dense.
CHUNK_ENTRIES = 4_000_000
#: whose values say all; masks have been looked at by :func:`get_matrix`
PLAIN_ARRAYS = (np.ndarray, np.matrix, np.memmap, np.ma.MaskedArray)
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def get_matrix(adata: "AnnData", layer: str | None) -> Any:
    """Return ``adata.layers[layer]``, or ``adata.X`` for None, in its container.

    Raises
    ------
    DataError
        Where there is none, with the layers; where entries are masked, with their number.
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
    _refuse_masked(adata, layer)
    return matrix


def _refuse_masked(adata: "AnnData", layer: str | None) -> None:
    """Refuse missing entries. anndata's views drop the mask, so that what they are views of is asked."""
    whole = adata._adata_ref if adata.is_view else adata
    matrix = whole.X if layer is None else whole.layers[layer]
    if not np.ma.is_masked(matrix):
        return
    mask = np.ma.getmaskarray(matrix)
    if adata.is_view:
        mask = mask[adata._oidx][:, adata._vidx]
    if count := int(mask.sum()):
        row, column = (int(where[0]) for where in mask.nonzero())
        raise DataError(
            f"The data matrix is a masked array with {count} masked entries; the first is in cell "
            f"{adata.obs_names[row]!r}, gene {adata.var_names[column]!r}. {WHAT_MASKED_ENTRIES_ARE}"
        )


def chunk_rows(n_columns: int) -> int:
    """Rows of a chunk such that temporary arrays stay small whatever the number of columns."""
    return max(1, CHUNK_ENTRIES // max(1, n_columns))


def iter_rows(matrix: Any) -> Iterator[sp.csr_matrix]:
    """Yield consecutive rows as CSR chunks: sorted, without duplicates or stored zeros, in a plain dtype.

    Takes scipy sparse matrices and arrays, dense arrays of any order, ``numpy.matrix``, views, and matrices
    on disk (anndata's backed sparse classes, ``h5py.Dataset``), cells × genes. Neither a dense nor a float64 copy
    of the whole is made, and the caller's object is never changed; a chunk may share its memory, so treat chunks as
    read-only.

    Raises
    ------
    DataError
        If the entries are no real numbers, or the container says more of them than their values (units, say).
    """
    kind = type(matrix)
    if isinstance(matrix, np.ndarray) and kind not in PLAIN_ARRAYS and not kind.__module__.startswith("anndata."):
        raise DataError(
            f"The data matrix is a {kind.__module__}.{kind.__name__}, and what it says beside its values would be "
            "lost. Pass the values themselves if they are what is to be modelled: numpy.array(X, subok=False)."
        )
    dtype = getattr(matrix, "dtype", None)
    if dtype is None or len(getattr(matrix, "shape", ())) != 2:
        raise DataError(
            f"The data matrix is a {type(matrix).__name__}; use a 2-D numpy array or a scipy sparse matrix."
        )
    if np.dtype(dtype).kind not in "biuf":
        raise DataError(
            f"The data matrix has dtype {dtype}, which is not numeric. Convert it, e.g. X.astype('float32')."
        )
    from anndata.abc import CSCDataset

    if isinstance(matrix, CSCDataset):
        matrix = matrix.to_memory()
    sparse = sp.issparse(matrix)
    if sparse:
        matrix = matrix.tocsr()  # rows of a CSC cannot be read without sorting it once
    rows = chunk_rows(matrix.shape[1])
    for start in range(0, matrix.shape[0], rows):
        yield _canonical(_read(matrix, start, min(start + rows, matrix.shape[0])))


def _read(matrix: Any, start: int, stop: int) -> sp.csr_matrix:
    """Rows ``start:stop``, of a CSR matrix in memory without copying their entries."""
    if not sp.issparse(matrix):
        matrix, start, stop = matrix[start:stop], 0, stop - start
        sparse = sp.issparse(matrix)
        if not sparse:
            return sp.csr_matrix(_plain(np.asarray(matrix)))
        matrix = matrix.tocsr()
    first, last = int(matrix.indptr[start]), int(matrix.indptr[stop])
    pointers = matrix.indptr[start : stop + 1] - first
    parts = (_plain(matrix.data[first:last]), matrix.indices[first:last], pointers)
    return sp.csr_matrix(parts, shape=(stop - start, matrix.shape[1]), copy=False)


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


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the matrix, to show in a message."""

    value: float
    cell: str
    gene: str

    @classmethod
    def at(
        cls, chunk: sp.csr_matrix, position: int, start: int, obs_names: Sequence[str], var_names: Sequence[str]
    ) -> "Entry":
        """Find the non-zero number ``position`` of a chunk whose first row is ``start``."""
        row = start + int(np.searchsorted(chunk.indptr, position, side="right")) - 1
        return cls(float(chunk.data[position]), str(obs_names[row]), str(var_names[int(chunk.indices[position])]))

    def __str__(self) -> str:
        return f"{self.value:g} (cell {self.cell!r}, gene {self.gene!r})"


def finite_rows(
    chunks: Iterable[sp.csr_matrix], *, obs_names: Sequence[str], var_names: Sequence[str]
) -> Iterator[sp.csr_matrix]:
    """Yield the chunks; one that float32 cannot hold is never yielded.

    Raises
    ------
    DataError
        At the first NaN, infinite or too large entry, with its cell and gene and the number of such entries.
    """
    remaining, start = iter(chunks), 0
    for chunk in remaining:
        bad = _not_finite(chunk)
        if bad.any():
            first = Entry.at(chunk, int(bad.argmax()), start, obs_names, var_names)
            count = int(bad.sum()) + sum(int(_not_finite(rest).sum()) for rest in remaining)
            raise DataError(
                f"Entries of the data matrix that are NaN, infinite or beyond float32 (±{_FLOAT32_MAX:.1e}): "
                f"{count}; the first is {first}. Remove or replace them first."
            )
        yield chunk
        start += chunk.shape[0]


def count_sources(adata: "AnnData", layer: str | None) -> list[str]:
    """Say how to come to counts that ``adata`` has elsewhere than in ``layer``, by the first rows of each matrix."""
    others = {name: adata.layers[name] for name in adata.layers if name is not None} | {None: adata.X}
    ways = [
        f"CVAE.setup_anndata(adata, layer={name!r})"
        for name, matrix in others.items()
        if name != layer and _holds_counts(matrix)
    ]
    return ways + (["adata.raw.to_adata()"] if adata.raw is not None and _holds_counts(adata.raw.X) else [])


def _holds_counts(matrix: Any) -> bool:
    try:
        values = next(iter_rows(matrix)).data
    except (DataError, StopIteration):
        return False
    return bool(len(values) and values.min() > 0 and 1 < values.max() < 2**24 and (values == np.rint(values)).all())


def _not_finite(chunk: sp.csr_matrix) -> np.ndarray:
    if chunk.data.dtype.kind != "f":
        return np.zeros(chunk.nnz, dtype=bool)
    held: np.ndarray = np.abs(chunk.data) <= _FLOAT32_MAX  # NaN compares as false
    return ~held
