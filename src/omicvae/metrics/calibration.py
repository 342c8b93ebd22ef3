"""Calibration of a model from its samples: whether they look like the data and their intervals are honest.

The model is judged by draws alone, so any likelihood can be. Draws are taken one after the other, never held together.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from omicvae._core.arguments import integral, real
from omicvae._core.arrays import unmasked
from omicvae._core.errors import DataError, SettingError
from omicvae.metrics.labels import Array, FloatArray

LEVELS = (0.5, 0.8, 0.9, 0.95)
N_PIT_BINS = 20
CELLS_AT_A_TIME = 256
_STATISTICS = ("mean", "variance", "zeros")
_Ranks = npt.NDArray[np.uint16]
MAX_DRAWS = int(np.iinfo(np.uint16).max) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Agreement of data with a model's draws; genes are named by ``genes``.

    Attributes
    ----------
    levels_L, coverage_L, coverage_se_L
        Nominal level of central predictive intervals, share of entries inside, and its standard error over cells.
    pit_B
        Share of the randomised PIT in each of 20 equal bins; 1/20 each under calibration. A U shape: predictions too
        narrow; a hump: too wide; a slope: off to one side.
    mean_observed_G, variance_observed_G, zeros_observed_G
        Mean and variance (n − 1) over cells of the data, and share of cells with exactly 0.
    mean_predicted_G, variance_predicted_G, zeros_predicted_G
        The same on average over the draws.
    coverage_GL
        Coverage of each gene.
    """

    n_draws: int
    genes: tuple[str, ...]
    levels_L: FloatArray
    coverage_L: FloatArray
    coverage_se_L: FloatArray
    pit_B: FloatArray
    mean_observed_G: FloatArray
    mean_predicted_G: FloatArray
    variance_observed_G: FloatArray
    variance_predicted_G: FloatArray
    zeros_observed_G: FloatArray
    zeros_predicted_G: FloatArray
    coverage_GL: FloatArray

    @property
    def zero_rate_error(self) -> float:
        """Mean over genes of abs(observed − predicted share of zeros); 0 to 1, lower is better."""
        return float(np.abs(self.zeros_observed_G - self.zeros_predicted_G).mean())

    @property
    def coverage_error(self) -> float:
        """Mean over levels of abs(coverage − level); 0 to below 1, lower is better."""
        return float(np.abs(self.coverage_L - self.levels_L).mean())

    @property
    def pit_distance(self) -> float:
        """Largest distance of the PIT's distribution from the uniform, at the edges of the bins; lower is better."""
        edges_B = np.arange(1, len(self.pit_B) + 1) / len(self.pit_B)
        return float(np.abs(np.cumsum(self.pit_B) - edges_B).max())

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each level: level, coverage, standard error."""
        return pd.DataFrame({"level": self.levels_L, "coverage": self.coverage_L, "se": self.coverage_se_L})

    def genes_to_frame(self) -> pd.DataFrame:
        """Return a row for each gene: mean, variance and share of zeros, observed and predicted, and coverage."""
        kinds = ("observed", "predicted")
        columns = {f"{n}_{kind}": getattr(self, f"{n}_{kind}_G") for n in _STATISTICS for kind in kinds}
        coverage = {f"coverage_{level:g}": self.coverage_GL[:, place] for place, level in enumerate(self.levels_L)}
        return pd.DataFrame(columns | coverage, index=pd.Index(self.genes, name="gene"))


def randomised_pit(x_NG: Any, draws: Iterable[Any], *, seed: int = 0) -> FloatArray:
    """Randomised probability integral transform of every entry (Smith 1985; Czado et al. 2009).

    u = (#{s: x̂_s < x} + V (#{s: x̂_s = x} + 1)) / (S + 1), V uniform on (0, 1). If x comes from the same distribution as
    its S draws and independently of them given the model, u is uniform on (0, 1): exactly, for any S ≥ 1 and for counts
    as for continuous values, because x takes each rank among the S + 1 values with equal probability, ties broken at
    random. Intervals between quantiles of a discrete distribution cover more than their level; those of u do not.

    Range: 0 to 1, uniform under a true model.

    Parameters
    ----------
    x_NG
        Data, N cells × G genes, dense or sparse, in the units of the draws.
    draws
        S draws of the whole matrix: an array ``samples_SNG``, or an iterable of arrays (N, G), dense or sparse, which
        may be a generator: each is looked at once. Memory is 4 bytes an entry, whatever S is.
    seed
        Draws V.
    """
    x_NG = _dense(x_NG, "data")
    less_NG, equal_NG, n_draws = _rank(x_NG, draws)
    return np.concatenate(list(_pit(less_NG, equal_NG, n_draws, seed)))


def calibration(
    x_NG: Any,
    draws: Iterable[Any],
    *,
    levels: Sequence[float] = LEVELS,
    genes: Sequence[str] | None = None,
    seed: int = 0,
) -> Calibration:
    """Compare data with draws of a model: zeros, mean and variance of genes, coverage of intervals, randomised PIT.

    The central interval of level 1 − α covers an entry if abs(u − ½) ≤ (1 − α) / 2, with u of :func:`randomised_pit`;
    so coverage equals its level under a true model for counts too.

    That holds for draws that have not seen x. Posterior predictive draws of a cell have, through its own z: they
    lean towards x, and coverage above the level with a humped PIT is then expected. Coverage below it counts all the
    more.

    Range: each its own, see :class:`Calibration`. Coverage at its level, a flat PIT and equal gene statistics are best.

    Parameters
    ----------
    x_NG, draws, seed
        As for :func:`randomised_pit`; at least 2 cells.
    levels
        Levels of the central intervals, each between 0 and 1.
    genes
        Names of the genes; numbers without.
    """
    levels_L = np.array([real("a level", level, minimum=0.0, maximum=1.0) for level in levels])
    if len(levels_L) == 0:
        raise SettingError("levels must name at least one level between 0 and 1, got none.")
    x_NG = _dense(x_NG, "data")
    n_cells, n_genes = x_NG.shape
    if n_cells < 2:
        raise DataError(f"Calibration compares variances over cells and needs at least 2 cells, got {n_cells}.")
    names = tuple(map(str, range(n_genes) if genes is None else genes))
    if len(names) != n_genes:
        raise DataError(f"genes must name each of the {n_genes} columns of the data, got {len(names)} names.")
    predicted_3G = np.zeros((3, n_genes))
    less_NG, equal_NG, n_draws = _rank(x_NG, draws, predicted_3G)
    covered_NL, covered_GL, pit_B = _cover(_pit(less_NG, equal_NG, n_draws, seed), levels_L)
    genes_6G = np.concatenate([_gene_statistics(x_NG), predicted_3G / n_draws])
    names_6 = [f"{name}_{kind}_G" for kind in ("observed", "predicted") for name in _STATISTICS]
    return Calibration(
        n_draws=n_draws,
        genes=names,
        levels_L=levels_L,
        coverage_L=covered_NL.mean(0),
        coverage_se_L=covered_NL.std(0, ddof=1) / np.sqrt(n_cells),
        pit_B=pit_B,
        coverage_GL=covered_GL,
        **dict(zip(names_6, genes_6G, strict=True)),
    )


def _gene_statistics(x_NG: Array) -> FloatArray:
    """Mean, variance (n − 1) and share of zeros of each gene over cells."""
    return np.stack([x_NG.mean(0, dtype=np.float64), x_NG.var(0, dtype=np.float64, ddof=1), (x_NG == 0).mean(0)])


def _dense(matrix: Any, name: str) -> Array:
    """Return a finite dense matrix; scipy's and pydata's sparse arrays are expanded."""
    to_dense = getattr(matrix, "toarray", getattr(matrix, "todense", None))
    values: Array = np.asarray(unmasked(f"entries of the {name}", matrix) if to_dense is None else to_dense())
    if values.ndim != 2 or values.size == 0:
        raise DataError(f"The {name} must be a matrix of cells × genes, got shape {values.shape}.")
    if not np.isfinite(values).all():
        raise DataError(f"The {name} must be finite; {int((~np.isfinite(values)).sum())} entries are NaN or inf.")
    return values


def _rank(x_NG: Array, draws: Iterable[Any], statistics_3G: FloatArray | None = None) -> tuple[_Ranks, _Ranks, int]:
    """Count for every entry the draws below and equal to it; sum up the gene statistics of draws, where wanted."""
    less_NG, equal_NG = np.zeros(x_NG.shape, dtype=np.uint16), np.zeros(x_NG.shape, dtype=np.uint16)
    n_draws = 0
    for n_draws, draw in enumerate(draws, start=1):
        if n_draws > MAX_DRAWS:
            raise DataError(f"At most {MAX_DRAWS} draws can be counted; pass fewer, some hundreds are plenty.")
        name = f"draw {n_draws - 1}"
        draw_NG = _dense(draw, name)
        if draw_NG.shape != x_NG.shape:
            raise DataError(f"Each draw must have the data's shape {x_NG.shape}; {name} has {draw_NG.shape}.")
        less_NG += draw_NG < x_NG
        equal_NG += draw_NG == x_NG
        if statistics_3G is not None:
            statistics_3G += _gene_statistics(draw_NG)
    if n_draws == 0:
        raise DataError("Calibration needs at least one draw, got none.")
    return less_NG, equal_NG, n_draws


def _pit(less_NG: _Ranks, equal_NG: _Ranks, n_draws: int, seed: int) -> Iterator[FloatArray]:
    """Yield the randomised PIT in blocks of cells."""
    rng = np.random.default_rng(integral("seed", seed, minimum=0))
    for start in range(0, len(less_NG), CELLS_AT_A_TIME):
        less_BG = less_NG[start : start + CELLS_AT_A_TIME].astype(np.float64)
        equal_BG = equal_NG[start : start + CELLS_AT_A_TIME]
        yield (less_BG + rng.random(less_BG.shape) * (equal_BG + 1.0)) / (n_draws + 1)


def _cover(pit: Iterable[FloatArray], levels_L: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coverage of each cell, and of each gene, at each level, and the histogram of the PIT as shares."""
    covered_NL, covered_GL, counts_B = [], np.zeros(()), np.zeros(N_PIT_BINS)
    for u_BG in pit:
        inside_BGL = np.abs(u_BG - 0.5)[..., None] <= levels_L / 2
        covered_NL.append(inside_BGL.mean(1))
        covered_GL = covered_GL + inside_BGL.sum(0)
        counts_B += np.histogram(u_BG, bins=N_PIT_BINS, range=(0.0, 1.0))[0]
    stacked_NL = np.concatenate(covered_NL)
    return stacked_NL, covered_GL / len(stacked_NL), counts_B / counts_B.sum()
