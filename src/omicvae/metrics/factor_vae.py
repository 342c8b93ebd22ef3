"""Disentanglement from groups of cells that share one factor: the β-VAE and FactorVAE scores.

Both scores come from simulators, which draw pictures that agree in one factor and vary freely in all others. With
observed cells one can only group those that agree: cells of one level of a discrete factor, or of one quantile bin of
a continuous one. The other factors then vary as the data let them. Where factors go together in the data, fixing one
fixes a part of another, and both scores fall below what the latents deserve.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from omicvae._core.arguments import integral
from omicvae._core.errors import DataError
from omicvae.metrics.classification import logistic, standardised
from omicvae.metrics.factors import Factors, as_factors, as_latents
from omicvae.metrics.labels import Array, FloatArray, IntArray

#: pairs or cells that one point is made of, as in Kim & Mnih (2018) and Locatello et al. (2019)
GROUP_SIZE = 64
N_POINTS = 1000
#: cells level by level, and of the level of each: its first place among them, and its size
_Groups = tuple[IntArray, IntArray, IntArray]
#: a point: latents, the cells' groups, a generator → one row of K numbers
_Point = Callable[[FloatArray, _Groups, np.random.Generator], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class FixedFactorScore:
    """How often the factor that a group of cells shares is told from their latents.

    ``score`` is the share of test points whose factor is named right, ``recall_F`` that of each factor, and ``chance``
    the score of guessing, 1 / F.
    """

    metric: str
    score: float
    chance: float
    n_points: int
    factors: tuple[str, ...]
    recall_F: FloatArray

    @property
    def above_chance(self) -> float:
        """(score − chance) / (1 − chance): 0 by guessing, 1 at best."""
        return (self.score - self.chance) / (1 - self.chance)

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each factor and one for all: score and chance."""
        return pd.DataFrame(
            {"factor": [*self.factors, "all"], self.metric: [*self.recall_F, self.score], "chance": self.chance}
        )


def beta_vae_score(
    z_NK: Array, factors_NF: Array | pd.DataFrame, *, n_points: int = N_POINTS, seed: int = 0
) -> FixedFactorScore:
    """β-VAE score (Higgins et al. 2017): is the shared factor of pairs of cells told by a linear classifier.

    A point: choose factor f; draw 64 pairs of cells that agree in f (a random cell, and another of its level or bin);
    d_k = mean over pairs of abs(z_ak − z_bk). Multinomial logistic regression learns f from standardised d on
    ``n_points`` points from one half of the cells, and the score is its accuracy on as many points from the other half:
    points of the same cells would share what the groups have in common by chance.
    The F ≥ 2 factors are read as in :func:`mig`; continuous ones are fixed to one of 20 quantile bins. ``seed`` chooses
    halves, factors and cells.

    Range: 1/F (chance) to 1, higher is better. Order and scale of dimensions do not matter. The classifier may combine
    dimensions, so this is the mildest of the scores. Factors that go together in the data lower it.
    """
    from threadpoolctl import threadpool_limits

    factors, points, tests = _points(z_NK, factors_NF, _mean_difference, n_points, seed)
    with threadpool_limits(limits=1):
        predicted_P = standardised(logistic(len(points[1]))).fit(*points).predict(tests[0])
    return _score("beta_vae_score", factors, tests[1], predicted_P)


def factor_vae_score(
    z_NK: Array, factors_NF: Array | pd.DataFrame, *, n_points: int = N_POINTS, seed: int = 0
) -> FixedFactorScore:
    """FactorVAE score (Kim & Mnih 2018): is the shared factor of a group of cells told by its stillest dimension.

    A point: choose factor f; draw 64 cells of one of its levels or bins (all, where there are fewer); d = argmin_k
    Var_group(z_k) / Var(z_k). Each dimension votes for the factor it stood for most often in ``n_points`` points
    from one half of the cells, and the score is the accuracy of these votes on as many points from the other half.
    Dimensions that do not vary take no part. Parameters as for :func:`beta_vae_score`.

    Range: about 1/F (chance) to 1, higher is better. Order and scale of dimensions do not matter. If factors go
    together in the data, fixing one fixes a part of another, and the score falls below what the latents deserve.
    """
    factors, (points_PK, codes_P), (tests_PK, truth_P) = _points(z_NK, factors_NF, _variances, n_points, seed)
    votes_KF = np.zeros((points_PK.shape[1], len(factors.names)), dtype=np.int64)
    np.add.at(votes_KF, (points_PK.argmin(1), codes_P), 1)
    return _score("factor_vae_score", factors, truth_P, votes_KF.argmax(1)[tests_PK.argmin(1)])


def _groups(name: str, codes_N: IntArray) -> _Groups:
    """Group the cells that share a level of one factor, levels with a single cell left out."""
    size_N = np.bincount(codes_N)[codes_N]
    order_M = np.argsort(codes_N, kind="stable")
    order_M = order_M[size_N[order_M] > 1]
    if len(order_M) == 0:
        raise DataError(f"In half of the cells no two share a level of factor {name!r}; merge levels or leave it out.")
    start_M = np.searchsorted(codes_N[order_M], codes_N[order_M])
    return order_M, start_M, size_N[order_M]


def _mean_difference(z_NK: FloatArray, groups: _Groups, rng: np.random.Generator) -> FloatArray:
    order_M, start_M, size_M = groups
    first = rng.integers(len(order_M), size=GROUP_SIZE)
    start, size = start_M[first], size_M[first]
    other = start + (first - start + rng.integers(1, size)) % size
    return np.asarray(np.abs(z_NK[order_M[first]] - z_NK[order_M[other]]).mean(0))


def _variances(z_NK: FloatArray, groups: _Groups, rng: np.random.Generator) -> FloatArray:
    order_M, start_M, size_M = groups
    place = int(rng.integers(len(order_M)))
    chosen = start_M[place] + rng.choice(size_M[place], min(size_M[place], GROUP_SIZE), replace=False)
    return np.asarray(z_NK[order_M[chosen]].var(0, ddof=1))


def _points(
    z_NK: Array, factors_NF: Array | pd.DataFrame, point: _Point, n_points: int, seed: int
) -> tuple[Factors, tuple[FloatArray, IntArray], tuple[FloatArray, IntArray]]:
    """Draw points to learn from and, in the other cells, to test on: rows of K numbers, and the factor fixed."""
    factors = as_factors(factors_NF)
    values_NK = as_latents(z_NK, factors, compared=2)
    n_factors = len(factors.names)
    n_points = integral("n_points", n_points, minimum=n_factors)
    values_NK = values_NK[:, np.ptp(values_NK, axis=0) > 0]
    if values_NK.shape[1] == 0:
        raise DataError("All latents are constant: no dimension varies between cells.")
    values_NK = values_NK / values_NK.std(0)
    rng = np.random.default_rng(integral("seed", seed, minimum=0))
    # as many points of each factor, so that chance is 1 / F
    codes_P = np.arange(n_points) % n_factors
    halves = []
    for cells in np.array_split(rng.permutation(len(values_NK)), 2):
        groups = [_groups(*column) for column in zip(factors.names, factors.codes_NF[cells].T, strict=True)]
        halves.append((np.array([point(values_NK[cells], groups[f], rng) for f in codes_P]), codes_P))
    return factors, halves[0], halves[1]


def _score(metric: str, factors: Factors, truth_P: IntArray, predicted_P: IntArray) -> FixedFactorScore:
    correct_P = pd.Series(predicted_P == truth_P)
    recall_F = correct_P.groupby(truth_P).mean().to_numpy()
    return FixedFactorScore(metric, float(correct_P.mean()), 1 / len(recall_F), len(truth_P), factors.names, recall_F)
