"""How long to train and by which optimiser; lengths are in steps, because what a network needs hardly depends on n."""

import math
from dataclasses import dataclass

from omicvae._core import SettingError, choose, integral, real
from omicvae.data import minibatch_sizes
from omicvae.training.learning_rate import LEARNING_RATES, LearningRate

OPTIMIZERS = ("adam", "adamw")
DEFAULT_PEAK_RATE = 1e-2
MIN_STEPS, MAX_STEPS = 300, 8000
STEPS_PER_CELL = 40 / 128
#: of the normal prior of the weights that the default decay stands for (``benchmarks/small_data.py``)
WEIGHT_PRECISION = 7.0


@dataclass(frozen=True, slots=True)
class Optimisation:
    """How weights follow gradients.

    Attributes
    ----------
    learning_rate
        Peak of the one-cycle rate, else where the rate starts.
    schedule
        Key of ``LEARNING_RATES``: ``"one_cycle"``, ``"plateau"`` or ``"constant"``.
    optimizer
        ``"adam"`` (Kingma & Ba 2015; weight decay is added to the gradient) or ``"adamw"`` (Loshchilov & Hutter 2019;
        weights shrink by rate · decay at each step).
    weight_decay
        Strength of the decay, of all parameters.
    gradient_clip_norm
        Gradients with a larger Euclidean norm, over all parameters, are scaled down to it; None never clips.
    ema_decay
        d of the moving average of weights, w̄ ← d w̄ + (1 − d) w at each step, which then is what is validated and
        kept; None for the weights themselves. Early in a run d is at most (1 + t) / (10 + t).

    Raises
    ------
    SettingError
        On impossible or unknown settings.
    """

    learning_rate: float = DEFAULT_PEAK_RATE
    schedule: str = "one_cycle"
    optimizer: str = "adam"
    weight_decay: float = 0.0
    gradient_clip_norm: float | None = None
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        if real("learning_rate", self.learning_rate) <= 0:
            raise SettingError(f"learning_rate must be a positive number, got {self.learning_rate}.")
        choose("lr_schedule", self.schedule, LEARNING_RATES)
        choose("optimizer", self.optimizer, OPTIMIZERS)
        real("weight_decay", self.weight_decay, minimum=0)
        if self.gradient_clip_norm is not None and real("gradient_clip_norm", self.gradient_clip_norm, minimum=0) == 0:
            raise SettingError("gradient_clip_norm must be above 0, got 0; None never clips.")
        if self.ema_decay is not None and real("ema_decay", self.ema_decay, minimum=0, maximum=1) == 1:
            raise SettingError("ema_decay must be below 1, got 1: the average would never move.")


@dataclass(frozen=True, slots=True)
class Budget:
    """Length of a run and its optimiser.

    Attributes
    ----------
    max_epochs, steps_per_epoch
        Planned epochs and optimiser steps in each.
    optimisation
        How weights follow gradients.
    """

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
    """Fix the epochs; None follows the rule chosen by ``benchmarks/defaults.py``.

    Raises
    ------
    SettingError
        On fewer than one epoch.
    """
    steps_per_epoch = len(minibatch_sizes(n_train, batch_size))
    if max_epochs is None:
        max_epochs = math.ceil(_default_steps(n_train) / steps_per_epoch)
    return Budget(integral("max_epochs", max_epochs, minimum=1), steps_per_epoch, optimisation or Optimisation())


def _default_steps(n_train: int) -> int:
    """Planned optimiser steps for ``n_train`` cells: about 40 epochs of 128 cells, within bounds.

    Fewer steps than the lower bound leave a network unfinished however few the cells are; more passes over few
    cells overfit, and beyond the upper bound more steps no longer pay.
    """
    return round(min(max(MIN_STEPS, STEPS_PER_CELL * n_train), MAX_STEPS))


def default_weight_decay(n_train: int) -> float:
    """λ / n with λ = 7: Adam then follows the MAP estimate under weights ~ N(0, 1/λ), the loss being a mean over cells.

    It matters for hundreds of cells, and fades as they become many.
    """
    return WEIGHT_PRECISION / n_train
