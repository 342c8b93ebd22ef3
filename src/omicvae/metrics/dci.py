"""Disentanglement, completeness and informativeness from the importances of a regression (DCI)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import entr

from omicvae._core.arguments import integral
from omicvae.metrics.factors import N_FOLDS, Factors, accuracy_above_chance, as_factors, as_latents
from omicvae.metrics.labels import Array, FloatArray
from omicvae.metrics.results import OneRow

MAX_CELLS = 5000


@dataclass(frozen=True, slots=True, eq=False)
class DCIScore(OneRow):
    """The three scores and the importances they rest on; every score runs from 0 to 1, higher is better.

    Disentanglement: each dimension serves one factor. Completeness: each factor is held by one dimension.
    Informativeness: the dimensions together predict the factors in cells not fitted. ``importance_KF`` is that of
    dimension k for factor f; each column sums to 1, or is 0 where nothing predicts.
    """

    COLUMNS = ("disentanglement", "completeness", "informativeness")

    disentanglement: float
    completeness: float
    informativeness: float
    factors: tuple[str, ...]
    importance_KF: FloatArray
    disentanglement_K: FloatArray
    completeness_F: FloatArray
    informativeness_F: FloatArray


def dci(z_NK: Array, factors_NF: Array | pd.DataFrame, *, seed: int = 0, max_cells: int = MAX_CELLS) -> DCIScore:
    """Disentanglement, completeness and informativeness (Eastwood & Williams 2018).

    Gradient boosting (scikit-learn's defaults: 100 trees of depth 3) predicts each factor from all dimensions; R_kf is
    the importance of dimension k for factor f. With P_kf = R_kf / Σ_f R_kf and Q_kf = R_kf / Σ_k R_kf

    - disentanglement D = Σ_k ρ_k (1 − H_F(P_k·)), ρ_k = Σ_f R_kf / Σ_kf R_kf,
    - completeness C = 1/F Σ_f (1 − H_K(Q_·f)),

    with entropies H to the base of F and of K. Informativeness is the mean over factors of what is predicted in a
    fifth of the cells, not fitted: 1 − squared error / variance, or balanced accuracy rescaled from [1/L, 1] to [0, 1]
    for L levels, both cut at 0. (The paper reports the error, where lower is better.)
    At least two dimensions and two factors are needed, the latter read as in :func:`mig`; each level of a discrete
    factor needs 5 cells. ``seed`` chooses cells, the held-out fifth and the order in which trees try dimensions.

    Range: 0 to 1 each, higher is better. Order (up to ties among trees) and increasing transformations of dimensions do
    not matter. Importances are relative: where informativeness is near 0 the other two say nothing.
    """
    seed, max_cells = integral("seed", seed, minimum=0), integral("max_cells", max_cells, minimum=2 * N_FOLDS)
    factors = as_factors(factors_NF)
    values_NK = as_latents(z_NK, factors, dimensions=2, compared=2)
    if len(values_NK) > max_cells:
        index_M = np.random.default_rng(seed).permutation(len(values_NK))[:max_cells]
        factors = as_factors(pd.DataFrame(factors_NF).iloc[index_M])
        values_NK = values_NK[index_M]
    factors.require_cells(N_FOLDS)
    fits = [_fit(values_NK, factors, f, seed) for f in range(len(factors.names))]
    importance_KF = np.column_stack([importance_K for importance_K, _ in fits])
    informativeness_F = np.array([score for _, score in fits])
    disentanglement_K, completeness_F = _concentration(importance_KF.T), _concentration(importance_KF)
    weight_K = _shares(importance_KF.sum(1))
    return DCIScore(
        disentanglement=float(weight_K @ disentanglement_K),
        completeness=float(completeness_F.mean()),
        informativeness=float(informativeness_F.mean()),
        factors=factors.names,
        importance_KF=importance_KF,
        disentanglement_K=disentanglement_K,
        completeness_F=completeness_F,
        informativeness_F=informativeness_F,
    )


def _shares(values: FloatArray) -> FloatArray:
    total = values.sum(0)
    return np.divide(values, total, out=np.zeros_like(values), where=total > 0)


def _concentration(importance_AB: FloatArray) -> FloatArray:
    """1 − entropy to the base A of the shares in each column; 0 where nothing has importance."""
    concentration_B = 1 - entr(_shares(importance_AB)).sum(0) / np.log(len(importance_AB))
    return np.asarray(np.where(importance_AB.any(0), concentration_B, 0.0).clip(0, 1), dtype=np.float64)


def _fit(z_NK: FloatArray, factors: Factors, f: int, seed: int) -> tuple[FloatArray, float]:
    """Fit one factor: importances of the dimensions, and what they predict out of sample."""
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
    from sklearn.model_selection import KFold, StratifiedKFold
    from sklearn.utils.class_weight import compute_sample_weight

    codes_N, values_N, discrete = factors.codes_NF[:, f], factors.values_NF[:, f], bool(factors.discrete_F[f])
    folds: Any = StratifiedKFold if discrete else KFold
    train, test = next(folds(N_FOLDS, shuffle=True, random_state=seed).split(codes_N, codes_N))
    if discrete:
        model: Any = GradientBoostingClassifier(random_state=seed)
        model.fit(z_NK[train], codes_N[train], sample_weight=compute_sample_weight("balanced", codes_N[train]))
        score = accuracy_above_chance(codes_N[test], model.predict(z_NK[test]))
    else:
        model = GradientBoostingRegressor(random_state=seed)
        predicted_M = model.fit(z_NK[train], values_N[train]).predict(z_NK[test])
        score = max(1.0 - float(((values_N[test] - predicted_M) ** 2).mean() / values_N.var()), 0.0)
    return np.asarray(model.feature_importances_, dtype=np.float64), score
