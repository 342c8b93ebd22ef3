"""How near a predicted response (to a stimulus, a drug) comes to cells that were observed under it."""

from dataclasses import dataclass

import numpy as np

from omicvae._core.arguments import integral
from omicvae._core.arrays import unmasked
from omicvae._core.errors import DataError
from omicvae.metrics.labels import Array, FloatArray
from omicvae.metrics.linear import r_squared
from omicvae.metrics.results import OneRow


@dataclass(frozen=True, slots=True)
class ChangeAgreement(OneRow):
    """Agreement of a predicted group of cells with the observed one, over genes; higher is better throughout.

    R² is 1 − Σ_g (observed − predicted)² / Σ_g (observed − its mean over genes)²: 1 at best, below 0 where one number
    for all genes would do better. "Top" are the ``n_top`` genes that differ most between own and observed cells.

    Attributes
    ----------
    r2_means, r2_means_top
        R² of the means.
    pearson
        Correlation of predicted with observed changes, both from the mean of the own cells; NaN for no change.
    direction_top
        Share of the top genes whose predicted change has the observed sign; no change has none.
    r2_variances, r2_variances_top
        R² of the variances over cells; NaN where none were predicted.
    n_top, n_genes
        Genes that these rest on.
    """

    r2_means: float
    r2_means_top: float
    pearson: float
    direction_top: float
    r2_variances: float
    r2_variances_top: float
    n_top: int
    n_genes: int


def change_agreement(
    own_AG: Array,
    observed_BG: Array,
    mean_G: Array,
    variance_G: Array | None = None,
    *,
    n_top: int = 100,
) -> ChangeAgreement:
    """Compare what was predicted for cells in another state with cells observed there (Lotfollahi et al. 2019).

    Top genes are those of the largest |t| between own and observed cells (Welch 1947), whatever was predicted.

    Range: each its own, see :class:`ChangeAgreement`; higher is better.

    Parameters
    ----------
    own_AG, observed_BG
        Cells of the group before, and in the state that was predicted: in one unit, such as log1p of counts per 10,000.
    mean_G, variance_G
        Predicted mean and, optionally, variance of the cells of the group in that state, in the same unit.
    n_top
        Genes to look at apart; at most all.
    """
    own_AG, observed_BG = _cells(own_AG, "own cells"), _cells(observed_BG, "observed cells")
    n_genes = own_AG.shape[1]
    mean_G = _vector("predicted means", mean_G)
    variance_G = np.full(n_genes, np.nan) if variance_G is None else _vector("predicted variances", variance_G)
    sizes = {n_genes, observed_BG.shape[1], len(mean_G), len(variance_G)}
    if len(sizes) > 1:
        raise DataError(f"Cells and predictions must be of the same genes, got {sorted(sizes)} genes.")
    n_top = min(integral("n_top", n_top, minimum=2), n_genes)
    own_G, observed_G = own_AG.mean(0), observed_BG.mean(0)
    variances = own_AG.var(0, ddof=1) / len(own_AG) + observed_BG.var(0, ddof=1) / len(observed_BG)
    change_G = observed_G - own_G
    t_G = np.abs(change_G) / np.sqrt(np.where(variances > 0, variances, np.inf))
    top = np.argsort(-t_G, kind="stable")[:n_top]
    given_G, spread_G = mean_G - own_G, observed_BG.var(0)
    return ChangeAgreement(
        r2_means=r_squared(observed_G, mean_G),
        r2_means_top=r_squared(observed_G[top], mean_G[top]),
        pearson=_pearson(given_G, change_G),
        direction_top=float((np.sign(given_G) == np.sign(change_G))[top].mean()),
        r2_variances=r_squared(spread_G, variance_G),
        r2_variances_top=r_squared(spread_G[top], variance_G[top]),
        n_top=n_top,
        n_genes=n_genes,
    )


def _cells(values: Array, name: str) -> FloatArray:
    cells = np.asarray(unmasked(name, values), dtype=np.float64)
    if cells.ndim != 2 or len(cells) < 2 or not cells.shape[1] or not np.isfinite(cells).all():
        raise DataError(f"The {name} must be finite numbers, two cells or more × genes; got shape {cells.shape}.")
    return cells


def _vector(name: str, values: Array) -> FloatArray:
    vector = np.asarray(unmasked(name, values), dtype=np.float64)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise DataError(f"The {name} must be a vector of finite numbers, got shape {vector.shape}.")
    return vector


def _pearson(first_G: FloatArray, second_G: FloatArray) -> float:
    if 0 in (np.ptp(first_G), np.ptp(second_G)):
        return float("nan")
    return float(np.corrcoef(first_G, second_G)[0, 1])
