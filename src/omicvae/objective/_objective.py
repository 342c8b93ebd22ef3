"""``Objective``: what training minimises, as the user states it, and its form for one planned run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from omicvae._core import SettingError, choose, integral, real
from omicvae.objective.kl import FREE_BITS_MODES
from omicvae.objective.schedules import SCHEDULES, Plan, Schedule

REDUCTIONS = ("sum", "mean")


@dataclass(frozen=True, slots=True)
class Objective:
    """loss = −log p(x | z, c) + w(t) · KL, in nats per cell, with w(t) = β · schedule(t).

    Attributes
    ----------
    beta
        Final weight of the KL (Higgins et al. 2017); 1 is the ELBO.
    schedule
        Key of ``SCHEDULES`` (constant, linear, cosine, sigmoid, cyclical), or an object that maps a step to a
        fraction of β and has a ``settled_step``.
    warmup, warmup_epochs, warmup_steps
        Length of the ramp: as a fraction of the planned run, in epochs or in steps; give at most one.
    n_cycles, period
        Cycles of ``"cyclical"`` and steps of one; by default the cycles share the run.
    free_bits, free_bits_mode
        λ in nats per dimension and how it is applied: ``"dimension"``, ``"cell"`` or ``"total"``.
    reduction
        ``"sum"`` is the ELBO. ``"mean"`` averages the reconstruction over genes and the KL over dimensions, as many
        published models do: with G genes and K dimensions the β in effect is β·G/K. For reproducing such models.

    Raises
    ------
    SettingError
        On impossible or unknown settings.
    """

    beta: float = 1.0
    schedule: str | Schedule = "linear"
    warmup: float | None = None
    warmup_epochs: float | None = None
    warmup_steps: int | None = None
    n_cycles: int = 4
    period: int | None = None
    free_bits: float = 0.0
    free_bits_mode: str = "dimension"
    reduction: str = "sum"

    #: fraction of the run over which the weight rises when no warm-up is given; chosen by held-out ELBO
    DEFAULT_WARMUP = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", real("beta", self.beta, minimum=0))
        object.__setattr__(self, "free_bits", real("free_bits", self.free_bits, minimum=0))
        if isinstance(self.schedule, str):
            choose("schedule", self.schedule, SCHEDULES)
        elif not isinstance(self.schedule, Schedule):
            raise SettingError(
                f"schedule must be one of {', '.join(map(repr, SCHEDULES))} or an object that can be called with a "
                f"step and has a settled_step, got {self.schedule!r}."
            )
        choose("free_bits_mode", self.free_bits_mode, FREE_BITS_MODES)
        choose("reduction", self.reduction, REDUCTIONS)
        given = [n for n in ("warmup", "warmup_epochs", "warmup_steps") if getattr(self, n) is not None]
        if len(given) > 1:
            raise SettingError(f"Give one length of the warm-up, got {' and '.join(given)}.")
        for name in given:
            real(name, getattr(self, name), minimum=0)
        if self.warmup is not None and self.warmup > 1:
            raise SettingError(
                f"warmup is a fraction of the run and must be at most 1, got {self.warmup}; "
                "lengths in epochs or steps go into warmup_epochs or warmup_steps."
            )
        object.__setattr__(self, "n_cycles", integral("n_cycles", self.n_cycles, minimum=1))
        if self.period is not None:
            object.__setattr__(self, "period", integral("period", self.period, minimum=2))

    @classmethod
    def parse(cls, value: "Objective | Mapping[str, Any] | None") -> "Objective":
        """Accept an objective, a mapping of its fields (an R list, say), or None for the defaults."""
        if isinstance(value, Objective):
            return value
        settings: dict[str, Any] = dict(value or {})
        names = [field.name for field in fields(cls)]
        unknown = [name for name in settings if name not in names]
        if unknown:
            raise SettingError(f"Unknown objective setting(s) {unknown}. Known: {', '.join(names)}.")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """Plain mapping of the fields; an own schedule object is shown by its repr."""
        state = asdict(self)
        if not isinstance(self.schedule, str):
            state["schedule"] = repr(self.schedule)
        return state

    def plan(self, total_steps: int, steps_per_epoch: int, *, n_genes: int, n_latent: int) -> "PlannedObjective":
        """Fix the schedule for a run of ``total_steps``.

        Raises
        ------
        SettingError
            If the run would end before the KL weight has reached its final value.
        """
        if self.warmup_steps is not None:
            warmup_steps = integral("warmup_steps", self.warmup_steps, minimum=0)
        elif self.warmup_epochs is not None:
            warmup_steps = round(self.warmup_epochs * steps_per_epoch)
        else:
            fraction = self.DEFAULT_WARMUP if self.warmup is None else self.warmup
            # the last update of the run must still see the full weight
            warmup_steps = min(round(fraction * total_steps), total_steps - 1)
        schedule = self.schedule
        if isinstance(schedule, str):
            schedule = SCHEDULES[schedule](Plan(total_steps, warmup_steps, self.n_cycles, self.period))
        if schedule.settled_step >= total_steps:
            raise SettingError(
                f"The KL weight would reach its final value at step {schedule.settled_step}, but the planned run "
                f"ends after {total_steps} steps ({steps_per_epoch} an epoch). Shorten the warm-up or train longer."
            )
        mean = self.reduction == "mean"
        return PlannedObjective(self, schedule, self.beta * (n_genes / n_latent if mean else 1.0))


@dataclass(frozen=True, slots=True)
class PlannedObjective:
    """An objective with its schedule in steps.

    Attributes
    ----------
    effective_beta
        Final weight of the summed KL against the summed reconstruction; β·G/K under ``reduction="mean"``.
    """

    objective: Objective
    schedule: Schedule
    effective_beta: float

    @property
    def settled_step(self) -> int:
        """First step at the final weight."""
        return self.schedule.settled_step

    def kl_weight(self, step: int) -> float:
        """Weight of the KL at update ``step`` (from 0)."""
        return self.effective_beta * self.schedule(step)
