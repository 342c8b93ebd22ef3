"""How long to train, in optimiser steps: what a network needs hardly depends on how many cells there are."""

import math
from dataclasses import dataclass

from omicvae._core import SettingError, integral
from omicvae.data import minibatch_sizes


@dataclass(frozen=True, slots=True)
class Budget:
    """Length of a run.

    Attributes
    ----------
    max_epochs, steps_per_epoch
        Planned epochs and optimiser steps in each.
    peak_rate
        Peak of the one-cycle learning rate.
    """

    max_epochs: int
    steps_per_epoch: int
    peak_rate: float

    @property
    def total_steps(self) -> int:
        """Planned optimiser steps."""
        return self.max_epochs * self.steps_per_epoch


def plan_budget(
    n_train: int, batch_size: int, *, max_epochs: int | None = None, learning_rate: float | None = None
) -> Budget:
    """Fix epochs and peak rate; what is None follows the rule chosen by ``benchmarks/defaults.py``.

    Raises
    ------
    SettingError
        On a rate that is not positive, or fewer than one epoch.
    """
    steps_per_epoch = len(minibatch_sizes(n_train, batch_size))
    if max_epochs is None:
        max_epochs = math.ceil(default_steps(n_train) / steps_per_epoch)
    rate = DEFAULT_PEAK_RATE if learning_rate is None else float(learning_rate)
    if not (math.isfinite(rate) and rate > 0):
        raise SettingError(f"learning_rate must be a positive number, got {learning_rate}.")
    return Budget(integral("max_epochs", max_epochs, minimum=1), steps_per_epoch, rate)


DEFAULT_PEAK_RATE = 1e-2
MIN_STEPS, MAX_STEPS = 300, 8000
STEPS_PER_CELL = 40 / 128


def default_steps(n_train: int) -> int:
    """Planned optimiser steps for ``n_train`` cells: about 40 epochs of 128 cells, within bounds.

    Fewer steps than the lower bound leave a network unfinished however few the cells are; more passes over few
    cells overfit, and beyond the upper bound more steps no longer pay.
    """
    return round(min(max(MIN_STEPS, STEPS_PER_CELL * n_train), MAX_STEPS))


@dataclass(frozen=True, slots=True)
class OneCycle:
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
    def peak_step(self) -> int:
        """Step from which the rate falls."""
        return round(self.rise * self.total_steps)

    def __call__(self, step: int) -> float:
        """Rate at update ``step`` (from 0)."""
        if step < self.peak_step:
            low, u = self.start_fraction, 1 - step / self.peak_step
        else:
            low, u = self.end_fraction, (step - self.peak_step) / max(1, self.total_steps - self.peak_step)
        return self.peak * (low + (1 - low) * (1 + math.cos(math.pi * min(1.0, u))) / 2)
