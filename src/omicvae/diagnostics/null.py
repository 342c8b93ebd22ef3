"""What the latent buys: the bound against the best decoder without z."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from omicvae.diagnostics._statistics import Estimate
from omicvae.metrics.labels import Array


@dataclass(frozen=True, slots=True)
class GainOverNull:
    """Mean of ELBO_n − log p_null(x_n | c_n), nats; at or below 0 the latent has not paid for itself.

    Attributes
    ----------
    gain
        Of the judged cells.
    train
        Of training cells, None where it is not known.
    """

    gain: Estimate
    train: Estimate | None = None

    @property
    def gap(self) -> float:
        """By how much training cells gain more, nats per cell; NaN where that is not known.

        Taken from gains and not from bounds: a difference in depth between the two sets of cells cancels.
        """
        return float("nan") if self.train is None else self.train.mean - self.gain.mean

    @property
    def gap_margin(self) -> float:
        """Half width of its 95 % interval."""
        return float("nan") if self.train is None else float(np.hypot(self.train.margin, self.gain.margin))

    def to_frame(self) -> pd.DataFrame:
        """One row: gain, se, low, high (nats per cell), n, and the gap to training cells."""
        gain = self.gain
        row = {"gain": gain.mean, "se": gain.se, "low": gain.low, "high": gain.high, "n": gain.n, "gap": self.gap}
        return pd.DataFrame([row])


def gain_over_null(elbo_W: Array, null_loglik_W: Array, train_gain_T: Array | None = None) -> GainOverNull:
    """Gain of the bound over the z-free decoder, its standard error paired over cells.

    Pairing matters: log-likelihoods differ between cells by hundreds of nats (depth), their differences by
    few.

    Parameters
    ----------
    elbo_W
        Bound at β = 1 of each validation cell, nats.
    null_loglik_W
        log p(x | c) of the best decoder without z (same likelihood, library and covariates), nats.
    train_gain_T
        The same difference for training cells.
    """
    gain = Estimate.of(np.asarray(elbo_W, np.float64) - np.asarray(null_loglik_W, np.float64))
    return GainOverNull(gain, None if train_gain_T is None else Estimate.of(train_gain_T))
