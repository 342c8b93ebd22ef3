"""KL weight schedules: functions of the optimiser step t (from 0) with exact endpoints 0 and 1.

A schedule gives the fraction of β in use; update t uses ``schedule(t)``. Each knows the step at which it has
settled at 1.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from omicvae._core import SettingError

SIGMOID_STEEPNESS = 12.0
DEFAULT_CYCLES = 4


@runtime_checkable
class Schedule(Protocol):
    """Anything with a settled step that maps a step to a fraction of β; users may pass their own."""

    @property
    def settled_step(self) -> int:
        """First step from which the fraction no longer changes."""

    def __call__(self, step: int) -> float:
        """Fraction of β at update ``step``."""


def _linear(u: float) -> float:
    return u


def _cosine(u: float) -> float:
    return (1.0 - math.cos(math.pi * u)) / 2.0


def _sigmoid(u: float) -> float:
    def logistic(v: float) -> float:
        return 1.0 / (1.0 + math.exp(-v))

    k = SIGMOID_STEEPNESS
    low, high = logistic(-k / 2), logistic(k / 2)
    return (logistic(k * (u - 0.5)) - low) / (high - low)


@dataclass(frozen=True, slots=True)
class Ramp:
    """shape(min(1, t / w)) over ``w`` warm-up steps; w = 0 means 1 at once.

    Shapes: linear u; cosine (1 − cos πu) / 2; sigmoid (σ(k(u − ½)) − σ(−k/2)) / (σ(k/2) − σ(−k/2)) with k = 12
    (Bowman et al. 2016), rescaled so that it starts at 0 and ends at 1 exactly.
    """

    shape: Callable[[float], float]
    warmup_steps: int

    @property
    def settled_step(self) -> int:
        """First step at the full weight."""
        return self.warmup_steps

    def __call__(self, step: int) -> float:
        """Fraction of β at update ``step``."""
        return 1.0 if step >= self.warmup_steps else self.shape(step / self.warmup_steps)


@dataclass(frozen=True, slots=True)
class Cyclical:
    """min(1, (t mod P) / (R·P)) for ``n_cycles`` periods P, then 1 (Fu et al. 2019).

    Attributes
    ----------
    period
        Steps P of a cycle.
    n_cycles
        Number of cycles; after the last the weight stays at its full value.
    ramp
        Fraction R of a cycle over which the weight rises, in (0, 1).
    """

    period: int
    n_cycles: int
    ramp: float = 0.5

    @property
    def settled_step(self) -> int:
        """Step at which the ramp of the last cycle ends."""
        return (self.n_cycles - 1) * self.period + math.ceil(self.ramp * self.period)

    def __call__(self, step: int) -> float:
        """Fraction of β at update ``step``."""
        if step >= self.settled_step:
            return 1.0
        return min(1.0, (step % self.period) / (self.ramp * self.period))


def _cyclical(
    total_steps: int, warmup_steps: int, n_cycles: int | None, period: int | None, ramp: float = 0.5
) -> Schedule:
    # without a period the cycles share the run, so that the last one ends with it; with one they fill it
    if n_cycles is None:
        n_cycles = DEFAULT_CYCLES if period is None else max(1, total_steps // period)
    period = total_steps // n_cycles if period is None else period
    if period < 2:
        raise SettingError(
            f"A cyclical schedule needs at least 2 steps a cycle: {n_cycles} cycles do not fit into the "
            f"{total_steps} planned steps. Train longer or lower n_cycles."
        )
    return Cyclical(period, n_cycles, ramp)


#: name → (planned steps, steps of the warm-up, cycles or None, steps of a cycle or None, ramp share of one) → schedule
SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    "constant": lambda total, warmup, *cycle: Ramp(_linear, 0),
    "none": lambda total, warmup, *cycle: Ramp(_linear, 0),
    "linear": lambda total, warmup, *cycle: Ramp(_linear, warmup),
    "cosine": lambda total, warmup, *cycle: Ramp(_cosine, warmup),
    "sigmoid": lambda total, warmup, *cycle: Ramp(_sigmoid, warmup),
    "cyclical": _cyclical,
}
WARMUP = ("warmup", "warmup_epochs", "warmup_steps")
CYCLE = ("n_cycles", "period", "ramp")
#: settings of an objective that shape a schedule; the others, and those of the user's own, have none
SHAPED_BY: Mapping[object, tuple[str, ...]] = {
    "linear": WARMUP,
    "cosine": WARMUP,
    "sigmoid": WARMUP,
    "cyclical": CYCLE,
}
