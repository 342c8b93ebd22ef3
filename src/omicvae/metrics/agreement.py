"""Agreement of two vectors of effects: counterfactual predictions or differential expression, sign and significance."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from omicvae._core.arguments import real
from omicvae._core.arrays import unmasked
from omicvae._core.errors import DataError
from omicvae.metrics.labels import Array, FloatArray
from omicvae.metrics.results import OneRow


@dataclass(frozen=True, slots=True)
class EffectAgreement(OneRow):
    """Agreement of estimated with reference effects over genes; higher is better throughout.

    A gene is a hit if it is called in both vectors with the same sign.

    Attributes
    ----------
    precision, recall, f1
        Hits / genes called in the estimate, hits / genes called in the reference, and their harmonic mean, 0 to 1; NaN
        if none is called. 1 − precision is the share of false calls, a wrong sign counted as false.
    sign_agreement
        Share of the genes called in the reference whose estimate has the same sign, called or not, 0 to 1, about ½ by
        chance; an estimate of 0 does not agree.
    rank_correlation
        Spearman correlation of the effects over all genes, −1 to 1; NaN if one vector is constant.
    n_hits, n_called, n_reference, n_genes
        Hits, genes called in the estimate and in the reference, and all genes.
    """

    precision: float
    recall: float
    f1: float
    sign_agreement: float
    rank_correlation: float
    n_hits: int
    n_called: int
    n_reference: int
    n_genes: int


def benjamini_hochberg(p_G: Array) -> FloatArray:
    """Benjamini–Hochberg adjusted p-values (Benjamini & Hochberg 1995).

    q_(i) = min_{j ≥ i} min(1, G p_(j) / j) for sorted p. Calling q ≤ α keeps the expected share of false calls at or
    below α if tests are independent or positively dependent. NaN (a gene that was not tested) stays NaN and does not
    count in G.

    Range: 0 to 1.
    """
    from scipy.stats import false_discovery_control

    p_G = np.asarray(unmasked("p-values", p_G), dtype=np.float64)
    tested_G = ~np.isnan(p_G)
    if p_G.ndim != 1 or not ((p_G[tested_G] >= 0) & (p_G[tested_G] <= 1)).all():
        raise DataError("p-values must be a vector of numbers from 0 to 1, NaN where a gene was not tested.")
    q_G = np.full(p_G.shape, np.nan)
    q_G[tested_G] = false_discovery_control(p_G[tested_G])
    return q_G


def effect_agreement(
    effect_G: Array,
    reference_G: Array,
    *,
    p_G: Array | None = None,
    reference_p_G: Array | None = None,
    fdr: float = 0.05,
) -> EffectAgreement:
    """Compare effects (log fold changes, counterfactual minus factual expression) with a reference, signs included.

    Genes are called at Benjamini–Hochberg q ≤ ``fdr`` in each vector apart. Two-sided tests whose calls take the sign
    of the estimate keep the expected share of calls that are wrong, sign errors included, at ``fdr`` too (Benjamini &
    Yekutieli 2005); against a known truth, 1 − precision estimates that share.

    Range: each its own, see :class:`EffectAgreement`; higher is better.

    Parameters
    ----------
    effect_G, reference_G
        Estimated and reference effect of each gene, in the same order; 0 is no effect.
    p_G, reference_p_G
        Two-sided p-values of either, NaN where a gene was not tested. Without p-values every effect other than 0 counts
        as called: pass none for a known truth, or set effects that were not called to 0.
    fdr
        False discovery rate of the calls, 0 to 1.
    """
    fdr = real("fdr", fdr, minimum=0.0, maximum=1.0)
    effect_G, reference_G = _effects(effect_G, "effects"), _effects(reference_G, "reference effects")
    if len(effect_G) != len(reference_G):
        raise DataError(f"Both vectors must be of the same genes, got {len(effect_G)} and {len(reference_G)} effects.")
    called_G, reference_called_G = _called(effect_G, p_G, fdr), _called(reference_G, reference_p_G, fdr)
    same_sign_G = np.sign(effect_G) * np.sign(reference_G) > 0
    n_hits = int((called_G & reference_called_G & same_sign_G).sum())
    n_called, n_reference = int(called_G.sum()), int(reference_called_G.sum())
    return EffectAgreement(
        precision=_share(n_hits, n_called),
        recall=_share(n_hits, n_reference),
        f1=_share(2 * n_hits, n_called + n_reference),
        sign_agreement=_share(int((same_sign_G & reference_called_G).sum()), n_reference),
        rank_correlation=_spearman(effect_G, reference_G),
        n_hits=n_hits,
        n_called=n_called,
        n_reference=n_reference,
        n_genes=len(effect_G),
    )


def _effects(values: Array, name: str) -> FloatArray:
    values_G = np.asarray(unmasked(name, values), dtype=np.float64)
    if values_G.ndim != 1 or len(values_G) == 0 or not np.isfinite(values_G).all():
        raise DataError(f"The {name} must be a vector of finite numbers, one a gene; got shape {values_G.shape}.")
    return values_G


def _called(effect_G: FloatArray, p_G: Array | None, fdr: float) -> npt.NDArray[np.bool_]:
    if p_G is None:
        return effect_G != 0
    q_G = benjamini_hochberg(p_G)
    if q_G.shape != effect_G.shape:
        raise DataError(f"There must be a p-value for each of the {len(effect_G)} effects, got {len(q_G)}.")
    return np.asarray(q_G <= fdr)  # False where NaN


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _spearman(first_G: FloatArray, second_G: FloatArray) -> float:
    from scipy.stats import spearmanr

    if 0 in (np.ptp(first_G), np.ptp(second_G)):
        return float("nan")
    return float(spearmanr(first_G, second_G).statistic)
