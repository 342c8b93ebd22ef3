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

from omicvae.data import CellStore
from omicvae.module import ConditionalVAE
from omicvae.objective import Objective
from omicvae.training.budget import Budget
from omicvae.training.callbacks import BestWeights, EpochLog, ProgressBar
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
    effective_beta
        Final weight of the summed KL against the summed reconstruction.
    """

    history: pd.DataFrame
    best_epoch: int | None
    planned_epochs: int
    settled_epoch: int
    stopped_early: bool
    interrupted: bool
    effective_beta: float


def fit(
    module: ConditionalVAE,
    store: CellStore,
    split: Split,
    *,
    objective: Objective,
    budget: Budget,
    batch_size: int,
    seed: int,
    early_stopping: bool = True,
    patience: int | None = None,
    progress_bar: bool = False,
    callbacks: Sequence[pl.Callback] = (),
    first_epoch: int = 1,
    **trainer_arguments: Any,
) -> FitResult:
    """Train ``module`` on the rows of ``split`` and leave it with its best weights.

    Parameters
    ----------
    patience
        Epochs without improvement before early stopping; by default a fifth of the plan, at least 10.
    trainer_arguments
        Passed to ``lightning.pytorch.Trainer`` (accelerator, devices, precision, logger, ...).
    """
    planned = objective.plan(
        budget.total_steps,
        budget.steps_per_epoch,
        n_genes=module.n_genes,
        n_latent=module.architecture.n_latent,
    )
    plan = TrainingPlan(module, store, split, planned, budget, batch_size=batch_size, seed=seed)
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
    with private_generators(), quiet_lightning():
        trainer = pl.Trainer(max_epochs=budget.max_epochs, **settings)
        try:
            trainer.fit(plan, range(plan.n_chunks), range(1))
        except (KeyboardInterrupt, SystemExit):
            # Lightning turns Ctrl-C into SystemExit; the epochs so far are worth keeping
            if not trainer.interrupted:
                raise
    if trainer.interrupted:
        logging.getLogger("omicvae").warning(
            "Training was interrupted after %d of %d epochs; the model is usable.",
            len(plan.rows),
            budget.max_epochs,
        )
    best.restore(module)
    module.eval()
    return FitResult(
        history=history_frame(plan.rows, first_epoch),
        best_epoch=None if best.best_epoch is None else best.best_epoch + first_epoch - 1,
        planned_epochs=budget.max_epochs,
        settled_epoch=planned.settled_step // budget.steps_per_epoch + 1,
        stopped_early=best.stopped_early,
        interrupted=trainer.interrupted,
        effective_beta=planned.effective_beta,
    )


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
