"""One run of training on Lightning's Trainer."""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import pandas as pd
import torch

from omicvae._core import NotSupportedError
from omicvae.data import CellStore
from omicvae.module import ConditionalVAE
from omicvae.objective import PlannedObjective
from omicvae.training.budget import Budget
from omicvae.training.callbacks import BestWeights, EpochLog, ProgressBar
from omicvae.training.heap import retained_heap
from omicvae.training.history import history_frame
from omicvae.training.plan import Split, TrainingPlan


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
    """

    history: pd.DataFrame
    best_epoch: int | None
    planned_epochs: int
    settled_epoch: int
    stopped_early: bool
    interrupted: bool


def fit(
    module: ConditionalVAE,
    store: CellStore,
    split: Split,
    *,
    planned: PlannedObjective,
    budget: Budget,
    batch_size: int,
    seed: int,
    early_stopping: bool = True,
    patience: int | None = None,
    progress_bar: bool = False,
    callbacks: Sequence[pl.Callback] = (),
    first_epoch: int = 1,
    half_products: bool = False,
    **trainer_arguments: Any,
) -> FitResult:
    """Train ``module`` on the rows of ``split`` and leave it with its best weights.

    Parameters
    ----------
    patience
        Epochs without improvement before early stopping; by default a fifth of the plan, at least 10.
    half_products
        Take the decoder's widest products in bfloat16, on a CPU.
    trainer_arguments
        Passed to ``lightning.pytorch.Trainer`` (accelerator, devices, precision, logger, ...).
    """
    plan = TrainingPlan(
        module,
        store,
        split,
        planned,
        budget,
        batch_size=batch_size,
        seed=seed,
        first_epoch=first_epoch,
        half_products=half_products,
    )
    if patience is None:
        patience = max(10, math.ceil(0.2 * budget.max_epochs))
    best = BestWeights(patience if early_stopping else None)
    settings = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 1 if len(split.validation) else 0,
        "callbacks": [best, EpochLog(), *([ProgressBar()] if progress_bar else []), *callbacks],
        **trainer_arguments,
    }
    module.train()
    with private_generators(), quiet_lightning(), retained_heap():
        trainer = pl.Trainer(max_epochs=budget.max_epochs, **settings)
        try:
            trainer.fit(plan, range(plan.n_chunks), range(1))
        except (KeyboardInterrupt, SystemExit):
            # Lightning turns Ctrl-C into SystemExit; the epochs so far are worth keeping
            if not trainer.interrupted:
                raise
        finally:
            best.restore(module)
            plan.release()
            # Lightning leaves the weights on the CPU; inference goes on where training was
            module.to(trainer.strategy.root_device).eval()
    if trainer.interrupted:
        logging.getLogger("omicvae").warning(
            "Training was interrupted after %d of %d epochs; the model is usable.",
            len(plan.rows),
            budget.max_epochs,
        )
    return FitResult(
        history=history_frame(plan.rows, first_epoch),
        best_epoch=None if best.best_epoch is None else best.best_epoch + first_epoch - 1,
        planned_epochs=budget.max_epochs,
        settled_epoch=planned.settled_step // budget.steps_per_epoch + first_epoch,
        stopped_early=best.stopped_early,
        interrupted=trainer.interrupted,
    )


#: half precision with scaled losses, other dtypes of the weights and several processes need a step of their own
PRECISIONS = ("32-true", "bf16-mixed")


def hardware(accelerator: str, devices: int | str | list[int], precision: str | int) -> dict[str, Any]:
    """Device and precision as :func:`fit` takes them; what the training step cannot do is refused.

    ``"auto"`` on a CPU that multiplies bfloat16 in hardware takes the decoder's widest products in it, and everything
    else in float32; the bound does not suffer (``benchmarks/paths.py``). ``"32-true"`` is float32 throughout.

    Raises
    ------
    NotSupportedError
        For several devices, or a precision that is none of ``PRECISIONS``.
    """
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    devices = 1 if devices == "auto" else devices
    if devices not in (1, "1") and not (isinstance(devices, list) and len(devices) == 1):
        raise NotSupportedError(f"Training runs on one device, got devices={devices!r}. Pass 1 or one index, as [0].")
    half_products = precision == "auto" and accelerator == "cpu" and multiplies_bfloat16()
    precision = {"auto": "32-true", "32": "32-true"}.get(str(precision), str(precision))
    if precision not in PRECISIONS:
        raise NotSupportedError(
            f"precision={precision!r} is not offered. Choose one of: auto, {', '.join(PRECISIONS)}."
        )
    return {"accelerator": accelerator, "devices": devices, "precision": precision, "half_products": half_products}


def multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16 (AVX-512 BF16 or AMX)."""
    known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in known)


@contextmanager
def private_generators() -> Iterator[None]:
    """Run with torch's global generators and give them back as they were: dropout draws from them."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


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
            yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
