"""Disentanglement as a gap: how much better one latent dimension knows a factor than the next best (MIG, SAP)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from omicvae._core.arguments import integral
from omicvae.metrics.factors import (
    N_BINS,
    N_FOLDS,
    Factors,
    accuracy_above_chance,
    as_factors,
    as_latents,
    quantile_codes,
)
from omicvae.metrics.labels import Array, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class GapScore:
    """Gap between the two latent dimensions that know a factor best, for each factor and on average.

    ``score`` is the mean of ``score_F``, the gap of each factor; ``association_KF`` says what each dimension knows of
    each factor, 0 to 1.
    """

    metric: str
    score: float
    factors: tuple[str, ...]
    score_F: FloatArray
    association_KF: FloatArray

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each factor: its gap, and the best and second best dimension with their association."""
        first_F, second_F = np.argsort(-self.association_KF, axis=0, kind="stable")[:2]
        each_F = range(len(self.factors))
        return pd.DataFrame(
            {
                "factor": self.factors,
                self.metric: self.score_F,
                "best_dimension": first_F,
                "best": self.association_KF[first_F, each_F],
                "second_dimension": second_F,
                "second": self.association_KF[second_F, each_F],
            }
        )


def mig(z_NK: Array, factors_NF: Array | pd.DataFrame, *, n_bins: int = N_BINS) -> GapScore:
    """Mutual information gap (Chen et al. 2018).

    MIG = 1/F Σ_f (I(z_(1); v_f) − I(z_(2); v_f)) / H(v_f), where z_(1) and z_(2) are the two dimensions with the
    most mutual information with factor v_f. Information is that of the joint histogram, in nats.

    Each dimension, and each continuous factor, is cut into bins of equal numbers of cells (the usual
    implementation takes bins of equal width): increasing transformations of a dimension then change nothing. The
    histogram's information is too large by about (bins − 1)(levels − 1) / 2N for every dimension; the gap takes
    the difference, in which most of that cancels.

    Range: 0 (no dimension knows more than another) to 1 (one dimension determines each factor and no other knows
    anything of it), higher is better. Order and increasing transformations of dimensions do not matter. Several
    factors in one dimension are not penalised.

    Parameters
    ----------
    z_NK
        Latents, K ≥ 2; a posterior draw says more than posterior means.
    factors_NF
        Known factors, an array or a DataFrame. A column is discrete if it holds no numbers, truth values, or at
        most ``n_bins`` different whole numbers; otherwise it is continuous.
    n_bins
        Bins of a continuous quantity.
    """
    from sklearn.metrics import mutual_info_score

    factors = as_factors(factors_NF, n_bins=n_bins)
    values_NK = as_latents(z_NK, factors, dimensions=2)
    n_bins = integral("n_bins", n_bins)
    codes_NK = np.column_stack([quantile_codes(z_N, n_bins) for z_N in values_NK.T])
    information_KF = [[mutual_info_score(z_N, v_N) for v_N in factors.codes_NF.T] for z_N in codes_NK.T]
    entropy_F = [mutual_info_score(v_N, v_N) for v_N in factors.codes_NF.T]
    return _gap("mig", factors, np.array(information_KF) / entropy_F)


def sap(z_NK: Array, factors_NF: Array | pd.DataFrame, *, seed: int = 0) -> GapScore:
    """Separated attribute predictability (Kumar et al. 2018).

    SAP = 1/F Σ_f (S_(1)f − S_(2)f), the gap between the two dimensions that predict factor f best alone. S_kf is
    the squared correlation for a continuous factor. For a discrete factor with L levels it is the balanced accuracy
    of L − 1 thresholds on the dimension (a decision tree with L leaves, five-fold cross-validated), rescaled from
    [1/L, 1] to [0, 1]: the paper leaves it unscaled, so that two levels could reach no more than 0.5.
    Factors are read as in :func:`mig`; each level of a discrete one needs 5 cells. ``seed`` draws the folds.

    Range: 0 to 1, higher is better. The order of dimensions does not matter, nor do increasing transformations for
    discrete factors; for continuous factors only linear maps change nothing.
    """
    seed = integral("seed", seed, minimum=0)
    factors = as_factors(factors_NF)
    factors.require_cells(N_FOLDS)
    values_NK = as_latents(z_NK, factors, dimensions=2)
    columns = []
    for codes_N, values_N, discrete in zip(factors.codes_NF.T, factors.values_NF.T, factors.discrete_F, strict=True):
        if discrete:
            columns.append([_by_thresholds(z_N, codes_N, seed) for z_N in values_NK.T])
        else:
            columns.append([_squared_correlation(z_N, values_N) for z_N in values_NK.T])
    return _gap("sap", factors, np.array(columns).T)


def _gap(metric: str, factors: Factors, association_KF: FloatArray) -> GapScore:
    ascending_KF = np.sort(association_KF, axis=0)
    score_F = ascending_KF[-1] - ascending_KF[-2]
    return GapScore(metric, float(score_F.mean()), factors.names, score_F, association_KF)


def _squared_correlation(z_N: FloatArray, v_N: FloatArray) -> float:
    (z_variance, covariance), (_, v_variance) = np.cov(z_N, v_N)
    return float(covariance**2 / (z_variance * v_variance)) if z_variance > 0 else 0.0


def _by_thresholds(z_N: FloatArray, codes_N: IntArray, seed: int) -> float:
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=int(codes_N.max()) + 1, class_weight="balanced", random_state=0)
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    return accuracy_above_chance(codes_N, cross_val_predict(tree, z_N[:, None], codes_N, cv=folds))
