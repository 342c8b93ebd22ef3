"""Intervals between draws, and how many draws they need."""

import math
from dataclasses import dataclass

from torch import Tensor

from omicvae._core import SettingError, real


@dataclass(frozen=True, slots=True)
class DrawInterval:
    """The interval between two of S draws, as many left out below as above.

    A further draw of the same distribution takes each of the S + 1 places among them with equal probability: it falls
    between the l-th smallest and the l-th largest with (S + 1 − 2 l) / (S + 1), l = floor((S + 1) (1 − level) / 2): at
    least the level, and exactly that where nothing is rounded, as with S = 199 and 0.95 (Wilks 1941). Ties, as of
    counts, only add to it.

    Attributes
    ----------
    level
        Between 0 and 1.
    n_draws
        S, at least 2 / (1 − level) − 1.

    Raises
    ------
    SettingError
        On a level outside of that, or too few draws for it.
    """

    level: float
    n_draws: int

    def __post_init__(self) -> None:
        level = real("level", self.level)
        if not 0 < level < 1:
            raise SettingError(f"The level of an interval must lie between 0 and 1, got {level:g}; such as 0.95.")
        object.__setattr__(self, "level", level)
        if self.rank < 1:
            needed = math.ceil(2 / (1 - level) - 1 - 1e-9)
            raise SettingError(
                f"An interval of {level:g} needs at least {needed} draws, got n_samples={self.n_draws}. "
                f"Pass n_samples={10 * (needed + 1) // 2 - 1} or more, which also makes its ends steady."
            )

    @property
    def rank(self) -> int:
        """l, the place of the ends from outside."""
        return math.floor((self.n_draws + 1) * (1 - self.level) / 2 + 1e-9)

    def __call__(self, draws_BSG: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mean, SD (S − 1), lower and upper end over draws, each (B, G)."""
        sorted_BSG = draws_BSG.sort(dim=1).values
        ends = sorted_BSG[:, self.rank - 1], sorted_BSG[:, self.n_draws - self.rank]
        return *mean_and_sd(draws_BSG), *ends


def mean_and_sd(draws_BSG: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and SD (S − 1) over draws, each (B, G)."""
    mean_BG = draws_BSG.mean(1)
    # torch's std along the middle is ten times slower
    square_BG = (draws_BSG - mean_BG[:, None]).square_().sum(1)
    return mean_BG, (square_BG / (draws_BSG.shape[1] - 1)).sqrt()
