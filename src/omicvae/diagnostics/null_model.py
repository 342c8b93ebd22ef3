"""What the latent buys: the bound against the best model without z, the null model."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from omicvae.diagnostics.estimate import Estimate
from omicvae.diagnostics.evidence import Check, Row, not_measured
from omicvae.diagnostics.thresholds import ONE_FACT
from omicvae.metrics.labels import Array

#: Train–validation gap per nat of gain: memorising that costs three times what the latent buys on new cells is
#: overfitting. A gap alone is none: every flexible model has one, and the gain is measured on new cells already.
#: Default fits of small data came to 2.1 (a simulated bulk of 120 samples), wide networks that trained on to 14.
GAP_PER_GAIN = 3.0


@dataclass(frozen=True, slots=True)
class GainOverNull(Check):
    """Mean of ELBO_n − log p_null(x_n | c_n), nats; at or below 0 the latent has not paid for itself.

    Attributes
    ----------
    gain
        Of the judged cells.
    gap
        By how much training cells are better off, nats per cell; NaN where it is not known.
    gap_margin
        Half width of its 95 % interval.
    """

    gain: Estimate
    gap: float = float("nan")
    gap_margin: float = float("nan")

    @property
    def negligible(self) -> bool:
        """Whether the gain may be nothing: within its 95 % interval of 0, or worth less than one yes/no fact."""
        return self.gain.mean <= self.least

    @property
    def least(self) -> float:
        """What a gain must exceed, nats per cell."""
        return max(self.gain.margin, ONE_FACT)

    def memorised(self, bought: float) -> bool:
        """Whether training cells are better off than new ones by over three times what is bought on new ones."""
        return self.gap - self.gap_margin > GAP_PER_GAIN * max(bought, ONE_FACT)

    def rows(self) -> Iterator[Row]:
        """Gain, and the gap to training cells where it is known."""
        if not self.gain.known:
            yield not_measured("gain over null", "no −log p(x | c) of a decoder without z")
            return
        meaning = f"nats that the latent buys over the best decoder without z: {self.gain}"
        yield Row("gain over null", self.gain.mean, meaning, f"> {self.least:.2f}", not self.negligible)
        if self.gap == self.gap:
            limit = GAP_PER_GAIN * max(self.gain.mean, ONE_FACT) + self.gap_margin
            meaning = f"nats that training cells gain more than validation cells (± {self.gap_margin:.2g}, 95 %)"
            yield Row("train–validation gap", self.gap, meaning, f"≤ {limit:.2f}", self.gap <= limit)


def gain_over_null(
    elbo_W: Array | None,
    null_nll_W: Array | None,
    train_gain_T: Array | None = None,
    *,
    bound_gap: float = float("nan"),
) -> GainOverNull:
    """Gain of the bound over the null model, its standard error paired over cells.

    Pairing matters: log-likelihoods differ between cells by hundreds of nats (depth), their differences by
    few. The gap is one of gains too, where those of training cells are known: a difference in depth between the two
    sets of cells cancels. Where they are not, it is ``bound_gap``, by how much their bound was higher in the curves.
    """
    if elbo_W is None or null_nll_W is None:
        return GainOverNull(Estimate())
    elbo_W = np.asarray(elbo_W, dtype=np.float64)
    gain = Estimate.of(elbo_W + null_nll_W)
    if train_gain_T is None:
        return GainOverNull(gain, bound_gap, Estimate.of(elbo_W).margin)
    train = Estimate.of(train_gain_T)
    return GainOverNull(gain, train.mean - gain.mean, float(np.hypot(train.margin, gain.margin)))
