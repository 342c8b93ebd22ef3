"""Whether a reference covers new cells: how far out each lies, beside reference cells that were held out."""

from dataclasses import dataclass

import numpy as np

from omicvae.analysis.neighbour_labels import nearest_of
from omicvae.metrics.labels import Array, FloatArray

#: neighbours in the reference whose mean distance counts, and neighbours in its own data over which a cell is averaged
N_NEIGHBOURS = 15
#: p-values above this are taken to be of cells that the reference covers
COVERED = 0.5
#: quantile, over the reference's batches, of a cell's p-value among the cells of one
BATCH_QUANTILE = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class MappedCells:
    """What the coverage looks at.

    Attributes
    ----------
    mean_NK, sd_NK
        Posterior mean and SD of each cell.
    misfit_N
        Mean over features of (x − E[x | z])² / Var[x | z]: 1 where the model is right, more where p(x | z) is small.
    groups_N
        Batch of each cell.
    """

    mean_NK: FloatArray
    sd_NK: FloatArray
    misfit_N: FloatArray
    groups_N: Array


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """How far out query cells lie, and what share of them is outside of the reference.

    Attributes
    ----------
    distance_N
        Mean distance to the 15 nearest reference cells in units of the mean posterior SD of each dimension (Mahalanobis
        distance under that noise), geometric mean over the cell's own neighbourhood.
    misfit_N
        Mean squared Pearson residual of x at z, that part of −log p(x | z) which does not grow with depth: geometric
        mean over the same neighbourhood, over the lower quartile in the cell's batch.
    p_value_N
        Share of reference cells, held out batch by batch, that lie as far out by both together (Fisher's sum of logs):
        upper quartile over these batches, so that what batches differ by is no finding.
    outside_N
        Probability that the cell is outside: 1 − local false discovery rate (Efron 2001) of the p-values.
    """

    distance_N: FloatArray
    misfit_N: FloatArray
    p_value_N: FloatArray
    outside_N: FloatArray

    @property
    def share_outside(self) -> float:
        """Expected share of query cells that are outside."""
        return float(self.outside_N.mean())


def coverage(reference: MappedCells, query: MappedCells) -> Coverage:
    """Compare query cells with reference cells, each held out from the reference with all cells of its batch.

    With one batch in the reference its cells are held out one by one.
    """
    scale_K = np.sqrt((reference.sd_NK**2).mean(0))
    z_MK, z_NK = reference.mean_NK / scale_K, query.mean_NK / scale_K
    _, groups_M = np.unique(reference.groups_N, return_inverse=True)
    held_out = np.empty((2, len(z_MK)))
    for group in np.unique(groups_M):
        own, others = np.flatnonzero(groups_M == group), np.flatnonzero(groups_M != group)
        held_out[:, own] = _statistics(z_MK[own], reference.misfit_N[own], z_MK[others] if len(others) else None)
    found = np.empty((2, len(z_NK)))
    for group in np.unique(query.groups_N):
        own = np.flatnonzero(query.groups_N == group)
        found[:, own] = _statistics(z_NK[own], query.misfit_N[own], z_MK)
    tails = np.stack([upper_tail(null, value) for null, value in zip(held_out, found, strict=True)])
    null_tails = np.stack([upper_tail(null, null) for null in held_out])
    both_M, both_N = -np.log(null_tails).sum(0), -np.log(tails).sum(0)
    by_batch = [upper_tail(both_M[groups_M == group], both_N) for group in np.unique(groups_M)]
    p_N = np.quantile(np.stack(by_batch), BATCH_QUANTILE, axis=0)
    return Coverage(np.exp(found[0]), np.exp(found[1]), p_N, outside_probability(p_N))


def _statistics(z_NK: FloatArray, misfit_N: FloatArray, reference_MK: FloatArray | None) -> FloatArray:
    """Log distance to the reference (None: to the other cells themselves) and log misfit, (2, N), each smoothed."""
    own_distance_Nk, own_Nk = nearest_of(z_NK, z_NK, N_NEIGHBOURS + 1)
    distance_Nk = own_distance_Nk[:, 1:] if reference_MK is None else nearest_of(reference_MK, z_NK, N_NEIGHBOURS)[0]
    mean_N = distance_Nk.mean(1) if distance_Nk.shape[1] else np.zeros(len(z_NK))
    logs = np.log(np.maximum(np.stack([mean_N, misfit_N]), 1e-12))
    smooth_2N = logs[:, own_Nk].mean(-1)
    # the model knows a batch that it was trained on better; only the contrast within a batch tells
    smooth_2N[1] -= np.quantile(smooth_2N[1], 0.25)
    return np.asarray(smooth_2N)


def upper_tail(null_H: Array, value_N: Array) -> FloatArray:
    """p-values (1 + number of null values at least as large) / (H + 1)."""
    below_N = np.searchsorted(np.sort(null_H), value_N, side="left")
    return np.asarray((1 + len(null_H) - below_N) / (len(null_H) + 1))


def outside_probability(p_N: FloatArray) -> FloatArray:
    """1 − π₀ / f(p), where f is the density of the p-values, taken to fall, and π₀ that of cells inside.

    f is the slope of the least concave majorant of their distribution function (Grenander 1956), and π₀ twice the share
    above ½ (Storey 2002), at most 1.
    """
    inside = min(1.0, float((p_N > COVERED).mean()) / (1 - COVERED))
    values, counts = np.unique(np.append(p_N, 1.0), return_counts=True)
    counts[-1] -= 1
    x, y = np.append(0.0, values), np.append(0.0, counts.cumsum() / len(p_N))
    hull = [0]
    for i in range(1, len(x)):  # the upper hull of the distribution function
        while len(hull) > 1 and (y[hull[-1]] - y[hull[-2]]) * (x[i] - x[hull[-1]]) <= (y[i] - y[hull[-1]]) * (
            x[hull[-1]] - x[hull[-2]]
        ):
            hull.pop()
        hull.append(i)
    slopes = np.diff(y[hull]) / np.diff(x[hull])
    density_N = slopes[np.minimum(np.searchsorted(x[hull], p_N, side="left") - 1, len(slopes) - 1)]
    return np.asarray(np.clip(1 - inside / np.maximum(density_N, 1e-12), 0.0, 1.0))
