"""The settings of a run, named and given their defaults here; the signature of ``CVAE.train`` repeats them."""

import inspect
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import lightning.pytorch as pl

from omicvae._core import SettingError, check_fields, flag, integral, plain, real
from omicvae._core.words import FOREIGN, unknown_settings
from omicvae.objective import SCHEDULES, Objective
from omicvae.training.budget import DEFAULT_PEAK_RATE, Optimisation, default_weight_decay
from omicvae.training.callbacks import BestWeights

#: arguments of Lightning's Trainer that count batches, which are chunks of many minibatches here: what to do instead
CHUNKED = {
    "limit_train_batches": "for fewer cells make the model of a part, CVAE(adata[rows].copy())",
    "overfit_batches": "for fewer cells make the model of a part, CVAE(adata[rows].copy())",
    "fast_dev_run": "for a short trial pass max_epochs=1",
    "max_steps": "pass max_epochs; an epoch has ceil(training cells / batch_size) steps",
    "min_steps": "pass early_stopping=False, or early_stopping_patience",
    "limit_val_batches": "all validation cells are scored at once; pass train_size, 1.0 for none",
    "val_check_interval": "validation comes after every epoch",
    "num_sanity_val_steps": "there is no validation before the first epoch",
}

#: share of the cells that trains where none is given
TRAIN_SIZE = 0.9
NO_VALIDATION = "no cells validate (train_size=1)"


def check_trainer_arguments(arguments: Mapping[str, Any], own: Iterable[str]) -> None:
    """Refuse further arguments of ``train`` that would not do what they say, or that Lightning does not know.

    Raises
    ------
    SettingError
        With what to do instead, or the right word; ``own`` are the names of ``train``'s arguments.
    """
    for name in arguments:
        if name in CHUNKED:
            raise SettingError(
                f"{name} counts Lightning's batches, each a chunk of many minibatches here: {CHUNKED[name]}."
            )
    known = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"} - set(FOREIGN)
    if unknown := [name for name in arguments if name not in known]:
        names = [name for name in own if name != "trainer_arguments"]
        raise unknown_settings("train()", unknown, names)


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
    train_size: float | None = None
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
            goal = Objective.parse(self.objective)
            # an empty mapping states nothing, as None does
            object.__setattr__(self, "objective", goal if self.objective else None)
        self.optimisation(n_train=1)
        self.check_effects(validated=self.train_size != 1)

    def check_effects(self, *, validated: bool) -> None:
        """Refuse what would do nothing with or without validation: whoever gives a setting expects it to act."""
        judged = self.early_stopping_patience is not None or self.early_stopping_min_delta != 0
        if judged and not (self.early_stopping and validated):
            reason = "with early_stopping=False" if not self.early_stopping else f"where {NO_VALIDATION}"
            raise SettingError(
                f"early_stopping_patience and early_stopping_min_delta would have no effect {reason}. Leave them out."
            )
        if self.lr_schedule == "plateau" and not validated:
            raise SettingError(
                f'lr_schedule="plateau" waits for the validation loss, and {NO_VALIDATION}. Leave some, as with 0.9 '
                '(and fresh=True after a first run), or choose "one_cycle" or "constant".'
            )

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

    def given(self) -> dict[str, Any]:
        """Plain values of what differs from the defaults; an own schedule object, which is none, is left out."""
        defaults = RunSettings().to_dict()
        given = {name: value for name, value in self.to_dict().items() if value != defaults[name]}
        if isinstance(self.objective, Objective):
            goal = self.objective.given()
            given["objective"] = {k: v for k, v in goal.items() if k != "schedule" or isinstance(v, str)}
        return given

    def resumed(self, saved: Mapping[str, Any]) -> Self:
        """Return the settings of a saved run; what was given beside them must agree.

        Raises
        ------
        SettingError
            On a setting that was given and is another one, or a schedule object that was not given again.
        """
        given, defaults = self.to_dict(), RunSettings().to_dict()
        if saved["train_size"] is None and given["train_size"] == TRAIN_SIZE:
            given["train_size"] = None
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
