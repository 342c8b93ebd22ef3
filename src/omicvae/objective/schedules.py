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


@dataclass(frozen=True, slots=True)
class RunSteps:
    """The steps that a schedule may use: what the objective asks for, resolved against the planned run."""

    total_steps: int
    warmup_steps: int
    n_cycles: int
    period: int | None


def _constant(steps: RunSteps) -> Schedule:
    return Ramp(_linear, 0)


def _ramp(shape: Callable[[float], float]) -> Callable[[RunSteps], Schedule]:
    return lambda steps: Ramp(shape, steps.warmup_steps)


def _cyclical(steps: RunSteps) -> Schedule:
    # without a period the cycles share the run, so that the last one ends with it
    period = steps.total_steps // steps.n_cycles if steps.period is None else steps.period
    if period < 2:
        raise SettingError(
            f"A cyclical schedule needs at least 2 steps a cycle: {steps.n_cycles} cycles do not fit into the "
            f"{steps.total_steps} planned steps. Train longer or lower n_cycles."
        )
    return Cyclical(period, steps.n_cycles)


SCHEDULES: Mapping[str, Callable[[RunSteps], Schedule]] = {
    "constant": _constant,
    "none": _constant,
    "linear": _ramp(_linear),
    "cosine": _ramp(_cosine),
    "sigmoid": _ramp(_sigmoid),
    "cyclical": _cyclical,
}
