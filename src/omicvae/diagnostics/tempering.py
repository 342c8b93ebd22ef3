"""Whether posteriors are as wide as they should be: the bound under tempered ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from omicvae.diagnostics.estimate import Estimate
from omicvae.diagnostics.evidence_table import Row, shown
from omicvae.diagnostics.thresholds import ONE_FACT
from omicvae.metrics.labels import Array

#: Powers s of the data that are tried: below 1 posteriors become wider, above 1 narrower.
POWERS = (1 / 256, 1 / 64, 1 / 16, 1 / 4, 1 / 2, 2.0, 4.0)


@dataclass(frozen=True, slots=True, eq=False)
class Tempering:
    """What the β = 1 bound wins, nats per cell, where posteriors are tempered: q_s(z) ∝ p(z) · (q(z) / p(z))^s.

    Under a Gaussian prior, in its units, q_s has the precision 1 + s (1/σ² − 1) and the mean σ_s² s μ/σ². A fit at
    the weight β ends near p(z) · p(x | z)^(1/β), so that s = β leads back to the posterior that the bound asks for;
    dimensions that repeat the prior stay as they are.

    Attributes
    ----------
    change
        Power s → bound(s) − bound(1), paired over cells.
    """

    change: Mapping[float, Estimate]

    @property
    def widened(self) -> Estimate:
        """Best change by wider posteriors; above 0 they are narrower than what they tell is worth."""
        return max((e for s, e in self.change.items() if s < 1), key=lambda e: e.mean)

    @property
    def narrowed(self) -> Estimate:
        """Best change by narrower posteriors; above 0 the decoder could use more than it is told."""
        return max((e for s, e in self.change.items() if s > 1), key=lambda e: e.mean)

    @property
    def excess_kl(self) -> float:
        """Nats that wider posteriors surely save, 0 where they save none."""
        return self.widened.mean if self.widened.low > 0 else 0.0

    @property
    def narrow_enough(self) -> bool:
        """Whether narrower posteriors would surely lose: a draw that tells little does so because more costs more."""
        return self.narrowed.high < 0

    def too_wide(self, rate: float, gain: float) -> bool:
        """Whether narrower posteriors would win more than the whole rate, and then pay: more is used than is told."""
        return self.narrowed.low > max(rate, ONE_FACT) and gain + self.narrowed.mean > 0

    def rows(self, rate: float, gain: float) -> Iterator[Row]:
        """Show what wider posteriors would win; judge what narrower ones would, against the rate and the gain."""
        text = "nats that {} posteriors would win: {}"
        yield shown("posterior too narrow", self.widened.mean, text.format("wider", self.widened))
        yield Row(
            "posterior too wide",
            self.narrowed.mean,
            f"≤ {max(rate, ONE_FACT):.2f}",
            not self.too_wide(rate, gain),
            text.format("narrower", self.narrowed) + "; judged against the rate",
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per power: change, se, low, high (nats per cell)."""
        rows = {s: {"change": e.mean, "se": e.se, "low": e.low, "high": e.high} for s, e in self.change.items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("power")


def tempering(elbo_W: Array, tempered_SW: Mapping[float, Array]) -> Tempering:
    """Compare the bound of cells with that under tempered posteriors, by the same noise.

    Parameters
    ----------
    elbo_W
        Bound at β = 1 of each cell, nats.
    tempered_SW
        Power s → the same with posteriors tempered by s.
    """
    return Tempering({s: Estimate.of(np.asarray(values_W) - elbo_W) for s, values_W in tempered_SW.items()})


def tempered(mean: Array, variance: Array, power: float) -> tuple[Array, Array]:
    """Mean and variance of q_s, in units of the prior; where a posterior is as wide as the prior, it stays."""
    inside = variance < 1
    changed = 1 / (1 + power * (1 / variance - 1)[inside])
    mean_s, variance_s = mean.copy(), variance.copy()
    mean_s[inside], variance_s[inside] = changed * power * (mean / variance)[inside], changed
    return mean_s, variance_s
