"""The settings of a run, named and given their defaults here; the signature of ``CVAE.train`` repeats them."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from omicvae._core import SettingError, check_fields, flag, integral, plain, real
from omicvae.objective import SCHEDULES, Objective
from omicvae.training.budget import DEFAULT_PEAK_RATE, Optimisation, default_weight_decay
from omicvae.training.callbacks import BestWeights


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What defines a run, as ``train`` documents it; JSON-able but for an objective's own schedule object.

    Raises
    ------
    SettingError
        On impossible or unknown settings.
    """

    max_epochs: int | None = None
    objective: Objective | Mapping[str, Any] | None = None
    batch_size: int = 128
    train_size: float = 0.9
    early_stopping: bool = True
    early_stopping_patience: int | None = None
    early_stopping_min_delta: float = 0.0
    learning_rate: float | None = None
    lr_schedule: str = "one_cycle"
    optimizer: str = "adam"
    weight_decay: float | None = None
    gradient_clip_norm: float | None = None
    ema_decay: float | None = None
    precision: str = "auto"
    seed: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, integral, "max_epochs", "batch_size", "early_stopping_patience", minimum=1)
        check_fields(self, integral, "seed", minimum=0)
        check_fields(self, real, "early_stopping_min_delta", "weight_decay", "gradient_clip_norm", minimum=0)
        check_fields(self, real, "train_size", "learning_rate", "ema_decay")
        check_fields(self, flag, "early_stopping")
        for name in ("lr_schedule", "optimizer", "precision"):  # what they may be, those know who use them
            object.__setattr__(self, name, plain(getattr(self, name)))
        if self.objective is not None:
            object.__setattr__(self, "objective", Objective.parse(self.objective))
        self.optimisation(n_train=1)

    @classmethod
    def of(cls, named: Mapping[str, Any]) -> Self:
        """Take the settings out of all arguments of a call, by name."""
        return cls(**{setting.name: named[setting.name] for setting in fields(cls)})

    def optimisation(self, n_train: int) -> Optimisation:
        """How weights follow gradients, with so many training cells."""
        rate = DEFAULT_PEAK_RATE if self.learning_rate is None else self.learning_rate
        decay = default_weight_decay(n_train) if self.weight_decay is None else self.weight_decay
        return Optimisation(rate, self.lr_schedule, self.optimizer, decay, self.gradient_clip_norm, self.ema_decay)

    def best_weights(self, max_epochs: int) -> BestWeights:
        """Make what keeps the best weights of a run of so many epochs, and ends it early."""
        patience = self.early_stopping_patience
        if patience is None:
            patience = max(10, math.ceil(0.2 * max_epochs))
        return BestWeights(patience if self.early_stopping else None, self.early_stopping_min_delta)

    def to_dict(self) -> dict[str, Any]:
        """Plain values as JSON gives them back."""
        goal = None if self.objective is None else Objective.parse(self.objective).to_dict()
        plain: dict[str, Any] = json.loads(json.dumps({**asdict(replace(self, objective=None)), "objective": goal}))
        return plain

    def resumed(self, saved: Mapping[str, Any]) -> Self:
        """Return the settings of a saved run; what was given beside them must agree.

        Raises
        ------
        SettingError
            On a setting that was given and is another one, or a schedule object that was not given again.
        """
        given, defaults = self.to_dict(), RunSettings().to_dict()
        other = [name for name, value in given.items() if value not in (defaults[name], saved[name])]
        if other:
            shown = ", ".join(f"{name}={given[name]!r} (the run has {saved[name]!r})" for name in other)
            raise SettingError(f"A resumed run keeps its settings, got {shown}. Leave them out, or start a new run.")
        goal = saved["objective"]
        if goal is not None and goal["schedule"] not in SCHEDULES:
            if self.objective is None:
                raise SettingError(f"The run to resume has a schedule of its own, {goal['schedule']}; pass objective=.")
            goal = self.objective
        return replace(self, **{**saved, "objective": goal})
