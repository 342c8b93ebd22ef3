"""How much of the KL buys nothing: posteriors far from the prior, or of the wrong width."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from omicvae.diagnostics.estimate import Estimate
from omicvae.diagnostics.evidence import Check, Row
from omicvae.diagnostics.prior_mismatch import PriorMismatch
from omicvae.diagnostics.thresholds import ONE_FACT
from omicvae.metrics.labels import Array

#: Share of what the latent earns (its gain, were the excess avoided) and share of the rate that buy nothing: distance
#: from the prior and posteriors that are too narrow, together. Measured at β = 1: 1 to 7 % of the rate; at β = 0.1 26
#: to 35 % of the rate, and 8 (bulk) to 58 % of the gain.
EXCESS_OF_GAIN = 0.2
EXCESS_OF_RATE = 0.2

#: Share of the rate alone: more is paid for nothing than for telling cells apart. At β = 1e-4 52 to 75 %.
MOST_OF_RATE = 0.5

#: Powers s of the data that posteriors are tempered by: below 1 they become wider, above 1 narrower.
POWERS = (1 / 256, 1 / 64, 1 / 16, 1 / 4, 1 / 2, 2.0, 4.0)


@dataclass(frozen=True, slots=True, eq=False)
class ExcessKL(Check):
    """Nats of the rate that a better place and width of the posteriors would save, beside what the latent buys.

    The width is judged by tempered posteriors, q_s(z) ∝ p(z) · (q(z) / p(z))^s. A fit at the weight β ends near
    p(z) · p(x | z)^(1/β), so that s = β leads back to the posterior that the bound asks for; dimensions that repeat
    the prior stay as they are.

    Attributes
    ----------
    rate, gain
        KL, and gain over the null model, nats per cell.
    mismatch
        Distance from the prior; None where it was not measured.
    change
        Power s → what the β = 1 bound wins by posteriors tempered by s, nats, paired over cells; empty where it was
        not measured.
    """

    rate: float
    gain: float
    mismatch: PriorMismatch | None
    change: Mapping[float, Estimate]

    @property
    def widened(self) -> Estimate:
        """Best change by wider posteriors; above 0 they are narrower than what they tell is worth."""
        return max((e for s, e in self.change.items() if s < 1), key=lambda e: e.mean, default=Estimate())

    @property
    def narrowed(self) -> Estimate:
        """Best change by narrower posteriors; above 0 the decoder could use more than it is told."""
        return max((e for s, e in self.change.items() if s > 1), key=lambda e: e.mean, default=Estimate())

    @property
    def from_distance(self) -> float:
        """Nats for lying far from the prior, which shifting and scaling z would save; the rate at most."""
        return 0.0 if self.mismatch is None else min(self.mismatch.excess_kl, self.rate)

    @property
    def from_narrowness(self) -> float:
        """Nats that wider posteriors surely save, 0 where they save none."""
        return self.widened.mean if self.widened.low > 0 else 0.0

    @property
    def total(self) -> float:
        """Both, nats per cell."""
        return self.from_distance + self.from_narrowness

    @property
    def limit(self) -> float:
        """What the total may be: most of the rate is too much, and so is a part of it that eats the gain; nats."""
        eats = np.maximum(EXCESS_OF_RATE * self.rate, EXCESS_OF_GAIN * (self.gain + self.total))
        return float(max(ONE_FACT, np.fmin(eats, MOST_OF_RATE * self.rate)))  # the latter where the gain is unknown

    @property
    def too_much(self) -> bool:
        """Whether the total is above its limit."""
        return self.total > self.limit

    @property
    def narrow_enough(self) -> bool:
        """Whether narrower posteriors would surely lose: a draw that tells little does so because more costs more."""
        return self.narrowed.high < 0

    @property
    def too_wide(self) -> bool:
        """Whether narrower posteriors would win more than the whole rate, and then pay: more is used than is told."""
        return self.narrowed.low > max(self.rate, ONE_FACT) and self.gain + self.narrowed.mean > 0

    def rows(self) -> Iterator[Row]:
        """Judge the sum, show its parts, and judge what narrower posteriors would win."""
        if self.mismatch is None and not self.change:
            return
        meaning = "nats that the next two save: lying nearer to the prior, and wider posteriors"
        yield Row("rate that buys nothing", self.total, meaning, f"≤ {self.limit:.2f}", not self.too_much)
        if self.mismatch is not None:
            yield from self.mismatch.rows()
        if self.change:
            meaning = f"nats that wider posteriors would win: {self.widened}"
            yield Row("posterior too narrow", self.widened.mean, meaning)
            meaning = f"nats that narrower posteriors would win: {self.narrowed}; judged against the rate"
            threshold = f"≤ {max(self.rate, ONE_FACT):.2f}"
            yield Row("posterior too wide", self.narrowed.mean, meaning, threshold, not self.too_wide)


def tempered(mean: Array, variance: Array, power: float) -> tuple[Array, Array]:
    """Mean σ_s² s μ/σ² and variance 1 / (1 + s (1/σ² − 1)) of q_s, in units of a Gaussian prior.

    Where a posterior is as wide as the prior, it stays.
    """
    inside = variance < 1
    changed = 1 / (1 + power * (1 / variance - 1)[inside])
    mean_s, variance_s = mean.copy(), variance.copy()
    mean_s[inside], variance_s[inside] = changed * power * (mean / variance)[inside], changed
    return mean_s, variance_s


def excess_kl(
    rate: float, gain: float, mismatch: PriorMismatch | None, elbo_W: Array | None, tempered_SW: Mapping[float, Array]
) -> ExcessKL:
    """Pair bounds of cells under tempered posteriors, ``tempered_SW`` by power, with their own by the same noise."""
    changes = {} if elbo_W is None else {s: Estimate.of(bound_W - elbo_W) for s, bound_W in tempered_SW.items()}
    return ExcessKL(rate, gain, mismatch, changes)


def tempered_bounds(
    posterior: tuple[Array, Array, Array], prior: tuple[Array, Array], nll: Callable[[Array], Array]
) -> dict[float, Array]:
    """Power → β = 1 bound under posteriors tempered by it, nats, (W,), all with the noise of one draw.

    Parameters
    ----------
    posterior
        Its mean, SD and draw, each (W, K).
    prior
        Mean and SD of a Gaussian p(z | c), (W, K) or what broadcasts to it.
    nll
        z (W, K) → −log p(x | z, c) of each cell, nats, (W,).
    """
    mean_WK, sd_WK, z_WK = (np.asarray(values, dtype=np.float64) for values in posterior)
    location_WK, scale_WK = (np.asarray(values, dtype=np.float64) for values in prior)
    noise_WK, unit_WK = (z_WK - mean_WK) / sd_WK, (mean_WK - location_WK) / scale_WK
    bounds: dict[float, Array] = {}
    for power in POWERS:
        mean_s, variance_s = tempered(unit_WK, (sd_WK / scale_WK) ** 2, power)
        kl_W = 0.5 * (variance_s + mean_s**2 - 1 - np.log(variance_s)).sum(axis=1)
        bounds[power] = -kl_W - nll(location_WK + scale_WK * (mean_s + np.sqrt(variance_s) * noise_WK))
    return bounds
