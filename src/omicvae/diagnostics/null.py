"""What the latent buys: the bound against the best decoder without z."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from omicvae.diagnostics._statistics import Estimate
from omicvae.metrics.labels import Array


@dataclass(frozen=True, slots=True)
class GainOverNull:
    """Mean of ELBO_n − log p_null(x_n | c_n), nats; at or below 0 the latent has not paid for itself."""

    gain: Estimate

    def to_frame(self) -> pd.DataFrame:
        """One row: gain, se, low, high (nats per cell), n."""
        gain = self.gain
        row = {"gain": gain.mean, "se": gain.se, "low": gain.low, "high": gain.high, "n": gain.n}
        return pd.DataFrame([row])


def gain_over_null(elbo_W: Array, null_loglik_W: Array) -> GainOverNull:
    """Gain of the bound over the z-free decoder, its standard error paired over cells.

    Pairing matters: log-likelihoods differ between cells by hundreds of nats (depth), their differences by
    few.

    Parameters
    ----------
    elbo_W
        Bound at β = 1 of each validation cell, nats.
    null_loglik_W
        log p(x | c) of the best decoder without z (same likelihood, library and covariates), nats.
    """
    return GainOverNull(Estimate.of(np.asarray(elbo_W, np.float64) - np.asarray(null_loglik_W, np.float64)))
