"""R's vectors, matrices and data frames as raw bytes, and back: exact, with NA, in every version of reticulate.

A genes × cells matrix of R in column order has the bytes of a cells × genes matrix in row order, and the slots ``i``,
``p``, ``x`` of a genes × cells ``dgCMatrix`` are the cells × genes CSR: nothing is transposed on either side.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from omicvae._core import SettingError
from omicvae.data.covariates import R_INTEGER_NA

#: number types of R
NUMBERS: Mapping[str, type] = {"double": np.float64, "integer": np.int32}
#: bytes that a raw vector of R holds
LARGEST = 2**31 - 1


class Cells:
    """Cells of R, put together from blocks of columns of a genes × cells matrix.

    Parameters
    ----------
    genes, cells
        Their names.
    """

    def __init__(self, genes: Sequence[str] | str, cells: Sequence[str] | str) -> None:
        self.genes, self.cells = _many(genes), _many(cells)
        self._columns: dict[str, Any] = {}
        self._sparse: list[list[NDArray[Any]]] = [[], [], []]  # values, genes, entries in each cell
        self._dense: NDArray[Any] | None = None
        self._filled = 0

    def add_sparse(self, values: bytearray, genes: bytearray, ends: bytearray) -> None:
        """Take the slots ``x`` (double), ``i`` and ``p`` of a block of columns."""
        given_M = _numbers(values)
        with np.errstate(over="ignore"):
            short_M = given_M.astype(np.float32)
        # counts and other short numbers need half of the memory
        exact = np.array_equal(short_M, given_M, equal_nan=True)
        parts = (short_M if exact else given_M, _numbers(genes, "integer"), np.diff(_numbers(ends, "integer")))
        for blocks, part in zip(self._sparse, parts, strict=True):
            blocks.append(part)

    def add_dense(self, values: bytearray, kind: str) -> None:
        """Take a block of columns of an ordinary matrix."""
        block_BG = _numbers(values, kind).reshape(-1, len(self.genes))
        if self._dense is None:
            self._dense = np.empty((len(self.cells), len(self.genes)), block_BG.dtype)
        elif self._dense.dtype != block_BG.dtype:
            self._dense = self._dense.astype(np.float64)
        self._dense[self._filled : self._filled + len(block_BG)] = block_BG
        self._filled += len(block_BG)

    def add_column(self, name: str, column: Mapping[str, Any]) -> None:
        """Take a column that describes the cells."""
        self._columns[name] = column_of(column)

    def anndata(self) -> AnnData:
        """Return all of it; the blocks are let go."""
        if self._dense is not None:
            matrix: Any = self._dense
        else:
            values_M, genes_M, entries_N = (_joined(blocks) for blocks in self._sparse)
            ends_N = np.concatenate([[0], np.cumsum(entries_N, dtype=np.int64)])
            if len(values_M) <= LARGEST:
                ends_N = ends_N.astype(np.int32)
            shape = (len(self.cells), len(self.genes))
            matrix = sp.csr_matrix((values_M, genes_M, ends_N), shape=shape)
        index = pd.Index(self.cells, dtype=object)
        obs = pd.DataFrame(self._columns, index=index)
        return AnnData(matrix, obs=obs, var=pd.DataFrame(index=pd.Index(self.genes, dtype=object)))


def column_of(column: Mapping[str, Any]) -> Any:
    """Return a column of R: numbers, logicals, or text, of which R sends codes and ``levels``."""
    kind = column["kind"]
    values_N = _numbers(column["data"], "double" if kind == "double" else "integer")
    if kind == "text":  # a code below 0 is missing
        return pd.Categorical.from_codes(values_N, pd.Index(_many(column["levels"]), dtype=object))
    return values_N.astype(bool) if kind == "logical" else values_N


def table(frame: pd.DataFrame) -> dict[str, Any]:
    """Return a data frame for R: number of rows, row names where they are text, and columns."""
    named = not pd.api.types.is_numeric_dtype(frame.index.dtype)
    names = [str(name) for name in frame.index] if named else None
    columns = {str(name): _column(column) for name, column in frame.items()}
    return {"n": len(frame), "row_names": names, "columns": columns}


def dense(values_RC: NDArray[Any]) -> dict[str, Any]:
    """Return an array for R, float32 or float64, with the rows and columns that it shall have there.

    Raises
    ------
    SettingError
        If it is larger than a raw vector of R.
    """
    if values_RC.dtype != np.float32:
        values_RC = values_RC.astype(np.float64, copy=False)
    if values_RC.nbytes > LARGEST:
        raise SettingError(
            f"The result has {values_RC.shape[0]} × {values_RC.shape[1]} values, {values_RC.nbytes / 2**30:.1f} GiB, "
            "and R takes 2 GiB at once. Ask for some cells or genes at a time."
        )
    return {
        "dim": list(values_RC.shape),
        "size": values_RC.itemsize,
        "data": bytearray(np.ascontiguousarray(values_RC.T)),
    }


def genes_by_cells(matrix_NG: Any) -> dict[str, Any]:
    """Return a cells × genes matrix as R's genes × cells one, sparse as it is."""
    if not hasattr(matrix_NG, "tocsr"):
        return dense(np.asarray(matrix_NG).T)
    csr_NG = matrix_NG.tocsr()
    csr_NG.sort_indices()
    return {
        "dim": list(csr_NG.shape[::-1]),
        "values": bytearray(csr_NG.data.astype(np.float64)),
        "genes": bytearray(csr_NG.indices.astype(np.int32)),
        "ends": bytearray(csr_NG.indptr.astype(np.int32)),
    }


def _column(column: pd.Series) -> dict[str, Any]:
    dtype, missing_N = column.dtype, column.isna()
    if all(isinstance(value, bool | np.bool_) for value in column[~missing_N]):
        flags = [R_INTEGER_NA if missing else int(value) for value, missing in zip(column, missing_N, strict=True)]
        return {"kind": "logical", "data": bytearray(np.array(flags, np.int32))}
    if pd.api.types.is_integer_dtype(dtype) and column.abs().max() < LARGEST:
        return {"kind": "integer", "data": bytearray(column.to_numpy(np.int32))}
    if pd.api.types.is_numeric_dtype(dtype):
        return {"kind": "double", "data": bytearray(column.to_numpy(np.float64))}
    factor = isinstance(dtype, pd.CategoricalDtype)
    text = column if factor else column.astype("category")
    codes_N = text.cat.codes.to_numpy().astype(np.int32)
    levels = [str(level) for level in text.cat.categories]
    return {"kind": "factor" if factor else "text", "data": bytearray(codes_N), "levels": levels}


def _numbers(data: bytearray, kind: str = "double") -> NDArray[Any]:
    return np.frombuffer(data, dtype=NUMBERS[kind])


def _joined(blocks: list[NDArray[Any]]) -> NDArray[Any]:
    """Put blocks together and let them go."""
    whole = np.concatenate(blocks)
    blocks.clear()
    return whole


def _many(names: Sequence[str] | str) -> list[str]:
    """Return a list: a vector of R that has one element arrives as that."""
    return [names] if isinstance(names, str) else list(names)
