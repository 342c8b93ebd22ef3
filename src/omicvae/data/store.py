"""The resident store: compact CSR in memory, minibatches out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from omicvae._core import Batch, DataError, FeatureMoments, SparseRows, choose
from omicvae._core.native import compiled, run
from omicvae.data.alignment import align_genes
from omicvae.data.audit import MatrixAudit, MatrixAuditor, finite_rows
from omicvae.data.compact import ESCAPE, CompactValues
from omicvae.data.covariates import numeric_column, size_factor_column
from omicvae.data.device import DeviceCells
from omicvae.data.matrix import get_matrix, iter_rows
from omicvae.data.moments import feature_moments
from omicvae.data.schema import DataSchema, obs_column

if TYPE_CHECKING:
    from anndata import AnnData

#: ``x / ℓ`` is shown per ten thousand counts, as scanpy does.
LIBRARY_SCALE = 1e4


@dataclass(frozen=True, slots=True, eq=False)
class CellStore:
    """All cells of a data set, 3 to 4 bytes for a non-zero count; made by :meth:`build`.

    Attributes
    ----------
    schema
        Genes, levels and scales.
    indptr
        Row pointers, int64 (n_cells + 1).
    columns
        Gene of each non-zero, uint16 or int32; ascending within a cell.
    values
        Values of the non-zeros in data units.
    library_N
        ℓ, the sum of a cell's values (counts) but at least 1; or its size factor s. float64.
    codes_ND
        Level codes of the categorical covariates, batch first, int64.
    continuous_NV
        Continuous covariates as given (not standardised), float64.
    audit
        Of the values, for the choice and check of a likelihood.
    """

    schema: DataSchema
    indptr: np.ndarray
    columns: np.ndarray
    values: CompactValues
    library_N: np.ndarray
    codes_ND: np.ndarray
    continuous_NV: np.ndarray
    audit: MatrixAudit
    _library_N1: np.ndarray = field(init=False, repr=False)
    _standardised_NV: np.ndarray = field(init=False, repr=False)
    _on_devices: dict[torch.device, DeviceCells | None] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        mean_V = np.array([scaling.mean for scaling in self.schema.continuous])
        sd_V = np.array([scaling.sd for scaling in self.schema.continuous])
        standardised = ((self.continuous_NV - mean_V) / sd_V).astype(np.float32)
        object.__setattr__(self, "_standardised_NV", standardised)
        object.__setattr__(self, "_library_N1", self.library_N.astype(np.float32)[:, None])

    @classmethod
    def build(
        cls,
        adata: "AnnData",
        schema: DataSchema,
        *,
        unseen: object = "error",
        missing_genes: str = "error",
        max_missing_fraction: float = 0.2,
    ) -> "CellStore":
        """Read the cells of ``adata``, training data or a query, matching genes and levels by name.

        Parameters
        ----------
        adata
            Any container, read by chunks.
        schema
            Of the model.
        unseen
            What to do with levels that the schema does not know: ``"error"``, or the known level that stands
            in for them, or a mapping from a covariate's key to its stand-in.
        missing_genes, max_missing_fraction
            See :func:`omicvae.data.align_genes`.

        Raises
        ------
        DataError
            For anything in ``adata`` that does not fit the schema; the message says what and where.
        """
        if adata.n_obs == 0:
            raise DataError("adata has no cells (0 rows).")
        genes = align_genes(
            schema.gene_names,
            adata.var_names,
            missing=missing_genes,
            max_missing_fraction=max_missing_fraction,
        )
        keys = schema.keys
        codes = [
            levels.encode(obs_column(adata, levels.key), unseen=_policy(unseen, levels.key))
            for levels in schema.categorical
        ]
        continuous = [numeric_column(key, obs_column(adata, key)) for key in keys.continuous_covariate_keys]
        indptr, columns, wide, sums, audit = _compact(adata, schema, genes)
        if keys.size_factor_key is None:
            library_N = np.maximum(sums, 1.0)
        else:
            library_N = size_factor_column(keys.size_factor_key, obs_column(adata, keys.size_factor_key))
        n_cells = int(adata.n_obs)
        return cls(
            schema,
            indptr,
            columns,
            CompactValues.of(wide, indptr),
            library_N,
            np.stack(codes, axis=1) if codes else np.zeros((n_cells, 0), dtype=np.int64),
            np.stack(continuous, axis=1) if continuous else np.zeros((n_cells, 0)),
            audit,
        )

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.library_N)

    @property
    def n_genes(self) -> int:
        """Number of genes of the model."""
        return self.schema.n_genes

    @property
    def n_nonzero(self) -> int:
        """Number of non-zero entries."""
        return len(self.values)

    @property
    def density(self) -> float:
        """Share of entries that are not zero."""
        return self.n_nonzero / max(1, self.n_cells * self.n_genes)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays in bytes."""
        cells = (self.library_N, self.codes_ND, self.continuous_NV, self._library_N1, self._standardised_NV)
        entries = (self.indptr, self.columns, *self.values.arrays)
        return sum(array.nbytes for array in (*cells, *entries))

    def with_schema(self, schema: DataSchema) -> "CellStore":
        """Return a store of the same cells, sharing memory, under another schema (other scales)."""
        return replace(self, schema=schema)

    def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return these rows one after the other: where each starts and ends, genes (int32), values (float32)."""
        starts = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(self.indptr[rows + 1] - self.indptr[rows], out=starts[1:])
        columns, values = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
        run(_gather, len(rows), self.indptr, self.columns, self.values.arrays, rows, starts, columns, values)
        return starts, columns, values

    def per_cell(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ℓ as a column, level codes and standardised covariates of all cells, as a minibatch has them."""
        return self._library_N1, self.codes_ND, self._standardised_NV

    def batch(self, indices: Tensor | np.ndarray | Sequence[int], *, device: torch.device | str = "cpu") -> Batch:
        """Return the cells ``indices``, in that order, as a minibatch on ``device``, made of their non-zeros.

        The first call for a GPU leaves all cells there for the later ones, if they fit into half of its free memory.
        """
        rows, device = _as_rows(indices), torch.device(device)
        there = None if device.type == "cpu" else self._cells_on(device)
        if there is not None:
            return there.batch(rows)
        sparse = [torch.from_numpy(array).to(device) for array in self.gather(rows)]
        cells = [torch.from_numpy(array[rows]).to(device) for array in self.per_cell()]
        return Batch(SparseRows(sparse[0], sparse[1], sparse[2], self.n_genes), cells[0], cells[1], cells[2])

    def _cells_on(self, device: torch.device) -> DeviceCells | None:
        if device not in self._on_devices:
            self._on_devices[device] = DeviceCells(self, device) if DeviceCells.fit(self, device) else None
        return self._on_devices[device]

    def moments(self, indices: Tensor | np.ndarray | Sequence[int]) -> FeatureMoments:
        """Per-gene moments of the cells ``indices``, float64; see :class:`omicvae._core.FeatureMoments`."""
        return feature_moments(self.gather, self.library_N, _as_rows(indices), self.n_genes)

    def log_normalised(
        self, indices: Tensor | np.ndarray | Sequence[int] | None = None, *, support: str = "counts"
    ) -> sp.csr_matrix | np.ndarray:
        """Return the input of a PCA that serves as reference.

        ``"counts"``: CSR of log1p(x / ℓ · 10⁴), or log1p(x / s) with size factors. ``"binary"``: CSR of the
        values. ``"real"``: dense array of the values. All float32, cells × genes.
        """
        choose("support", support, ("counts", "binary", "real"))
        rows = np.arange(self.n_cells) if indices is None else _as_rows(indices)
        indptr, columns, values = self.gather(rows)
        if support == "counts":
            scale = (LIBRARY_SCALE if self.schema.keys.size_factor_key is None else 1.0) / self.library_N[rows]
            values *= np.repeat(scale.astype(np.float32), np.diff(indptr))
            np.log1p(values, out=values)
        matrix = sp.csr_matrix((values, columns, indptr), shape=(len(rows), self.n_genes))
        return matrix.toarray() if support == "real" else matrix


@compiled
def _gather(part, parts, indptr, columns, values, rows, starts, out_columns, out_values):  # type: ignore[no-untyped-def]
    """Copy the stored rows ``rows`` one after the other, widened."""
    stored, large_positions, large_values, table_starts, tables = values
    for b in range(len(rows) * part // parts, len(rows) * (part + 1) // parts):
        source, target = slice(indptr[rows[b]], indptr[rows[b] + 1]), slice(starts[b], starts[b + 1])
        from_columns, to_columns = columns[source], out_columns[target]
        from_values, to_values = stored[source], out_values[target]
        for j in range(len(to_columns)):
            to_columns[j], to_values[j] = from_columns[j], from_values[j]
        if len(large_values):
            for j in range(len(to_columns)):
                if from_values[j] == ESCAPE:
                    place = np.searchsorted(large_positions, indptr[rows[b]] + j)
                    to_values[j] = large_values[place]
        if len(tables):
            table = tables[table_starts[rows[b]] :]
            for j in range(len(to_columns)):
                to_values[j] = table[int(from_values[j])]


def _as_rows(indices: Tensor | np.ndarray | Sequence[int]) -> np.ndarray:
    if isinstance(indices, Tensor):
        indices = indices.cpu().numpy()
    return np.ascontiguousarray(indices, dtype=np.int64)


def _policy(unseen: object, key: str) -> object:
    return unseen.get(key, "error") if isinstance(unseen, Mapping) else unseen


def _compact(
    adata: "AnnData", schema: DataSchema, genes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, MatrixAudit]:
    """Row pointers, columns, values, float64 row sums and audit, with columns in the order of the schema."""
    matrix = get_matrix(adata, schema.keys.layer)
    columns = np.empty(0, np.uint16 if schema.n_genes <= 2**16 else np.int32)
    values, lengths, sums = np.empty(0, np.uint8), [], []
    auditor = MatrixAuditor(adata.obs_names, schema.gene_names)
    chunks = (_reorder(chunk, genes) for chunk in iter_rows(matrix))
    for _, chunk in finite_rows(chunks, obs_names=adata.obs_names, var_names=schema.gene_names):
        auditor.update(chunk)
        lengths.append(np.diff(chunk.indptr))
        columns = _extended(columns, chunk.indices.astype(columns.dtype))
        values = _extended(values, _smallest(chunk.data))
        sums.append(np.asarray(chunk.sum(axis=1, dtype=np.float64)).ravel())
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)])
    return indptr, columns, values, np.concatenate(sums), auditor.result()


def _reorder(chunk: sp.csr_matrix, genes: np.ndarray) -> sp.csr_matrix:
    """Columns ``genes`` of the chunk; −1 is a column of zeros."""
    if len(genes) == chunk.shape[1] and (genes == np.arange(len(genes))).all():
        return chunk
    target = np.full(chunk.shape[1], -1, dtype=np.int64)
    target[genes[genes >= 0]] = np.flatnonzero(genes >= 0)
    moved = target[chunk.indices]
    kept = moved >= 0
    indptr = np.concatenate([[0], np.cumsum(kept)])[chunk.indptr]
    result = sp.csr_matrix((chunk.data[kept], moved[kept], indptr), shape=(chunk.shape[0], len(genes)))
    result.sort_indices()
    return result


def _smallest(values: np.ndarray) -> np.ndarray:
    """Cast to the smallest of uint8, uint16 and float32 that holds all values as float32 would."""
    if values.size and values.min() >= 0 and values.max() < 2**16:
        narrow = values.astype(np.uint8 if values.max() < 2**8 else np.uint16)
        if values.dtype.kind != "f" or (narrow == values).all():
            return narrow
    return values.astype(np.float32) if values.size else values.astype(np.uint8)


def _extended(whole: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """Append in place, without a second copy of the whole; in the wider type of the two: uint8, uint16 or float32."""
    if piece.dtype.itemsize > whole.dtype.itemsize:
        whole = whole.astype(piece.dtype)  # float32 holds every uint16 exactly
    whole.resize(len(whole) + len(piece), refcheck=False)
    whole[len(whole) - len(piece) :] = piece
    return whole
