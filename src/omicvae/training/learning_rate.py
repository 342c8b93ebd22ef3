"""Learning rate over a run, as a function of the optimiser step."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass


class LearningRate(ABC):
    """Learning rate at every step."""

    @property
    def settled_step(self) -> int:
        """Step from which validation losses say what the weights are worth: from here the best ones are kept."""
        return 0

    @abstractmethod
    def __call__(self, step: int) -> float:
        """Rate at update ``step`` (from 0)."""

    def observe(self, loss: float) -> None:  # noqa: B027  # most learn nothing
        """Learn the validation objective of an epoch that counts, nats per cell."""

    def state(self) -> dict[str, float]:
        """Attributes that a resumed run needs."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Go on from :meth:`state`."""
        for name, value in state.items():
            setattr(self, name, value)


@dataclass(frozen=True, slots=True)
class OneCycle(LearningRate):
    """One-cycle learning rate (Smith & Topin 2018): cosine up to the peak, cosine down to almost 0.

    Attributes
    ----------
    peak, total_steps
        Highest rate; length of the run.
    rise
        Fraction of the run spent rising.
    """

    peak: float
    total_steps: int
    rise: float = 0.25
    start_fraction: float = 0.04
    end_fraction: float = 1e-3

    @property
    def settled_step(self) -> int:
        """Step from which the rate falls."""
        return round(self.rise * self.total_steps)

    def __call__(self, step: int) -> float:
        """Rate at update ``step`` (from 0)."""
        if step < self.settled_step:
            low, u = self.start_fraction, 1 - step / self.settled_step
        else:
            low, u = self.end_fraction, (step - self.settled_step) / max(1, self.total_steps - self.settled_step)
        return self.peak * (low + (1 - low) * (1 + math.cos(math.pi * min(1.0, u))) / 2)


@dataclass
class Plateau(LearningRate):
    """A rate that falls to three tenths whenever the validation objective has not improved for ``patience`` epochs."""

    rate: float
    patience: float = math.inf
    best: float = math.inf
    waited: int = 0

    FACTOR = 0.3

    def __call__(self, step: int) -> float:
        """Return the present rate, whatever ``step``."""
        return self.rate

    def observe(self, loss: float) -> None:
        """Compare the epoch with the best so far; a loss that is not finite is no improvement."""
        self.best, self.waited = (loss, 0) if loss < self.best else (self.best, self.waited + 1)
        if self.waited >= self.patience:
            self.rate, self.waited = self.rate * self.FACTOR, 0

    def state(self) -> dict[str, float]:
        """Return the present rate, the best loss, and the epochs since."""
        return {"rate": self.rate, "best": self.best, "waited": self.waited}


#: name → (rate, planned steps, planned epochs) → rate over the run
LEARNING_RATES: Mapping[str, Callable[[float, int, int], LearningRate]] = {
    "one_cycle": lambda rate, steps, epochs: OneCycle(rate, steps),
    "plateau": lambda rate, steps, epochs: Plateau(rate, max(5, math.ceil(0.05 * epochs))),
    "constant": lambda rate, steps, epochs: Plateau(rate),
}
