"""What the data are: counts, 0/1 or real values, and which likelihoods fit them."""

import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from omicvae._core import DataError, choose
from omicvae.data.lognormal import LogNormalisedCheck
from omicvae.data.matrix import iter_rows

logger = logging.getLogger("omicvae")

#: Above this float32 does not hold every whole number.
EXACT_LIMIT = 2**24
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_R_INTEGER_NA = -(2**31)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the matrix, to show in a message."""

    value: float
    cell: str
    gene: str

    def __str__(self) -> str:
        return f"{self.value:g} (cell {self.cell!r}, gene {self.gene!r})"


@dataclass(frozen=True, slots=True)
class MatrixAudit:
    """Facts about a data matrix; ``minimum`` and ``maximum`` include the zeros that are not stored.

    Attributes
    ----------
    negative, fractional, non_binary
        The first entry of that kind, None where there is none.
    looks_log_normalised
        See :class:`omicvae.data.lognormal.LogNormalisedCheck`.
    """

    n_cells: int
    n_genes: int
    n_nonzero: int
    minimum: float
    maximum: float
    negative: Entry | None
    fractional: Entry | None
    non_binary: Entry | None
    n_zero_cells: int
    n_zero_genes: int
    looks_log_normalised: bool

    @property
    def is_integer(self) -> bool:
        """Whether every entry is a whole number."""
        return self.fractional is None

    @property
    def is_binary(self) -> bool:
        """Whether every entry is 0 or 1."""
        return self.non_binary is None


def finite_rows(
    chunks: Iterable[sp.csr_matrix], *, obs_names: Sequence[str], var_names: Sequence[str]
) -> Iterator[tuple[int, sp.csr_matrix]]:
    """Yield (number of the first row, chunk); a chunk that float32 cannot hold is never yielded.

    Raises
    ------
    DataError
        At the first NaN, infinite or too large entry, with its cell and gene and the number of such entries.
    """
    remaining, start = iter(chunks), 0
    for chunk in remaining:
        bad = _not_finite(chunk)
        if bad.any():
            first = _entry(chunk, int(bad.argmax()), start, obs_names, var_names)
            count = int(bad.sum()) + sum(int(_not_finite(rest).sum()) for rest in remaining)
            raise DataError(
                f"Entries of the data matrix that are NaN, infinite or beyond float32 (±{_FLOAT32_MAX:.1e}): "
                f"{count}; the first is {first}. Remove or replace them first."
            )
        yield start, chunk
        start += chunk.shape[0]


class MatrixAuditor:
    """Collects a :class:`MatrixAudit` from consecutive chunks of rows."""

    def __init__(self, obs_names: Sequence[str], var_names: Sequence[str]) -> None:
        self._names = obs_names, var_names
        self._found: dict[str, Entry | None] = dict.fromkeys(_KINDS)
        self._n_cells = self._n_nonzero = self._n_zero_cells = 0
        self._low, self._high = math.inf, -math.inf
        self._gene_seen_G = np.zeros(len(var_names), dtype=bool)
        self._log_normalised = LogNormalisedCheck()

    def update(self, chunk: sp.csr_matrix) -> None:
        """Take note of the next rows; all entries are finite."""
        for kind, matches in _KINDS.items():
            if self._found[kind] is None and (hits := matches(chunk.data)).any():
                self._found[kind] = _entry(chunk, int(hits.argmax()), self._n_cells, *self._names)
        self._n_cells += chunk.shape[0]
        self._n_nonzero += chunk.nnz
        self._n_zero_cells += int((np.diff(chunk.indptr) == 0).sum())
        self._gene_seen_G[chunk.indices] = True
        if chunk.nnz:
            self._low = min(self._low, float(chunk.data.min()))
            self._high = max(self._high, float(chunk.data.max()))
        self._log_normalised.update(chunk)

    def result(self) -> MatrixAudit:
        """Return the facts; one log line counts all-zero cells and genes, which are fine."""
        n_genes = len(self._gene_seen_G)
        has_zeros = self._n_nonzero < self._n_cells * n_genes
        n_zero_genes = int((~self._gene_seen_G).sum())
        if self._n_zero_cells or n_zero_genes:
            logger.info("%d all-zero cells and %d all-zero genes in the data.", self._n_zero_cells, n_zero_genes)
        log_normalised = has_zeros and self._found["fractional"] is not None and self._log_normalised.verdict
        return MatrixAudit(
            n_cells=self._n_cells,
            n_genes=n_genes,
            n_nonzero=self._n_nonzero,
            minimum=min(self._low, 0.0) if has_zeros else self._low,
            maximum=max(self._high, 0.0) if has_zeros else self._high,
            n_zero_cells=self._n_zero_cells,
            n_zero_genes=n_zero_genes,
            looks_log_normalised=log_normalised,
            **self._found,
        )


def audit_matrix(matrix: Any, *, obs_names: Sequence[str], var_names: Sequence[str]) -> MatrixAudit:
    """Read a matrix (any container, by chunks) once and record what it holds.

    Raises
    ------
    DataError
        If an entry is NaN or infinite.
    """
    auditor = MatrixAuditor(obs_names, var_names)
    for _, chunk in finite_rows(iter_rows(matrix), obs_names=obs_names, var_names=var_names):
        auditor.update(chunk)
    return auditor.result()


def choose_likelihood(audit: MatrixAudit) -> str:
    """Name the likelihood for ``likelihood="auto"``: 0/1 → bernoulli, counts → nb, real values → gaussian.

    Raises
    ------
    DataError
        If the values look log-normalised, because then the counts are probably elsewhere.
    """
    if audit.looks_log_normalised:
        raise DataError(
            f"The data matrix looks log-normalised (scanpy's normalize_total and log1p; such as "
            f"{audit.fractional}), and likelihood='auto' does not guess. If the raw counts are in a layer, "
            f"call CVAE.setup_anndata(adata, layer=...); if they are in .raw, use adata.raw.to_adata(); to "
            f"model the log-normalised values themselves, pass likelihood='gaussian'."
        )
    if audit.is_binary:
        return "bernoulli"
    return "nb" if audit.is_integer and audit.negative is None else "gaussian"


def check_support(audit: MatrixAudit, support: str) -> None:
    """Refuse data that a likelihood cannot have produced.

    Parameters
    ----------
    audit
        Of the data that the likelihood shall model.
    support
        ``"counts"``, ``"binary"`` or ``"real"``, as the likelihood declares it.

    Raises
    ------
    DataError
        With an example entry and the ways out.

    Warns
    -----
    UserWarning
        If counts exceed 2**24, where float32 is no longer exact.
    """
    choose("support", support, _SUPPORTS)
    needs, kinds = _SUPPORTS[support]
    for kind in kinds:
        entry = getattr(audit, kind)
        if entry is not None:
            hint = " The values look log-normalised." if audit.looks_log_normalised else ""
            if entry.value == _R_INTEGER_NA:
                hint = " That number is R's missing integer (NA)."
            raise DataError(
                f"The likelihood needs {needs}, but the data matrix holds {entry}.{hint} Call "
                f"CVAE.setup_anndata(adata, layer=...) with the layer that holds {needs}, or pass "
                f"likelihood='gaussian' to model real values."
            )
    if support == "counts" and audit.maximum > EXACT_LIMIT:
        warnings.warn(
            f"The largest count is {audit.maximum:.0f}; above 2**24 = {EXACT_LIMIT} float32 is inexact, so "
            f"such counts are rounded.",
            UserWarning,
            stacklevel=2,
        )


def _is_fractional(values: np.ndarray) -> np.ndarray:
    return np.zeros(len(values), dtype=bool) if values.dtype.kind in "iu" else values != np.rint(values)


_KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "negative": lambda values: values < 0,
    "fractional": _is_fractional,
    "non_binary": lambda values: values != 1,  # zeros are not stored
}
_SUPPORTS: dict[str, tuple[str, Iterable[str]]] = {
    "counts": ("counts (whole numbers, at least 0)", ("negative", "fractional")),
    "binary": ("0/1 values", ("non_binary",)),
    "real": ("real values", ()),
}


def _not_finite(chunk: sp.csr_matrix) -> np.ndarray:
    if chunk.data.dtype.kind != "f":
        return np.zeros(chunk.nnz, dtype=bool)
    held: np.ndarray = np.abs(chunk.data) <= _FLOAT32_MAX  # NaN compares as false
    return ~held


def _entry(
    chunk: sp.csr_matrix, position: int, start: int, obs_names: Sequence[str], var_names: Sequence[str]
) -> Entry:
    row = int(np.searchsorted(chunk.indptr, position, side="right")) - 1
    column = int(chunk.indices[position])
    return Entry(float(chunk.data[position]), str(obs_names[start + row]), str(var_names[column]))
