"""How much of the KL buys nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

from omicvae.diagnostics.evidence_table import Row
from omicvae.diagnostics.prior_mismatch import PriorMismatch
from omicvae.diagnostics.tempering import Tempering
from omicvae.diagnostics.thresholds import ONE_FACT

#: Share of what the latent earns (its gain, were the excess avoided) and share of the rate that buy nothing: distance
#: from the prior and posteriors that are too narrow, together. Measured at β = 1: 1 to 7 % of the rate; at β = 0.1 26
#: to 35 % of the rate, and 8 (bulk) to 58 % of the gain.
EXCESS_OF_GAIN = 0.2
EXCESS_OF_RATE = 0.2

#: Share of the rate alone: more is paid for nothing than for telling cells apart. At β = 1e-4 52 to 75 %.
MOST_OF_RATE = 0.5


@dataclass(frozen=True, slots=True)
class ExcessKL:
    """Nats of the rate that a better place and width of the posteriors would save, beside what the latent buys.

    Attributes
    ----------
    rate, gain
        KL, and gain over the null model, nats per cell.
    mismatch, tempering
        The two checks that measure it; None where they were not made.
    """

    rate: float
    gain: float
    mismatch: PriorMismatch | None
    tempering: Tempering | None

    @property
    def from_distance(self) -> float:
        """Nats for lying far from the prior."""
        return 0.0 if self.mismatch is None else self.mismatch.excess_kl

    @property
    def from_narrowness(self) -> float:
        """Nats for posteriors that are too narrow."""
        return 0.0 if self.tempering is None else self.tempering.excess_kl

    @property
    def total(self) -> float:
        """Both, nats per cell."""
        return self.from_distance + self.from_narrowness

    @property
    def too_much(self) -> bool:
        """Whether it is most of the rate, or eats the gain.

        Shifting and scaling z would save the distance from the prior, and wider posteriors what narrow ones cost too
        much.
        """
        total = self.total
        eats = total > EXCESS_OF_RATE * self.rate and total > EXCESS_OF_GAIN * (self.gain + total)
        return total > ONE_FACT and (eats or total > MOST_OF_RATE * self.rate)

    @property
    def too_wide(self) -> bool:
        """Whether posteriors are too wide instead: see :meth:`Tempering.too_wide`."""
        return self.tempering is not None and self.tempering.too_wide(self.rate, self.gain)

    def rows(self) -> Iterator[Row]:
        """Give the sum, judged, and its parts."""
        if self.mismatch is None and self.tempering is None:
            return
        limit = max(EXCESS_OF_RATE * self.rate, EXCESS_OF_GAIN * (self.gain + self.total))
        yield Row(
            "rate that buys nothing",
            self.total,
            f"≤ {max(ONE_FACT, min(limit, MOST_OF_RATE * self.rate)):.2f}",
            not self.too_much,
            "nats that the next two save: lying nearer to the prior, and wider posteriors",
        )
        if self.mismatch is not None:
            yield from self.mismatch.rows()
        if self.tempering is not None:
            yield from self.tempering.rows(self.rate, self.gain)
