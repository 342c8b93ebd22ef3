"""A moderated t-test of replicates that were measured with known, unequal precision."""

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from omicvae.metrics.labels import FloatArray

#: genes in the window of the trend of variances, and the share of all genes that it has at least
_WINDOW, _WINDOW_SHARE = 50, 0.1
#: variance between replicates, at least, as a share of a gene's sampling variance; variance of a gene, of the median
_LEAST_BETWEEN, _LEAST_VARIANCE = 0.1, 1e-5


@dataclass(frozen=True, slots=True)
class ModeratedT:
    """Effect of each gene with its standard error, on ``df`` degrees of freedom."""

    effect_G: FloatArray
    error_G: FloatArray
    df: float

    @property
    def p_G(self) -> FloatArray:
        """Two-sided p-values; 1 for genes whose estimates do not vary at all, of which nothing is known."""
        t_G = np.divide(self.effect_G, self.error_G, out=np.zeros_like(self.effect_G), where=self.error_G > 0)
        p_G: FloatArray = 2 * stats.t.sf(np.abs(t_G), self.df)
        return p_G

    def interval(self, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Confidence limits."""
        half_G = stats.t.ppf(0.5 + level / 2, self.df) * self.error_G
        return self.effect_G - half_G, self.effect_G + half_G


def moderated_t(
    estimate_UG: FloatArray, variance_UG: FloatArray, design_UP: FloatArray, level_G: FloatArray
) -> ModeratedT:
    """Test the last column of a design over U units, with variances between them shared by the genes.

    y_ug = x_u·b_g + ε, Var ε = σ²_g (v_ug + τ²_g): v is what sampling of cells or molecules leaves, τ² the variance
    between replicates as a trend over the genes' levels, σ² a gene's own deviation from both, for which the residual
    variance s²_g on d degrees of freedom is shrunk: (d₀ s₀² + d s²_g) / (d₀ + d), d₀ and s₀ by moments of log s²
    (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3:3; weights as of voom, Law et al. 2014, Genome Biol. 15:R29).

    Parameters
    ----------
    estimate_UG, variance_UG
        Of each unit and gene; the variance above 0.
    design_UP
        At least one row more than columns.
    level_G
        How much of each gene there is, whatever the estimates are of: the mean of differences would be the effect.
    """
    df = design_UP.shape[0] - design_UP.shape[1]
    coefficients_PG = np.linalg.lstsq(design_UP, estimate_UG, rcond=None)[0]
    residual_G = ((estimate_UG - design_UP @ coefficients_PG) ** 2).sum(0) / df
    between_G = _between(level_G, residual_G, variance_UG.mean(0))
    weight_UG = 1 / (variance_UG + between_G)
    inverse_GPP = np.linalg.inv(np.einsum("up,ug,uq->gpq", design_UP, weight_UG, design_UP))
    b_GP = np.einsum("gpq,uq,ug->gp", inverse_GPP, design_UP, weight_UG * estimate_UG)
    scale_G = (weight_UG * (estimate_UG - design_UP @ b_GP.T) ** 2).sum(0) / df
    prior_df, prior = _prior_of_variances(scale_G, df)
    total = min(prior_df + df, df * len(scale_G))  # no more than all genes have together
    if np.isinf(prior_df):
        shrunk_G = np.full_like(scale_G, prior)
    else:
        shrunk_G = (prior_df * prior + df * scale_G) / (prior_df + df)
    return ModeratedT(b_GP[:, -1], np.sqrt(inverse_GPP[:, -1, -1] * shrunk_G), float(total))


def _between(level_G: FloatArray, residual_G: FloatArray, sampling_G: FloatArray) -> FloatArray:
    """Variance between replicates: residual less sampling variance, averaged over genes of similar level."""
    n = len(level_G)
    width, order = int(max(_WINDOW, n * _WINDOW_SHARE)), np.argsort(level_G, kind="stable")
    weight_G = 1 / (sampling_G + np.median(residual_G) + np.finfo(float).tiny) ** 2

    def smooth(values_G: FloatArray) -> FloatArray:
        if n < 2 * width:
            return np.full(n, values_G.mean())
        padded = np.pad(values_G[order], width // 2, mode="reflect")
        averaged_G = np.empty(n)
        averaged_G[order] = np.convolve(padded, np.full(width, 1 / width), mode="same")[width // 2 :][:n]
        return averaged_G

    between_G = smooth(weight_G * (residual_G - sampling_G)) / smooth(weight_G)
    return np.maximum(between_G, _LEAST_BETWEEN * sampling_G)


def _prior_of_variances(variance_G: FloatArray, df: int) -> tuple[float, float]:
    """d₀ and s₀² of the scaled inverse χ² that the genes' variances come from; infinite where they are all alike."""
    least = max(_LEAST_VARIANCE * float(np.median(variance_G)), np.finfo(float).tiny)
    if len(variance_G) < 3:
        return 0.0, least
    log_G = np.log(np.maximum(variance_G, least)) - digamma(df / 2) + np.log(df / 2)
    excess = log_G.var(ddof=1) - polygamma(1, df / 2)
    if excess <= 0:
        return np.inf, float(np.exp(log_G.mean()))
    half = np.exp(brentq(lambda u: polygamma(1, np.exp(u)) - excess, -20, 40))
    return 2 * half, float(np.exp(log_G.mean() + digamma(half) - np.log(half)))
