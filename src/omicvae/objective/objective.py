"""``Objective``: what training minimises, as the user states it, and its form for one planned run."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from omicvae._core import SettingError, check_fields, choose, integral, plain, real
from omicvae.objective.adversarial import Adversary, Discriminator, LatentAdversary, Phase
from omicvae.objective.kl import FREE_BITS_MODES, Capacity, KLControl, TargetRate, WeightedKL
from omicvae.objective.schedules import CYCLE, SCHEDULES, SHAPED_BY, WARMUP, Schedule
from omicvae.objective.settings import Settings

REDUCTIONS = ("sum", "mean")
#: fields of an objective that take an adversary
ADVERSARIES: Mapping[str, type[Adversary]] = {"adversary": LatentAdversary, "discriminator": Discriminator}

#: of a run that goes on: the weight is final from its first step
HELD: Mapping[str, Any] = {"schedule": "constant", **dict.fromkeys((*WARMUP, "n_cycles", "period")), "ramp": 0.5}


@dataclass(frozen=True, slots=True)
class Objective(Settings):
    """loss = −log p(x | z, c) + w(t) · KL + further terms, in nats per cell, with w(t) = β · schedule(t).

    Attributes
    ----------
    beta
        Final weight of the KL (Higgins et al. 2017); 1 is the ELBO.
    schedule
        Key of ``SCHEDULES`` (constant, linear, cosine, sigmoid, cyclical), or an object that maps a step to a
        fraction of β and has a ``settled_step``.
    warmup, warmup_epochs, warmup_steps
        Length of the ramp: as a fraction of the planned run, in epochs or in steps; give at most one.
    n_cycles, period, ramp
        Cycles of ``"cyclical"``, steps of one, and the share R of it, in (0, 1), over which the weight rises. Four
        cycles share the run by default; with a period as many as fit fill it.
    free_bits, free_bits_mode
        λ in nats per dimension and how it is applied: ``"dimension"``, ``"cell"`` or ``"total"``.
    capacity, capacity_weight
        C in nats per cell and γ: the KL's part is γ · |KL − C · schedule(t)| (Burgess et al. 2018).
    target_rate
        R in nats per cell: a controller moves β, from ``beta`` on, so that the KL holds R (Shao et al. 2020).
    total_correlation
        Weight of the total correlation beside the KL (Chen et al. 2018: their β less 1); rises by the schedule.
    adversary
        :class:`LatentAdversary` or a mapping of its settings: covariates to remove from z.
    discriminator
        :class:`Discriminator` or a mapping of its settings: the second phase of a VAE-GAN.
    reduction
        ``"sum"`` is the ELBO. ``"mean"`` averages the reconstruction over genes and the KL over dimensions, as many
        published models do: with G genes and K dimensions the β in effect is β·G/K. For reproducing such models.

    Raises
    ------
    SettingError
        On impossible or unknown settings, and those that would have no effect beside the others. Free bits, capacity
        and target rate exclude one another.
    """

    beta: float = 1.0
    schedule: str | Schedule = "linear"
    warmup: float | None = None
    warmup_epochs: float | None = None
    warmup_steps: int | None = None
    n_cycles: int | None = None
    period: int | None = None
    ramp: float = 0.5
    free_bits: float = 0.0
    free_bits_mode: str = "dimension"
    capacity: float | None = None
    capacity_weight: float = 100.0
    target_rate: float | None = None
    total_correlation: float = 0.0
    adversary: LatentAdversary | Mapping[str, Any] | None = None
    discriminator: Discriminator | Mapping[str, Any] | None = None
    reduction: str = "sum"

    #: fraction of the run over which the weight rises when no warm-up is given; chosen by held-out ELBO
    DEFAULT_WARMUP = 0.1

    def __post_init__(self) -> None:
        numbers = ("beta", "free_bits", "capacity", "capacity_weight", "target_rate", "total_correlation")
        check_fields(self, real, *numbers, minimum=0)
        check_fields(self, integral, "n_cycles", minimum=1)
        check_fields(self, integral, "period", minimum=2)
        check_fields(self, real, "ramp")
        object.__setattr__(self, "schedule", plain(self.schedule))
        if isinstance(self.schedule, str):
            check_fields(self, choose, "schedule", table=tuple(SCHEDULES))
        elif not isinstance(self.schedule, Schedule):
            raise SettingError(
                f"schedule must be one of {', '.join(map(repr, SCHEDULES))} or an object that can be called with a "
                f"step and has a settled_step, got {self.schedule!r}."
            )
        check_fields(self, choose, "free_bits_mode", table=tuple(FREE_BITS_MODES))
        check_fields(self, choose, "reduction", table=REDUCTIONS)
        self.check_length("warmup", "length of the warm-up")
        if self.warmup is not None and self.warmup > 1:
            raise SettingError(
                f"warmup is a fraction of the run and must be at most 1, got {self.warmup}; "
                "lengths in epochs or steps go into warmup_epochs or warmup_steps."
            )
        if not 0 < self.ramp < 1:
            raise SettingError(f"ramp is the share of a cycle and must lie between 0 and 1, got {self.ramp}.")
        self._check_kl_control()
        self._check_effects()
        for name, kind in ADVERSARIES.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, kind.parse(getattr(self, name)))

    def _check_kl_control(self) -> None:
        if self.target_rate == 0:
            raise SettingError(
                "target_rate must be above 0 nats per cell, got 0; a latent without a rate is no latent."
            )
        controls = {"free_bits": self.free_bits > 0, "capacity": self.capacity is not None}
        controls["target_rate"] = self.target_rate is not None
        used = [name for name, on in controls.items() if on]
        if len(used) > 1:
            raise SettingError(f"{' and '.join(used)} are different ways to control the KL; give one of them.")
        if used and used != ["free_bits"] and self.reduction == "mean":
            raise SettingError(f'{used[0]} is in nats per cell and does not go with reduction="mean".')
        if self.capacity is not None and self.beta != 1:
            raise SettingError(f"With a capacity the KL has capacity_weight in place of beta, got beta={self.beta:g}.")
        if self.target_rate is not None and self.beta == 0:
            raise SettingError("With a target_rate, beta is where the controller starts and must be above 0.")

    def _check_effects(self) -> None:
        """Refuse what would do nothing: whoever gives a setting expects it to act."""
        idle: dict[str, Any] = {}
        if self.target_rate is not None and not self.total_correlation:
            reason = "with a target_rate, whose controller moves beta"
            idle = self.given(*WARMUP, *CYCLE)
            if self.schedule not in ("linear", "constant", "none"):  # the default, and what a run that goes on has
                idle["schedule"] = self.schedule
        else:
            reason = f"with schedule={self.schedule!r}"
            shaping = SHAPED_BY.get(self.schedule, ()) if isinstance(self.schedule, str) else ()
            idle = {name: value for name, value in self.given(*WARMUP, *CYCLE).items() if name not in shaping}
            if idle and shaping:
                reason += f", which takes {', '.join(shaping)}"
        if not idle and not self.free_bits:
            idle, reason = self.given("free_bits_mode"), "without free_bits"
        if not idle and self.capacity is None:
            idle, reason = self.given("capacity_weight"), "without a capacity"
        if idle:
            shown = ", ".join(f"{name}={value!r}" for name, value in idle.items())
            raise SettingError(f"{shown} would have no effect {reason}. Leave it out, or change the other setting.")

    def held(self, kl_weight: float) -> "Objective":
        """Return the same objective for a run that goes on: every weight is final from its first step.

        A controller starts at ``kl_weight``, where it was; adversaries are new networks and start at once.
        """
        return self.held_from(self.to_dict(), kl_weight)

    @classmethod
    def held_from(cls, settings: Mapping[str, Any], kl_weight: float) -> "Objective":
        """Return :meth:`held` of the objective that :meth:`to_dict` gave; an own schedule object is not needed."""
        goal, changes = cls.parse({**settings, **HELD}), dict[str, Any]()
        if goal.target_rate is not None:
            changes["beta"] = kl_weight
        for name in ADVERSARIES:
            adversary = getattr(goal, name)
            if adversary is not None:
                changes[name] = replace(adversary, start=0.0, start_epochs=None, start_steps=None)
        return replace(goal, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain mapping of the fields; an own schedule object is shown by its repr, without a place in memory."""
        state = asdict(self)
        if not isinstance(self.schedule, str):
            state["schedule"] = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(self.schedule))
        return state

    def scheduled(self, total_steps: int, steps_per_epoch: int, *, n_genes: int, n_latent: int) -> "ScheduledObjective":
        """Fix schedules and phases for a run of ``total_steps``.

        Raises
        ------
        SettingError
            If the run would end before a weight has reached its final value.
        """
        schedule = self._schedule_of_run(total_steps, steps_per_epoch)
        effective_beta = self.beta * (n_genes / n_latent if self.reduction == "mean" else 1.0)
        phases: dict[str, Phase] = {
            name: adversary.phase(total_steps, steps_per_epoch)
            for name in ADVERSARIES
            if (adversary := getattr(self, name)) is not None
        }
        control: KLControl = WeightedKL(schedule, effective_beta, self.free_bits, self.free_bits_mode)
        if self.capacity is not None:
            control = Capacity(schedule, self.capacity, self.capacity_weight)
        elif self.target_rate is not None:
            control = TargetRate(self.target_rate, self.beta)
        return ScheduledObjective(self, schedule, control, effective_beta, phases)

    def _schedule_of_run(self, total_steps: int, steps_per_epoch: int) -> Schedule:
        warmup_steps = self.in_steps("warmup", self.DEFAULT_WARMUP, total_steps, steps_per_epoch)
        if self.warmup_steps is None and self.warmup_epochs is None:
            warmup_steps = min(warmup_steps, total_steps - 1)  # the last update must still see the full weight
        schedule = self.schedule
        if isinstance(schedule, str):
            schedule = SCHEDULES[schedule](total_steps, warmup_steps, self.n_cycles, self.period, self.ramp)
        if schedule.settled_step >= total_steps:
            raise SettingError(
                f"The KL weight would reach its final value at step {schedule.settled_step}, but the planned run "
                f"ends after {total_steps} steps ({steps_per_epoch} an epoch). Shorten the warm-up or train longer."
            )
        return schedule


@dataclass(frozen=True, slots=True)
class ScheduledObjective:
    """An objective with its schedules in steps, for one run.

    Attributes
    ----------
    schedule
        Fraction of the final weight at each step.
    control
        The KL's part of the loss.
    effective_beta
        Final weight of the summed KL against the summed reconstruction; β·G/K under ``reduction="mean"``.
    phases
        Timing of the adversaries that take part, by the name of their field.
    """

    objective: Objective
    schedule: Schedule
    control: KLControl
    effective_beta: float
    phases: Mapping[str, Phase]

    @property
    def settled_step(self) -> int:
        """First step at which every weight is final."""
        return max([self.control.settled_step, *(phase.settled_step for phase in self.phases.values())])

    def total_correlation_weight(self, step: int) -> float:
        """Weight of the total correlation at update ``step`` (from 0)."""
        weight = self.objective.total_correlation
        return weight and weight * self.schedule(step)
