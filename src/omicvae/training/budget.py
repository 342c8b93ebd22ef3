"""How long to train and by which optimiser; lengths are in steps, because what a network needs hardly depends on n."""

import math
from dataclasses import dataclass

from omicvae._core import SettingError, check_fields, choose, integral, real
from omicvae.data import minibatch_sizes
from omicvae.training.learning_rate import LEARNING_RATES, LearningRate

OPTIMIZERS = ("adam", "adamw")
DEFAULT_PEAK_RATE = 1e-2
MIN_STEPS, MAX_STEPS = 300, 8000
STEPS_PER_CELL = 40 / 128
#: of the normal prior of the weights that the default decay stands for (``benchmarks/small_data.py``)
WEIGHT_PRECISION = 50.0


@dataclass(frozen=True, slots=True)
class Optimisation:
    """How weights follow gradients, as ``train`` documents it.

    ``"adam"`` (Kingma & Ba 2015) adds the weight decay to the gradient; with ``"adamw"`` (Loshchilov & Hutter 2019)
    weights shrink by rate · decay at each step. The norm of the gradient is Euclidean, over all parameters.
    """

    learning_rate: float = DEFAULT_PEAK_RATE
    schedule: str = "one_cycle"
    optimizer: str = "adam"
    weight_decay: float = 0.0
    gradient_clip_norm: float | None = None
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        check_fields(self, real, "learning_rate")
        check_fields(self, real, "weight_decay", "gradient_clip_norm", minimum=0)
        check_fields(self, real, "ema_decay", minimum=0, maximum=1)
        if self.learning_rate <= 0:
            raise SettingError(f"learning_rate must be a positive number, got {self.learning_rate}.")
        object.__setattr__(self, "schedule", choose("lr_schedule", self.schedule, tuple(LEARNING_RATES)))
        check_fields(self, choose, "optimizer", table=OPTIMIZERS)
        if self.gradient_clip_norm == 0:
            raise SettingError("gradient_clip_norm must be above 0, got 0; None never clips.")
        if self.ema_decay == 1:
            raise SettingError("ema_decay must be below 1, got 1: the average would never move.")


@dataclass(frozen=True, slots=True)
class Budget:
    """Planned epochs of a run, the optimiser steps in each, and the optimiser."""

    max_epochs: int
    steps_per_epoch: int
    optimisation: Optimisation

    @property
    def total_steps(self) -> int:
        """Planned optimiser steps."""
        return self.max_epochs * self.steps_per_epoch

    def learning_rate(self) -> LearningRate:
        """Make the learning rate over this run."""
        o = self.optimisation
        return LEARNING_RATES[o.schedule](o.learning_rate, self.total_steps, self.max_epochs)


def make_budget(
    n_train: int, batch_size: int, optimisation: Optimisation | None = None, *, max_epochs: int | None = None
) -> Budget:
    """Fix the epochs; None for about 40 of 128 cells, within bounds (``benchmarks/defaults.py``).

    Fewer steps than the lower bound leave a network unfinished however few the cells are; more passes over few
    cells overfit, and beyond the upper bound more steps no longer pay.

    Raises
    ------
    SettingError
        On fewer than one epoch.
    """
    steps_per_epoch = len(minibatch_sizes(n_train, batch_size))
    if max_epochs is None:
        steps = round(min(max(MIN_STEPS, STEPS_PER_CELL * n_train), MAX_STEPS))
        max_epochs = math.ceil(steps / steps_per_epoch)
    return Budget(integral("max_epochs", max_epochs, minimum=1), steps_per_epoch, optimisation or Optimisation())


def default_weight_decay(n_train: int) -> float:
    """λ / n with λ = 50: the MAP estimate under weight matrices ~ N(0, 1/λ), since the loss is a mean over cells.

    It matters for hundreds of cells, and fades as they become many.
    """
    return WEIGHT_PRECISION / n_train
