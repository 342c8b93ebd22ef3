"""One run of training on Lightning's Trainer."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import lightning.pytorch as pl
import pandas as pd
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment

from omicvae._core import NotSupportedError, SavingError, SettingError, choose, integral
from omicvae._core.native import own_threads
from omicvae._core.together import Together
from omicvae.training.callbacks import BestWeights, CheckpointWriter, EpochLog
from omicvae.training.checkpoint import Checkpoint
from omicvae.training.history import epoch_index, history_frame
from omicvae.training.plan import TrainingPlan


@dataclass(frozen=True, slots=True)
class FitResult:
    """What a run of training leaves beside the weights.

    Attributes
    ----------
    history
        A row per epoch.
    best_epoch
        Epoch whose weights the model has; None where no epoch counted (no validation cells).
    planned_epochs, settled_epoch
        Planned length; epoch from which the KL weight is final.
    stopped_early, interrupted
        Whether early stopping or the user ended the run.
    failure
        Why the run ended, where too many steps had to be skipped.
    step
        Which training step ran, and why.
    settings, checkpoints
        What ``train`` was given beside the defaults, and the folder of its checkpoints.
    """

    history: pd.DataFrame
    best_epoch: int | None
    planned_epochs: int
    settled_epoch: int
    stopped_early: bool
    interrupted: bool
    failure: str | None = None
    step: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: str | None = None

    @property
    def missing_epochs(self) -> int:
        """Epochs that were planned and not run, other than by early stopping."""
        return 0 if self.stopped_early else self.planned_epochs - len(self.history)

    def to_dict(self) -> dict[str, Any]:
        """Plain values as JSON takes them."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "history"}
        return {**plain, "history": json.loads(self.history.to_json(orient="split", double_precision=15))}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`."""
        table = state["history"]
        index = epoch_index(table["index"][0] if table["index"] else 1, len(table["index"]))
        history = pd.DataFrame(table["data"], index, table["columns"], dtype=float)
        return cls(**{**state, "history": history})


def fit(
    plan: TrainingPlan,
    best: BestWeights,
    *,
    progress_bar: bool = False,
    callbacks: Sequence[pl.Callback] = (),
    writer: CheckpointWriter | None = None,
    resume_from: Checkpoint | None = None,
    **trainer_arguments: Any,
) -> FitResult:
    """Run ``plan`` and leave its network with the best weights.

    Parameters
    ----------
    writer
        Writes checkpoints; None writes none.
    resume_from
        State of an interrupted run of the same plan, to go on from.
    trainer_arguments
        Passed to ``lightning.pytorch.Trainer`` (accelerator, devices, precision, logger, ...).
    """
    module, budget = plan.module, plan.budget
    own = [best, EpochLog(progress_bar), *callbacks]
    if writer is not None:  # the last, so that it sees what the others made of the epoch
        writer.callbacks = [best, *callbacks]
        own.append(writer)
    settings = {
        "logger": False,
        "enable_checkpointing": any(isinstance(callback, pl.callbacks.Checkpoint) for callback in own),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "limit_val_batches": 1 if len(plan.split.validation) else 0,
        "callbacks": own,
        # one device, whatever a scheduler's variables say of its tasks
        "plugins": [LightningEnvironment()],
        **trainer_arguments,
    }
    module.train()
    with quiet_lightning(), own_threads():
        trainer = pl.Trainer(max_epochs=budget.max_epochs, **settings)
        if resume_from is not None:
            _resume(trainer, plan, [best, *callbacks], resume_from)
        try:
            if resume_from is None or not resume_from["ended"]:
                trainer.fit(plan, range(plan.n_chunks), range(1))
        except (KeyboardInterrupt, SystemExit):
            # Lightning turns Ctrl-C into SystemExit; the epochs so far are worth keeping
            if not trainer.interrupted:
                raise
        finally:
            best.give(plan)
            plan.close()
            # Lightning leaves the weights on the CPU; inference goes on where training was
            module.to(trainer.strategy.root_device).eval()
    if trainer.interrupted:
        logging.getLogger("omicvae").warning(
            "Training was interrupted after %d of %d epochs; the model is usable%s.",
            len(plan.rows),
            budget.max_epochs,
            ""
            if writer is None
            else f", and train(resume_from={str(writer.folder)!r}) of the model as it was before the run goes on",
        )
    return FitResult(
        history=history_frame(plan.rows, plan.first_epoch),
        best_epoch=None if best.best_epoch is None else best.best_epoch + plan.first_epoch - 1,
        planned_epochs=budget.max_epochs,
        settled_epoch=int(plan.scheduled.settled_step) // budget.steps_per_epoch + plan.first_epoch,
        stopped_early=best.stopped_early,
        interrupted=trainer.interrupted,
        failure=plan.failure,
        step=plan.step_reason,
    )


def _resume(trainer: pl.Trainer, plan: TrainingPlan, callbacks: Sequence[pl.Callback], checkpoint: Checkpoint) -> None:
    """Put everything where the interrupted run left it; the optimiser follows when it is made."""
    states = checkpoint["callbacks"]
    if len(callbacks) != len(states):  # the first is our own
        raise SettingError(
            f"The run to resume had {len(states) - 1} callbacks, {len(callbacks) - 1} were given. Pass the same."
        )
    try:
        plan.resume(checkpoint["run"])
        for callback, state in zip(callbacks, states, strict=True):
            callback.load_state_dict(state)
    except Exception as error:  # of other shapes or another form
        raise SavingError(f"The checkpoint does not fit the run: {error!r}. Start the run again.") from error
    # Lightning counts on from here
    trainer.fit_loop.epoch_progress.current.processed = len(plan.rows)  # type: ignore[attr-defined]
    progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    progress.total.ready = progress.total.completed = plan.steps_done


#: half precision with scaled losses, other dtypes of the weights and several processes need a step of their own
PRECISIONS = ("32-true", "bf16-mixed")

#: whether a run can have it
ACCELERATORS: Mapping[str, Callable[[], bool]] = {
    "cpu": lambda: True,
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
    "gpu": lambda: torch.cuda.is_available() or torch.backends.mps.is_available(),
}


def hardware(accelerator: str, devices: int | str | list[int], precision: str | int) -> dict[str, Any]:
    """Device and precision as :func:`fit` takes them; what the training step cannot do is refused.

    ``"auto"`` on a CPU that multiplies bfloat16 in hardware takes the products with the weights of genes in it
    (those of the first layer only where few data are zero), and everything else in float32; the bound does not suffer
    (``benchmarks/paths.py``). ``"32-true"`` is float32 throughout.

    Raises
    ------
    NotSupportedError
        For several devices, a device that is not there, or a precision that is none of ``PRECISIONS``.
    """
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    elif isinstance(accelerator, str):
        usable = choose("accelerator", accelerator, ACCELERATORS)
        if not usable():  # type: ignore[operator]
            raise NotSupportedError(
                f'accelerator={accelerator!r} is not usable here: torch finds no such device. Pass "auto" or "cpu", or '
                "install a torch for your device."
            )
    devices = _one_device(devices)
    bfloat16_products = precision == "auto" and accelerator == "cpu" and multiplies_bfloat16()
    precision = {"auto": "32-true", "32": "32-true"}.get(str(precision), str(precision))
    if precision not in PRECISIONS:
        raise NotSupportedError(
            f"precision={precision!r} is not offered. Choose one of: auto, {', '.join(PRECISIONS)}."
        )
    return {
        "accelerator": accelerator,
        "devices": devices,
        "precision": precision,
        "bfloat16_products": bfloat16_products,
    }


def _one_device(devices: Any) -> int | list[int]:
    """Return 1 or a list of one index; whole numbers of numpy or R count."""
    given = getattr(devices, "tolist", lambda: devices)()
    if given in ("auto", "1", 1):
        return 1
    if isinstance(given, list | tuple) and len(given) == 1:
        return [integral("devices", given[0], minimum=0)]
    raise NotSupportedError(f"Training runs on one device, got devices={devices!r}. Pass 1 or one index, as [0].")


def multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16 (AVX-512 BF16 or AMX)."""
    known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in known)


@Together
@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notes on devices and its use of old torch names out of the user's output."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec")
            warnings.filterwarnings("ignore", message="Found .* in eval mode")  # a frozen network means it
            yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
