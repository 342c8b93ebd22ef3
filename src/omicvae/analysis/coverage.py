"""Whether a reference covers new cells: how far out each lies, beside reference cells that were held out."""

from dataclasses import dataclass

import numpy as np

from omicvae.metrics.labels import Array, FloatArray
from omicvae.metrics.neighbours import N_NEIGHBOURS, nearest_of

#: p-values above this are of cells that the reference covers: a batch that lies a little farther out as a whole has
#: more of its cells in the middle, and only an excess in the tail is a finding
TAIL = 0.1
#: cells of a reference batch, below which it is looked at together with others as small: few cells have no tail
FEWEST = 50
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
        How badly the model explains the cell; shown and not judged: with the distance it told new types no better, and
        it rises in whole batches that the model was not trained on.
    p_value_N
        Share of a reference batch, held out, that lies as far from the others: upper quartile over these batches, so
        that what batches differ by is no finding.
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

    With one batch in the reference its cells are held out one by one. What a neighbourhood shares counts once: to the
    query's p-values as many are added as chance would spread over as many neighbourhoods.
    """
    scale_K = np.sqrt((reference.sd_NK**2).mean(0))
    z_MK, z_NK = reference.mean_NK / scale_K, query.mean_NK / scale_K
    distance_N, held_out = np.empty(len(z_NK)), []
    for group in np.unique(query.groups_N):
        own = query.groups_N == group
        distance_N[own] = _distance(z_NK[own], z_MK)
    for group in np.unique(reference.groups_N):
        own = reference.groups_N == group
        held_out.append(_distance(z_MK[own], None if own.all() else z_MK[~own]))
    large = [far_H for far_H in held_out if len(far_H) >= FEWEST]
    small = [far_H for far_H in held_out if len(far_H) < FEWEST]
    if sum(map(len, small)) >= FEWEST or not large:
        large.append(np.concatenate(small))
    p_N = np.quantile(np.stack([upper_tail(far_H, distance_N) for far_H in large]), BATCH_QUANTILE, axis=0)
    n_by_chance = (N_NEIGHBOURS + 1) * min(N_NEIGHBOURS + 1, len(p_N))
    return Coverage(distance_N, query.misfit_N, p_N, outside_probability(p_N, n_by_chance))


def _distance(z_NK: FloatArray, reference_MK: FloatArray | None) -> FloatArray:
    """Mean distance to the nearest reference cells (None: the others of the same cells), smoothed over neighbours."""
    own_Nk, own_distance_Nk = nearest_of(z_NK, z_NK, N_NEIGHBOURS + 1)
    distance_Nk = own_distance_Nk[:, 1:] if reference_MK is None else nearest_of(reference_MK, z_NK, N_NEIGHBOURS)[1]
    mean_N = distance_Nk.mean(1) if distance_Nk.shape[1] else np.zeros(len(z_NK))
    return np.asarray(np.exp(np.log(np.maximum(mean_N, 1e-12))[own_Nk].mean(1)))


def upper_tail(null_H: Array, value_N: Array) -> FloatArray:
    """p-values (1 + number of null values at least as large) / (H + 1)."""
    below_N = np.searchsorted(np.sort(null_H), value_N, side="left")
    return np.asarray((1 + len(null_H) - below_N) / (len(null_H) + 1))


def outside_probability(p_N: FloatArray, n_by_chance: int = 0) -> FloatArray:
    """1 − π₀ / f(p), where f is the density of the p-values, taken to fall, and π₀ that of cells inside.

    f is the slope of the least concave majorant of their distribution function (Grenander 1956), and π₀ the share above
    the tail, over what it would be by chance (Storey 2002), at most 1. Above the tail the probability is 0. As many
    further p-values as ``n_by_chance`` are taken to be there, spread evenly: a few cells prove little.
    """
    n = len(p_N) + n_by_chance
    inside = min(1.0, (float((p_N > TAIL).sum()) / (1 - TAIL) + n_by_chance) / n)
    values, counts = np.unique(np.append(p_N, 1.0), return_counts=True)
    counts[-1] -= 1
    x, y = np.append(0.0, values), np.append(0.0, (counts.cumsum() + n_by_chance * values) / n)
    hull = [0]
    for i in range(1, len(x)):  # the upper hull of the distribution function
        while len(hull) > 1 and (y[hull[-1]] - y[hull[-2]]) * (x[i] - x[hull[-1]]) <= (y[i] - y[hull[-1]]) * (
            x[hull[-1]] - x[hull[-2]]
        ):
            hull.pop()
        hull.append(i)
    slopes = np.diff(y[hull]) / np.diff(x[hull])
    density_N = slopes[np.minimum(np.searchsorted(x[hull], p_N, side="left") - 1, len(slopes) - 1)]
    return np.asarray(np.where(p_N > TAIL, 0.0, np.clip(1 - inside / np.maximum(density_N, 1e-12), 0.0, 1.0)))
