"""A mean over cells with its uncertainty."""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from omicvae.metrics.labels import Array


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean over n cells, its standard error, and the 95 % interval by Student's t.

    With few cells the t quantile is wide (2.4 at 8 cells, infinite SE at one): small validation sets then
    decide nothing by chance. The default is an unknown mean: no comparison with NaN holds.
    """

    mean: float = float("nan")
    se: float = float("nan")
    n: int = 0

    @classmethod
    def of(cls, values_W: Array) -> "Estimate":
        """Estimate from one value a cell."""
        values_W = np.asarray(values_W, dtype=np.float64)
        n = len(values_W)
        se = float(values_W.std(ddof=1) / np.sqrt(n)) if n > 1 else float("inf")
        return cls(float(values_W.mean()), se, n)

    @property
    def known(self) -> bool:
        """Whether any cell was measured."""
        return self.n > 0

    @property
    def margin(self) -> float:
        """Half width of the 95 % interval."""
        return float(stdtrit(self.n - 1, 0.975)) * self.se if self.n > 1 else float("inf")

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.mean - self.margin

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.mean + self.margin

    def __str__(self) -> str:
        return f"{self.mean:.3g} ± {self.se:.2g} (SE, n = {self.n})"
