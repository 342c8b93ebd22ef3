"""Recognise what has been made of counts, by the traces that they leave in the values."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

#: Relative spread of the cells' sums of expm1 that still counts as equal.
_SPREAD = 1e-2
#: Cells whose entries are looked at one by one, and the fewest that prove anything.
_SAMPLED_CELLS, _FEWEST_CELLS = 128, 3
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
class _Units:
    """Of the cells that could tell: how many, the unit of those that hold whole multiples, and how many small ones."""

    n_told: int = 0
    of_cells: list[float] = field(default_factory=list)
    n_small: int = 0

    def update(self, values: np.ndarray) -> None:
        """Take note of a cell: whether all up to ten times its smallest value, one count or so, are whole multiples."""
        unit = values.min()
        ratios = values / unit
        low = ratios[(ratios > 1.1) & (ratios < 10)]
        if len(low) >= 3:
            self.n_told += 1
            if (np.abs(low - np.rint(low)) <= 0.01 * low).all():
                self.of_cells.append(float(unit))
                self.n_small += bool(np.median(ratios) < 10)

    def mostly(self, *, small: bool = False, on_no_grid: bool = False) -> bool:
        """Whether most cells that could tell hold multiples, small ones, or those of units that are not the same."""
        n = self.n_small if small else len(self.of_cells)
        if on_no_grid and 2 * len(np.unique(np.array(self.of_cells, np.float32))) <= n:
            return False
        return self.n_told >= _FEWEST_CELLS and n > 0.5 * self.n_told


class Traces:
    """Collects, chunk by chunk, what gives counts away. :attr:`look` is a key of :data:`LOOKS`, or None.

    Over non-negative values, looked at one by one in at most 128 cells:

    - ``"log1p"``: Σ_g expm1(x_ng) is the same in every cell (``normalize_total`` and ``log1p`` on all genes); or,
      within a cell, expm1(x_ng) are whole multiples of the smallest one, which is then one count (still visible after
      a choice of genes, which destroys the first sign).
    - ``"log2"``, ``"log10"``: such multiples, where most are small. Logarithms of large counts, as bulk data have
      them, are real values in their own right.
    - ``"normalised"``: the values themselves are such multiples, of another unit in each cell. Of one unit in all they
      are on a grid: rounded numbers.
    - ``"corrected"``: a good part are whole numbers, not ones alone; or the values break off at 1, which once were
      single counts and were lowered, and there are larger ones. Roots and logarithms of counts are neither.

    ``"scaled"``: negative values, and the genes have mean 0 and SD 1, or below where large values were cut off.
    """

    def __init__(self) -> None:
        self._low, self._high, self._n_cells, self._n_looked = np.inf, 0.0, 0, 0
        self._units = {name: _Units() for name in UNDO}
        self._minimum, self._maximum = np.inf, -np.inf
        self._small_values: list[np.ndarray] = []
        self._n_rows, self._sums_2G = 0, np.zeros((2, 1))

    def update(self, chunk: sp.csr_matrix) -> None:
        """Take note of the next rows, which hold finite values."""
        if not chunk.nnz:
            return
        self._minimum = min(self._minimum, float(chunk.data.min()))
        self._maximum = max(self._maximum, float(chunk.data.max()))
        if self._minimum < 0:
            chunk = chunk.astype(np.float64)
            self._n_rows += chunk.shape[0]
            self._sums_2G = self._sums_2G + np.asarray([chunk.sum(0).A1, chunk.multiply(chunk).sum(0).A1])
            return
        filled = np.flatnonzero(np.diff(chunk.indptr))
        self._n_cells += len(filled)
        if self._maximum <= 60:  # exp(60) is far beyond any library: larger values are on no log scale
            sums = np.add.reduceat(np.expm1(chunk.data.astype(np.float64)), chunk.indptr[filled])
            self._low, self._high = min(self._low, sums.min()), max(self._high, sums.max())
        chosen = filled[: _SAMPLED_CELLS - self._n_looked]
        self._n_looked += len(chosen)
        for row in chosen:
            values = chunk.data[chunk.indptr[row] : chunk.indptr[row + 1]].astype(np.float64)
            self._small_values.append(values[values < _SMALL_VALUES])
            for name, undo in UNDO.items():
                if name == "normalised" or values.max() <= 60:
                    self._units[name].update(undo(values))

    def look(self, zero_share: float) -> str | None:
        """Say what the values seen so far look like; ``zero_share`` is the share of zeros among all entries."""
        if self._minimum < 0:
            return "scaled" if self._scaled() else None
        if zero_share == 0 or self._n_cells < _FEWEST_CELLS:
            return None
        logarithms = self._maximum <= 60
        if self._units["normalised"].mostly(on_no_grid=True):
            return "normalised"
        if logarithms and (self._units["log1p"].mostly() or self._high - self._low <= _SPREAD * self._high):
            return "log1p"
        for name in ("log2", "log10"):
            if logarithms and self._units[name].mostly(small=True):
                return name
        return "corrected" if self._corrected() else None

    def _corrected(self) -> bool:
        values = np.concatenate(self._small_values)
        whole = values == np.rint(values)
        low = values[~whole & (values < 60)]
        functions_of_counts = (np.square, UNDO["log1p"], UNDO["log2"])
        if len(low) < 30 or any(_whole(undo(low)) > 0.5 for undo in functions_of_counts):
            return False
        partly_whole = whole.mean() >= 0.3 and (whole & (values > 1)).mean() >= 0.03
        below, above = (((values > low) & (values <= low + 0.25)).mean() for low in (0.75, 1.0))
        return bool(partly_whole or (below >= 0.03 and below >= 10 * above and (values > 1.25).mean() >= 0.03))

    def _scaled(self) -> bool:
        mean_G, square_G = self._sums_2G / max(1, self._n_rows)
        sd_G = np.sqrt(np.maximum(square_G - mean_G**2, 0))
        like_scaled = (np.abs(mean_G) < 0.05) & (sd_G > 0.5) & (sd_G < 1.05)
        return bool(self._n_rows >= _FEWEST_CELLS and like_scaled.sum() >= 0.9 * max(1, (sd_G > 0).sum()))


def _whole(values: np.ndarray) -> float:
    """Share of values that are whole numbers but for rounding errors."""
    return float((np.abs(values - np.rint(values)) < 1e-4 * np.maximum(1, values)).mean())
