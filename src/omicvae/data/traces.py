"""Recognise what has been made of counts, by the traces that they leave in the values."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

#: Relative spread of the cells' totals that still counts as equal.
_SPREAD = 1e-2
#: Cells whose entries are looked at one by one, how many of each are kept, and the fewest cells that prove anything.
_SAMPLED_CELLS, _SAMPLED_VALUES, _FEWEST_CELLS = 128, 5000, 3
#: values up to which fractions are looked at: those of large numbers are lost in float32
_SMALL_VALUES = 1e3

#: what may have been done to counts, and how it is undone: up to a factor of each cell these are counts then
UNDO: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "normalised": lambda x: x,
    "log1p": np.expm1,
    "log2": lambda x: np.expm1(np.log(2) * x),
    "log10": lambda x: np.expm1(np.log(10) * x),
}
#: what values may look, in words, and what else can be done about it
LOOKS: dict[str, tuple[str, str]] = {
    "log1p": ("log-normalised (scanpy's normalize_total and log1p)", ""),
    "log2": ("log-normalised, as log2(1 + normalised counts)", ""),
    "log10": ("log-normalised, as log10(1 + normalised counts)", ""),
    "normalised": (
        "normalised by each cell's total and not logged (CP10k, CPM)",
        "take their logarithm for any use as real values (scanpy.pp.log1p); ",
    ),
    "corrected": (
        "like counts that were corrected to fractions (for ambient RNA, say, or expected counts)",
        "to round them, call CVAE.setup_anndata(adata, round_counts=True); ",
    ),
    "scaled": ("standardised gene by gene (mean 0, SD 1)", ""),
}


@dataclass(slots=True)
class _Undone:
    """The values as one of :data:`UNDO` leaves them: the range of the cells' totals, and units of the sampled cells.

    Of the cells that could tell: how many, the unit of those that hold whole multiples, and how many small ones.
    """

    low: float = np.inf
    high: float = 0.0
    n_told: int = 0
    units: list[float] = field(default_factory=list)
    n_small: int = 0

    def add_totals(self, values: np.ndarray, starts: np.ndarray) -> None:
        """Take note of cells that start there."""
        totals = np.add.reduceat(values, starts)
        self.low, self.high = min(self.low, totals.min()), max(self.high, totals.max())

    def add_cell(self, values: np.ndarray) -> None:
        """Take note of a cell: whether all up to ten times its smallest value, one count or so, are whole multiples."""
        unit = values.min()
        ratios = values / unit
        low = ratios[(ratios > 1.1) & (ratios < 10)]
        if len(low) >= 3:
            self.n_told += 1
            if (np.abs(low - np.rint(low)) <= 0.01 * low).all():
                self.units.append(float(unit))
                self.n_small += bool(np.median(ratios) < 10)

    def add_whole_cell(self) -> None:
        """Take note of a cell that holds whole numbers."""
        self.n_told += 1
        self.units.append(1.0)

    @property
    def equal_totals(self) -> bool:
        """Whether all cells have the same total."""
        return self.high - self.low <= _SPREAD * self.high

    @property
    def one_unit(self) -> bool:
        """Whether more than half of the units are the same."""
        return 2 * np.unique(np.array(self.units, np.float32), return_counts=True)[1].max() > len(self.units)

    def mostly_multiples(self, *, small: bool = False) -> bool:
        """Whether most cells that could tell hold multiples, or small ones."""
        return self.n_told >= _FEWEST_CELLS and (self.n_small if small else len(self.units)) > 0.5 * self.n_told


class Traces:
    """Collects, chunk by chunk, what gives counts away. :attr:`look` is a key of :data:`LOOKS`, or None.

    Over non-negative values, looked at one by one in at most 128 cells spread over all ``n_cells``:

    - ``"normalised"``: within a cell, the values are whole multiples of the smallest one, which is then one count, and
      cells differ in this unit. Of one unit in most cells they are on a grid: whole or rounded numbers, which are no
      logarithms either.
    - ``"log1p"``: Σ_g expm1(x_ng) is the same in every cell (``normalize_total`` and ``log1p`` on all genes), and Σ_g
      x_ng is not, as of shares; or expm1(x_ng) are such multiples (still visible after a choice of genes, which
      destroys the first sign).
    - ``"log2"``, ``"log10"``: such multiples, where most are small. Logarithms of large counts, as bulk data have
      them, are real values in their own right.
    - ``"corrected"``: a good part are whole numbers, not ones alone; or the fractions break off at 1, which once were
      single counts and were lowered, and there are larger values. Roots and logarithms of counts are neither.

    ``"scaled"``: negative values, and most genes have a mean near 0 and an SD near 1, or below where large values were
    cut off or cells left out.
    """

    def __init__(self, n_cells: int) -> None:
        self._every = -(-n_cells // _SAMPLED_CELLS)
        self._n_rows = self._n_filled = 0
        self._undone = {name: _Undone() for name in UNDO}
        self._minimum, self._maximum = np.inf, -np.inf
        self._small_values: list[np.ndarray] = []
        self._sums_2G = np.zeros((2, 1))

    def update(self, chunk: sp.csr_matrix) -> None:
        """Take note of the next rows, which hold finite values."""
        filled = np.flatnonzero(np.diff(chunk.indptr))
        chosen = filled[-self._n_filled % self._every :: self._every]
        self._n_filled += len(filled)
        self._n_rows += chunk.shape[0]
        if not len(filled):
            return
        self._minimum = min(self._minimum, float(chunk.data.min()))
        self._maximum = max(self._maximum, float(chunk.data.max()))
        if self._minimum < 0:
            chunk = chunk.astype(np.float64)
            self._sums_2G = self._sums_2G + np.asarray([chunk.sum(0).A1, chunk.multiply(chunk).sum(0).A1])
            return
        if self._maximum <= 60:  # exp(60) is far beyond any library: larger values are on no log scale
            values = chunk.data.astype(np.float64)
            for name in ("normalised", "log1p"):
                self._undone[name].add_totals(UNDO[name](values), chunk.indptr[filled])
        for row in chosen:
            self._look_at(chunk.data[chunk.indptr[row] : chunk.indptr[row + 1]].astype(np.float64))

    def _look_at(self, values: np.ndarray) -> None:
        some = values[:: -(-len(values) // _SAMPLED_VALUES)]
        self._small_values.append(some[some < _SMALL_VALUES])
        if (values == np.rint(values)).all():  # counts: 2ˣ − 1 of them would be whole too
            self._undone["normalised"].add_whole_cell()
            return
        for name, undo in UNDO.items():
            if name == "normalised" or values.max() <= 60:
                self._undone[name].add_cell(undo(values))

    def look(self, zero_share: float) -> str | None:
        """Say what the values seen so far look like; ``zero_share`` is the share of zeros among all entries."""
        if self._minimum < 0:
            return "scaled" if self._scaled() else None
        if zero_share == 0 or self._n_filled < _FEWEST_CELLS:
            return None
        plain, log1p = self._undone["normalised"], self._undone["log1p"]
        if plain.mostly_multiples():
            if not plain.one_unit:
                return "normalised"
        elif self._maximum <= 60:
            if log1p.mostly_multiples() or (log1p.equal_totals and not plain.equal_totals):
                return "log1p"
            for name in ("log2", "log10"):
                if self._undone[name].mostly_multiples(small=True):
                    return name
        return "corrected" if self._corrected() else None

    def _corrected(self) -> bool:
        values = np.concatenate(self._small_values)
        if not len(values):  # large ones alone
            return False
        whole = values == np.rint(values)
        fractions = values[~whole]
        low = fractions[fractions < 60]
        functions_of_counts = (np.square, UNDO["log1p"], UNDO["log2"])
        too_few = len(low) < 30 and whole.mean() < 0.9
        if too_few or any(_whole(undo(low)) > 0.5 for undo in functions_of_counts):
            return False
        below, above = (((fractions > b) & (fractions <= b + 0.25)).sum() for b in (0.75, 1.0))
        breaks_off = below >= 10 * above and below >= 0.03 * len(values) and (values > 1.25).mean() >= 0.03
        return bool(breaks_off or (whole.mean() >= 0.3 and (whole & (values > 1)).mean() >= 0.03))

    def _scaled(self) -> bool:
        mean_G, square_G = self._sums_2G / max(1, self._n_rows)
        sd_G = np.sqrt(np.maximum(square_G - mean_G**2, 0))
        like_scaled = (np.abs(mean_G) < 0.2) & (sd_G > 0.2) & (sd_G < 1.2)
        return bool(self._n_rows >= _FEWEST_CELLS and like_scaled.sum() >= 0.75 * max(1, (sd_G > 0).sum()))


def _whole(values: np.ndarray) -> float:
    """Share of values that are whole numbers but for rounding errors, among those small enough to tell."""
    values = values[values < _SMALL_VALUES]
    return float((np.abs(values - np.rint(values)) < 1e-4 * np.maximum(1, values)).sum() / max(1, len(values)))
