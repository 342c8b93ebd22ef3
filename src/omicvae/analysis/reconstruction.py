"""Cells beside what a model expects of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omicvae._core import DataError
from omicvae.metrics import Calibration

FloatArray = NDArray[np.floating]
#: share of the squared error of gene means below which a model explains no more than they do
LITTLE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """N cells × G genes: data, what the model expects of them, and what gene means do.

    Attributes
    ----------
    observed_NG, predicted_NG
        x, and E[x | z, c] at the cell's posterior mean z, data units.
    baseline_NG
        The baseline: each gene's mean in these cells; of counts its share of all counts times the cell's library.
    counts
        Whether correlations are of log1p(x).
    cells, genes
        Names.
    calibration
        Of draws from the posterior predictive. The cell's x has been seen, through z: intervals then cover a little
        more than their level, and cover below it counts all the more.
    """

    observed_NG: FloatArray
    predicted_NG: FloatArray
    baseline_NG: FloatArray
    counts: bool
    cells: tuple[str, ...]
    genes: tuple[str, ...]
    calibration: Calibration

    def __post_init__(self) -> None:
        shapes = {values.shape for values in (self.observed_NG, self.predicted_NG, self.baseline_NG)}
        if shapes != {(len(self.cells), len(self.genes))}:
            raise DataError(f"A reconstruction needs three arrays (cells, genes), got shapes {sorted(shapes)}.")

    @property
    def explained_G(self) -> FloatArray:
        """1 − Σ (x − predicted)² / Σ (x − baseline)² of each gene; 0: no more than gene means do."""
        error_2G = [((self.observed_NG - v) ** 2).sum(0) for v in (self.predicted_NG, self.baseline_NG)]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(error_2G[1] > 0, 1 - error_2G[0] / error_2G[1], np.nan)

    @property
    def correlation_N(self) -> FloatArray:
        """Pearson correlation over genes of each cell, x with predicted, of counts log1p; NaN where one is constant."""
        return self._correlation(self.predicted_NG)

    @property
    def baseline_correlation_N(self) -> FloatArray:
        """The same of the baseline: genes differ, so that it is high already."""
        return self._correlation(self.baseline_NG)

    def _correlation(self, values_NG: FloatArray) -> FloatArray:
        pair = [np.log1p(v) if self.counts else v for v in (self.observed_NG, values_NG)]
        a_NG, b_NG = (v - v.mean(1, keepdims=True) for v in pair)
        scale_N = np.sqrt((a_NG**2).sum(1) * (b_NG**2).sum(1))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(scale_N > 0, (a_NG * b_NG).sum(1) / scale_N, np.nan)

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each gene: what is explained, and the columns of the calibration."""
        return self.calibration.genes_to_frame().assign(explained=self.explained_G)

    def cells_to_frame(self) -> pd.DataFrame:
        """Return a row for each cell: its correlation, and the baseline's."""
        columns = {"correlation": self.correlation_N, "baseline_correlation": self.baseline_correlation_N}
        return pd.DataFrame(columns, index=pd.Index(self.cells, name="cell"))

    def __str__(self) -> str:
        """Return what it says in a few lines."""
        explained, own, base = map(_median, (self.explained_G, self.correlation_N, self.baseline_correlation_N))
        level, covered = self.calibration.levels_L[-1], self.calibration.coverage_L[-1]
        lines = [f"{len(self.cells)} cells × {len(self.genes)} genes"]
        if explained is not None:
            said = "" if explained > LITTLE else ": no more than gene means do"
            lines.append(f"explained beyond gene means: {explained:.3f} of the squared error of the median gene{said}")
        if own is not None:
            beside = "" if base is None else f", by gene means alone {base:.3f}"
            lines.append(f"correlation within a cell: median {own:.3f}{beside}")
        seen = "x was seen through z: above the level is expected"
        return "\n".join([*lines, f"predictive intervals of {level:g} cover {covered:.3f} ({seen})"])


def _median(values: FloatArray) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None
