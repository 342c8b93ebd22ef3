"""How much the encoder writes into the latent: rate and active units."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from omicvae.diagnostics.estimate import Estimate
from omicvae.diagnostics.evidence import Check, Row
from omicvae.diagnostics.thresholds import ONE_FACT, SILENT_RATE
from omicvae.metrics.labels import Array, FloatArray

#: Variance of the means above which a dimension is active (Burda et al. 2016).
ACTIVE_VARIANCE = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class LatentUsage(Check):
    """Rate and activity of each latent dimension.

    Attributes
    ----------
    rate
        Mean over cells of Σ_j KL_j, nats per cell: an upper bound of the information about a cell in its
        latent.
    kl_K
        Mean KL of each dimension, nats.
    variance_K
        Var_n(E[z_j | x_n]), in units of the prior's variance.
    """

    rate: Estimate
    kl_K: FloatArray
    variance_K: FloatArray

    @property
    def active_K(self) -> Array:
        """Which dimensions are active: Var_n(E[z_j | x_n]) > 0.01 (Burda et al. 2016)."""
        return self.variance_K > ACTIVE_VARIANCE

    @property
    def n_active(self) -> int:
        """Number of active dimensions."""
        return int(self.active_K.sum())

    @property
    def n_latent(self) -> int:
        """Number of dimensions, K."""
        return len(self.kl_K)

    @property
    def silent(self) -> bool:
        """Whether the encoder says nothing: no active unit, and draws that cannot be told from the prior's."""
        return self.n_active == 0 and self.rate.mean < SILENT_RATE

    def rows(self) -> Iterator[Row]:
        """Rate and active units."""
        rate, unused = self.rate.mean, self.n_latent - self.n_active
        meaning = "nats per cell that the latent holds at most; below log 2 it cannot tell two groups apart"
        yield Row("rate (KL)", rate, meaning, f"≥ {ONE_FACT:.2f}", rate >= ONE_FACT)
        meaning = f"of {self.n_latent} dimensions with variance of the mean above {ACTIVE_VARIANCE:g}"
        meaning += f"; {unused} unused, which alone is no fault" if unused and self.n_active else ""
        yield Row("active units", self.n_active, meaning, "≥ 1", self.n_active >= 1)


def latent_usage(mean_NK: Array, kl_WK: Array) -> LatentUsage:
    """Measure rate and active units.

    ``mean_NK`` are posterior means of all cells, less the prior's mean and in units of its SD, ``kl_WK`` the raw KL
    of validation cells, nats.

    References
    ----------
    Burda, Grosse & Salakhutdinov (2016), Importance weighted autoencoders.
    """
    kl_WK, mean_NK = np.asarray(kl_WK, dtype=np.float64), np.asarray(mean_NK, dtype=np.float64)
    return LatentUsage(Estimate.of(kl_WK.sum(axis=1)), kl_WK.mean(axis=0), mean_NK.var(axis=0))
