"""What the data are: counts, 0/1 or real values, and which likelihoods fit them."""

import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from omicvae._core import DataError, choose
from omicvae.data.covariates import R_INTEGER_NA
from omicvae.data.matrix import Entry, count_sources
from omicvae.data.traces import LOOKS, Traces

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger("omicvae")

#: Above this float32 does not hold every whole number.
_EXACT_LIMIT = 2**24

_KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "negative": lambda values: values < 0,
    "fractional": lambda values: values != np.rint(values) if values.dtype.kind == "f" else np.zeros(len(values), bool),
    "non_binary": lambda values: values != 1,  # zeros are not stored
}
#: what a likelihood needs, in words, and the kinds of entries that it cannot have produced
SUPPORTS: dict[str, tuple[str, Iterable[str]]] = {
    "counts": ("counts (whole numbers, at least 0)", ("negative", "fractional")),
    "binary": ("0/1 values", ("non_binary",)),
    "real": ("real values", ()),
}


@dataclass(frozen=True, slots=True)
class MatrixSummary:
    """Facts about a data matrix.

    Attributes
    ----------
    maximum
        Largest entry, or 0 where all are negative.
    negative, fractional, non_binary
        The first entry of that kind, None where there is none.
    look
        What they look like, a key of :data:`omicvae.data.traces.LOOKS`; None for nothing in particular.
    """

    maximum: float
    negative: Entry | None
    fractional: Entry | None
    non_binary: Entry | None
    look: str | None


class Summariser:
    """Collects a :class:`MatrixSummary` from consecutive chunks of rows, all of them finite."""

    def __init__(self, obs_names: Sequence[str], var_names: Sequence[str]) -> None:
        self._names = obs_names, var_names
        self._found: dict[str, Entry | None] = dict.fromkeys(_KINDS)
        self._n_cells = self._n_nonzero = self._n_zero_cells = 0
        self._maximum = 0.0
        self._gene_seen_G = np.zeros(len(var_names), dtype=bool)
        self.traces = Traces(len(obs_names))

    def update(self, chunk: sp.csr_matrix) -> None:
        """Take note of the next rows."""
        for kind, matches in _KINDS.items():
            if self._found[kind] is None and (hits := matches(chunk.data)).any():
                self._found[kind] = Entry.at(chunk, int(hits.argmax()), self._n_cells, *self._names)
        self._n_cells += chunk.shape[0]
        self._n_nonzero += chunk.nnz
        self._n_zero_cells += int((np.diff(chunk.indptr) == 0).sum())
        self._gene_seen_G[chunk.indices] = True
        if chunk.nnz:
            self._maximum = max(self._maximum, float(chunk.data.max()))
        if self._found["fractional"] is not None:
            self.traces.update(chunk)

    def result(self) -> MatrixSummary:
        """Return the facts; one log line counts all-zero cells and genes, which are fine."""
        n_zero_genes = int((~self._gene_seen_G).sum())
        if self._n_zero_cells or n_zero_genes:
            logger.info("%d all-zero cells and %d all-zero genes in the data.", self._n_zero_cells, n_zero_genes)
        zero_share = 1 - self._n_nonzero / max(1, self._n_cells * len(self._gene_seen_G))
        return MatrixSummary(self._maximum, **self._found, look=self.traces.look(zero_share))


#: likelihood of data by what their values are
USUAL = {"counts": "nb", "binary": "bernoulli", "real": "gaussian"}


def support_of(summary: MatrixSummary) -> str:
    """Say whether values are ``"binary"``, ``"counts"`` or ``"real"``."""
    if summary.non_binary is None:
        return "binary"
    return "counts" if summary.fractional is None and summary.negative is None else "real"


def choose_likelihood(summary: MatrixSummary, adata: "AnnData | None" = None, layer: str | None = None) -> str:
    """Name the likelihood for ``likelihood="auto"``: 0/1 → bernoulli, counts → nb, real values → gaussian.

    Values that look as if they had been made of counts are a DataError, because then the counts are probably elsewhere:
    in ``adata``, the data that ``layer`` was read from, they are looked for. Standardised values are one only where
    there are counts; beside other real values these are said.
    """
    support = support_of(summary)
    if support != "real":
        return USUAL[support]
    sources = [] if adata is None else count_sources(adata, layer)
    there = f"Counts are there: use {' or '.join(sources)}" if sources else ""
    if summary.look is None or (summary.look == "scaled" and not sources):
        if there:
            logger.warning("The data matrix holds real values, which likelihood='gaussian' models. %s.", there)
        return USUAL[support]
    words, advice = LOOKS[summary.look]
    ways = there or (
        "If the raw counts are in a layer, call CVAE.setup_anndata(adata, layer=...); if they are in .raw, use "
        "adata.raw.to_adata()"
    )
    raise DataError(
        f"The data matrix looks {words}, such as {summary.fractional}, and likelihood='auto' does not guess. {ways}; "
        f"{advice}to model the values as they are, pass likelihood='gaussian'."
    )


def check_support(summary: MatrixSummary, support: str, place: str | None = None) -> None:
    """Refuse data that a likelihood with this support (``"counts"``, ``"binary"`` or ``"real"``) cannot have produced.

    ``place`` is where a model that exists reads new cells; None while a model is made.

    Raises
    ------
    DataError
        With an example entry and the ways out; also where logarithms, say, were to be rounded.

    Warns
    -----
    UserWarning
        If counts exceed 2**24, where float32 is no longer exact.
    """
    choose("support", support, SUPPORTS)
    needs, kinds = SUPPORTS[support]
    words, advice = LOOKS.get(summary.look or "", ("", ""))
    layer = f"Call CVAE.setup_anndata(adata, layer=...) with the layer that holds {needs}"
    otherwise = f"; {advice}or pass likelihood='gaussian' to model real values"
    if place is not None:
        layer, otherwise = f"The model reads {place}: put {needs} there", ""
        if support == "counts" and summary.look in (None, "corrected"):
            otherwise = "; corrected counts, round them first (X.rint()) or make the model with round_counts=True"
    for entry in filter(None, (getattr(summary, kind) for kind in kinds)):
        hint = f" The values look {words}." if words else ""
        if entry.value == R_INTEGER_NA:
            hint = " That number is R's missing integer (NA)."
        raise DataError(f"The likelihood needs {needs}, but the data matrix holds {entry}.{hint} {layer}{otherwise}.")
    if summary.fractional is None and summary.look not in (None, "corrected"):
        raise DataError(
            f"round_counts=True is for counts that were corrected to fractions, but the data matrix looks {words}. "
            f"{layer}."
        )
    if support == "counts" and summary.maximum > _EXACT_LIMIT:
        warnings.warn(
            f"The largest count is {summary.maximum:.0f}; above 2**24 = {_EXACT_LIMIT} float32 is inexact, so "
            f"such counts are rounded.",
            UserWarning,
            stacklevel=2,
        )
