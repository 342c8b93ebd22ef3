"""The resident store: compact CSR in memory, minibatches out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from omicvae._core import (
    WITHOUT_DATA,
    Batch,
    DataError,
    FeatureMoments,
    LatentPosterior,
    NotSupportedError,
    SparseRows,
    choose,
)
from omicvae.data.alignment import align_genes
from omicvae.data.compact import CompactValues
from omicvae.data.covariates import numeric_column, obs_column, size_factor_column
from omicvae.data.device import DeviceCells, has_room
from omicvae.data.matrix import finite_rows, get_matrix, iter_rows
from omicvae.data.moments import feature_moments
from omicvae.data.schema import DataSchema
from omicvae.data.summary import SUPPORTS, MatrixSummary, Summariser

if TYPE_CHECKING:
    from anndata import AnnData

#: ``x / ℓ`` is shown per ten thousand counts, as scanpy does.
_LIBRARY_SCALE = 1e4


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
    summary
        Of the values, for the choice and check of a likelihood.
    posterior
        Mean and log variance of q(z | x, c), float32 (N, K), of minified cells: they have no values. None of others.
    per_cell
        ℓ as a column (float32), level codes and standardised covariates (float32), as a minibatch has them.
    """

    schema: DataSchema
    indptr: np.ndarray
    columns: np.ndarray
    values: CompactValues
    library_N: np.ndarray
    codes_ND: np.ndarray
    continuous_NV: np.ndarray
    summary: MatrixSummary
    posterior: tuple[np.ndarray, np.ndarray] | None = None
    per_cell: tuple[np.ndarray, np.ndarray, np.ndarray] = field(init=False, repr=False)
    _on_devices: dict[torch.device, DeviceCells | None] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        standardised_NV = np.zeros(self.continuous_NV.shape, np.float32)
        for v, scaling in enumerate(self.schema.continuous):
            standardised_NV[:, v] = scaling.standardise(self.continuous_NV[:, v])
        library_N1 = self.library_N.astype(np.float32)[:, None]
        object.__setattr__(self, "per_cell", (library_N1, self.codes_ND, standardised_NV))

    @classmethod
    def build(
        cls, adata: "AnnData", schema: DataSchema, *, unseen: object = "error", missing_genes: str = "error"
    ) -> "CellStore":
        """Read the cells of ``adata``, training data or a query, matching genes and levels by name.

        ``unseen`` is ``"error"``, or the known level that stands in for those that the schema does not know, or a
        mapping from a covariate's key to its stand-in; ``missing_genes`` as in :func:`omicvae.data.align_genes`.

        Raises
        ------
        DataError
            For anything in ``adata`` that does not fit the schema; the message says what and where.
        """
        if adata.n_obs == 0:
            raise DataError("adata has no cells (0 rows).")
        genes = align_genes(schema.gene_names, adata.var_names, missing=missing_genes)
        keys, (codes_ND, continuous_NV) = schema.keys, cell_covariates(adata, schema, unseen)
        for scaling, values_N in zip(schema.continuous, continuous_NV.T, strict=True):
            scaling.check_range(values_N, adata.obs_names)
        indptr, columns, values, sums_N, summary = _read(adata, schema, genes)
        if keys.size_factor_key is None:
            library_N = np.maximum(sums_N, 1.0)
        else:
            column = obs_column(adata, keys.size_factor_key)
            library_N = size_factor_column(keys.size_factor_key, column, schema.size_factors)
        compact = CompactValues.of(values, indptr)
        return cls(schema, indptr, columns, compact, library_N, codes_ND, continuous_NV, summary)

    @classmethod
    def of_points(
        cls,
        schema: DataSchema,
        codes_ND: np.ndarray,
        continuous_NV: np.ndarray,
        library_N: np.ndarray,
        posterior: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> "CellStore":
        """Store N points to decode at: covariates (codes and the user's units) and ℓ or s, without data."""
        n = len(library_N)
        nothing = np.empty(0, np.uint8)
        summary = MatrixSummary(0.0, None, None, None, None)
        indptr, columns = np.zeros(n + 1, np.int64), np.empty(0, np.uint16 if schema.n_genes <= 2**16 else np.int32)
        return cls(
            schema, indptr, columns, CompactValues(nothing), library_N, codes_ND, continuous_NV, summary, posterior
        )

    @property
    def standardised_NV(self) -> np.ndarray:
        """Continuous covariates as the network sees them, float32."""
        return self.per_cell[2]

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.library_N)

    @property
    def n_genes(self) -> int:
        """Number of genes of the model."""
        return self.schema.n_genes

    @property
    def density(self) -> float:
        """Share of entries that are not zero."""
        return len(self.values) / max(1, self.n_cells * self.n_genes)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays in bytes."""
        arrays = (self.indptr, self.columns, *self.values.arrays, self.library_N, self.continuous_NV, *self.per_cell)
        return sum(array.nbytes for array in arrays)

    def with_schema(self, schema: DataSchema) -> "CellStore":
        """Return a store of the same cells, sharing memory, under another schema (other scales)."""
        return replace(self, schema=schema)

    def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return these rows one after the other: where each starts and ends, genes (int32), values (float32).

        Raises
        ------
        NotSupportedError
            Where the cells are minified.
        """
        if self.posterior is not None:
            raise NotSupportedError(WITHOUT_DATA)
        return self.values.gather(self.indptr, self.columns, rows)

    def csr(self, rows: np.ndarray) -> sp.csr_matrix:
        """Return these rows as a matrix, float32."""
        starts, columns, values = self.gather(rows)
        return sp.csr_matrix((values, columns, starts), shape=(len(rows), self.n_genes))

    def batch(self, indices: Tensor | np.ndarray | Sequence[int], *, device: torch.device | str = "cpu") -> Batch:
        """Return the cells ``indices``, in that order, as a minibatch on ``device``, made of their non-zeros.

        The first call for a GPU leaves all cells there for the later ones, if they fit into half of its free memory.
        """
        rows, device = _as_rows(indices), torch.device(device)
        there = None if device.type == "cpu" or self.posterior is not None else self._cells_on(device)
        if there is not None:
            return there.batch(rows)
        cells = [torch.from_numpy(array[rows]).to(device) for array in self.per_cell]
        if self.posterior is not None:
            posterior = (torch.from_numpy(array[rows]).to(device) for array in self.posterior)
            return Batch(None, cells[0], cells[1], cells[2], LatentPosterior(*posterior))
        sparse = [torch.from_numpy(array).to(device) for array in self.gather(rows)]
        return Batch(SparseRows(sparse[0], sparse[1], sparse[2], self.n_genes), cells[0], cells[1], cells[2])

    def on_device(self, device: torch.device) -> DeviceCells:
        """Copy all cells to a device."""
        values = self.values.widened(self.indptr, self.columns)
        return DeviceCells(
            self.indptr, self.columns, values, n_genes=self.n_genes, per_cell=self.per_cell, device=device
        )

    def _cells_on(self, device: torch.device) -> DeviceCells | None:
        if device not in self._on_devices:
            self._on_devices[device] = self.on_device(device) if has_room(self.nbytes, device) else None
        return self._on_devices[device]

    def moments(self, indices: Tensor | np.ndarray | Sequence[int]) -> FeatureMoments:
        """Per-gene moments of the cells ``indices``, float64; see :class:`omicvae._core.FeatureMoments`."""
        return feature_moments(self.csr, self.library_N, _as_rows(indices), self.n_genes)

    def log_normalised(self, support: str) -> sp.csr_matrix | np.ndarray:
        """Return the input of a PCA that serves as reference.

        ``"counts"``: CSR of log1p(x / ℓ · 10⁴), or log1p(x / s) with size factors. ``"binary"``: CSR of the
        values. ``"real"``: dense array of the values. All float32, cells × genes.
        """
        choose("support", support, SUPPORTS)
        matrix = self.csr(np.arange(self.n_cells))
        if support == "counts":
            scale = (_LIBRARY_SCALE if self.schema.keys.size_factor_key is None else 1.0) / self.library_N
            matrix.data *= np.repeat(scale.astype(np.float32), np.diff(matrix.indptr))
            np.log1p(matrix.data, out=matrix.data)
        return matrix.toarray() if support == "real" else matrix


def _as_rows(indices: Tensor | np.ndarray | Sequence[int]) -> np.ndarray:
    return np.ascontiguousarray(indices.cpu() if isinstance(indices, Tensor) else indices, dtype=np.int64)


def cell_covariates(adata: "AnnData", schema: DataSchema, unseen: object = "error") -> tuple[np.ndarray, np.ndarray]:
    """Level codes (N, D) and continuous covariates in the user's units (N, V) of cells; ``unseen`` as in a store."""
    codes_ND = np.zeros((adata.n_obs, len(schema.categorical)), np.int64)
    for d, levels in enumerate(schema.categorical):
        codes_ND[:, d] = levels.encode(obs_column(adata, levels.key), unseen=_policy(unseen, levels.key))
    continuous_NV = np.zeros((adata.n_obs, len(schema.continuous)))
    for v, scaling in enumerate(schema.continuous):
        continuous_NV[:, v] = numeric_column(scaling.key, obs_column(adata, scaling.key))
    return codes_ND, continuous_NV


def _policy(unseen: object, key: str) -> object:
    return unseen.get(key, "error") if isinstance(unseen, Mapping) else unseen


def _read(
    adata: "AnnData", schema: DataSchema, genes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, MatrixSummary]:
    """Row pointers, columns, values, float64 row sums and summary, with columns in the order of the schema."""
    chunks = iter_rows(get_matrix(adata, schema.keys.layer))
    if not np.array_equal(genes, np.arange(adata.n_vars)):
        known = np.flatnonzero(genes >= 0)  # the others are columns of zeros
        shape = (adata.n_vars, schema.n_genes)
        order = sp.csr_matrix((np.ones(len(known), np.uint8), (genes[known], known)), shape=shape)
        chunks = ((chunk @ order).sorted_indices() for chunk in chunks)
    columns = np.empty(0, np.uint16 if schema.n_genes <= 2**16 else np.int32)
    values, lengths, sums = np.empty(0, np.uint8), [], []
    summariser = Summariser(adata.obs_names, schema.gene_names)
    for chunk in finite_rows(chunks, obs_names=adata.obs_names, var_names=schema.gene_names):
        if schema.keys.round_counts and chunk.data.dtype.kind == "f":
            summariser.traces.update(chunk)
            chunk = chunk.rint()
            chunk.eliminate_zeros()
        summariser.update(chunk)
        lengths.append(np.diff(chunk.indptr))
        columns = _extended(columns, chunk.indices.astype(columns.dtype))
        values = _extended(values, _smallest(chunk.data))
        sums.append(np.asarray(chunk.sum(axis=1, dtype=np.float64)).ravel())
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)])
    return indptr, columns, values, np.concatenate(sums), summariser.result()


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
