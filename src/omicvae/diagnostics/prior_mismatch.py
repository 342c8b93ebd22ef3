"""How far the posteriors of all cells together are from the prior."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from omicvae.diagnostics.evidence import Check, Row
from omicvae.metrics.labels import Array, FloatArray

#: Draws from the mixture of a dimension, spread evenly over its components.
MIXTURE_DRAWS = 1000
#: Components of the mixture of a dimension, taken evenly from all cells.
MIXTURE_CELLS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class PriorMismatch(Check):
    """KL(q(z_j) ‖ p(z_j)) of each dimension, q(z_j) = 1/N Σ_n q(z_j | x_n), in nats; both bounds from below.

    Attributes
    ----------
    gaussian_K
        ½ (v + m² − 1 − log v) with mean m and variance v of q(z_j), in units of the prior: the KL of the Gaussian
        with the same moments. Shifting and scaling z would remove just this much of the rate at no loss.
    mixture_K
        KL of the mixture itself. With N cells of narrow posteriors it holds log(1 / (N·width)) whatever the fit, so
        it is shown and not judged.
    """

    gaussian_K: FloatArray
    mixture_K: FloatArray

    @property
    def excess_kl(self) -> float:
        """Σ_j of ``gaussian_K``, nats per cell."""
        return float(self.gaussian_K.sum())

    def rows(self) -> Iterator[Row]:
        """Distance from the prior, shown; it is judged as part of the excess KL."""
        yield Row(
            "prior mismatch",
            self.excess_kl,
            "nats that shifting and scaling z would save: KL between the Gaussian with the moments of all posteriors "
            f"and the prior, summed over dimensions; of their mixture {self.mixture_K.sum():.3g}",
        )


def prior_mismatch(mean_NK: Array, sd_NK: Array, *, seed: int = 0) -> PriorMismatch:
    """Measure the distance of the aggregate posterior from a Gaussian prior, dimension by dimension.

    Mean and SD of all cells' posteriors come in units of the prior, ``seed`` serves the draws for the mixtures. Not
    for mixture priors: their dimensions depend on each other, and shifting and scaling z saves nothing there.

    References
    ----------
    Hoffman & Johnson (2016), ELBO surgery: yet another way to carve up the variational evidence lower bound.
    """
    mean_NK, sd_NK = np.asarray(mean_NK, dtype=np.float64), np.asarray(sd_NK, dtype=np.float64)
    # expm1 keeps the small KL of an unused dimension exact
    log_variance_K = np.log(mean_NK.var(axis=0) + (sd_NK**2).mean(axis=0))
    gaussian_K = 0.5 * (mean_NK.mean(axis=0) ** 2 + np.expm1(log_variance_K) - log_variance_K)
    rng = np.random.default_rng(seed)
    cells = rng.permutation(len(mean_NK))[:MIXTURE_CELLS]
    mixture_K = np.array([_mixture_kl(mean_NK[cells, j], sd_NK[cells, j], rng) for j in range(mean_NK.shape[1])])
    return PriorMismatch(gaussian_K, mixture_K)


def _mixture_kl(mean_M: FloatArray, sd_M: FloatArray, rng: np.random.Generator) -> float:
    """E_q[log q − log p] of a one-dimensional mixture against N(0, 1), by draws from every component alike."""
    draws = -(-MIXTURE_DRAWS // len(mean_M))
    z_S = (mean_M + sd_M * rng.standard_normal((draws, len(mean_M)))).ravel()
    log_q_SM = -0.5 * ((z_S[:, None] - mean_M) / sd_M) ** 2 - np.log(sd_M)
    log_q_S = logsumexp(log_q_SM, axis=1) - np.log(len(mean_M))
    # log p needs no draws: its mean is a moment
    return float(log_q_S.mean() + 0.5 * (mean_M**2 + sd_M**2).mean())
