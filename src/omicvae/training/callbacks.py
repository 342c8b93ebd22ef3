"""Lightning callbacks of a fit: best weights with early stopping, checkpoints, the log line with the progress bar."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from omicvae.training.checkpoint import write_checkpoint
from omicvae.training.history import epoch_line, short_line
from omicvae.training.plan import TrainingPlan

logger = logging.getLogger("omicvae")


class BestWeights(pl.Callback):
    """Keep the weights of the best validation objective, restore them at the end, stop when it no longer improves.

    Epochs count once the weights of all terms are final and the learning rate has settled; before that objectives do
    not compare.

    Parameters
    ----------
    patience, min_delta
        Epochs without an improvement of more than ``min_delta`` nats per cell after which training stops; a patience of
        None never stops early. The best weights are kept however small the improvement.
    """

    def __init__(self, patience: int | None, min_delta: float = 0.0) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best = math.inf
        self.best_epoch: int | None = None
        self.stopped_early = False
        self.weights: dict[str, torch.Tensor] = {}
        self._mark, self._mark_epoch = math.inf, 0  # the last improvement that patience saw

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the epoch that ended with the best so far."""
        assert isinstance(pl_module, TrainingPlan)
        if not pl_module.rows:  # a callback stopped the run before its first step
            return
        epoch, loss = len(pl_module.rows), pl_module.rows[-1].get("loss_validation", math.nan)
        if pl_module.steps_done <= pl_module.settled_step or math.isnan(loss):
            return
        if loss < self.best:
            self.best, self.best_epoch = loss, epoch
            with pl_module.kept_weights():
                self._keep(pl_module.module)
        if loss < self._mark - self.min_delta:
            self._mark, self._mark_epoch = loss, epoch
        elif self.patience is not None and epoch - self._mark_epoch >= self.patience:
            self.stopped_early = trainer.should_stop = True

    def _keep(self, module: torch.nn.Module) -> None:
        state = module.state_dict()
        if not self.weights:
            self.weights = {name: value.clone() for name, value in state.items()}
        for name, value in state.items():
            self.weights[name].copy_(value)

    def give(self, plan: TrainingPlan) -> None:
        """Leave the network with the best weights; with its present ones if no epoch counted."""
        if not self.weights and plan.rows and getattr(plan, "average", None) is not None:
            with plan.kept_weights():
                self._keep(plan.module)
        if self.weights:
            plan.module.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        names = ("best", "best_epoch", "stopped_early", "weights", "_mark", "_mark_epoch")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        for name, value in state_dict.items():
            setattr(self, name, value)


class CheckpointWriter(pl.callbacks.Checkpoint):
    """Write a checkpoint after every ``every`` epochs and after the last; a disk that is full ends no run.

    Parameters
    ----------
    settings
        What the run was started with, to be compared when it is resumed.
    """

    def __init__(self, folder: Path, every: int, settings: Mapping[str, Any]) -> None:
        self.folder, self.every, self.settings = folder, every, settings
        #: those whose state is written with the run's
        self.callbacks: list[pl.Callback] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write one, if it is time to."""
        assert isinstance(pl_module, TrainingPlan)
        epochs = len(pl_module.rows)
        last = trainer.should_stop or epochs == trainer.max_epochs
        if not epochs or (epochs % self.every and not last):
            return
        checkpoint = {
            "run": pl_module.snapshot(),
            "callbacks": [callback.state_dict() for callback in self.callbacks],
            "ended": trainer.should_stop,
            "settings": self.settings,
        }
        try:
            write_checkpoint(self.folder, epochs, checkpoint)
        except OSError as error:
            logger.warning(
                "The checkpoint after epoch %d could not be written to %s: %s. Training goes on; the checkpoints "
                "before it are intact.",
                epochs,
                self.folder,
                error,
            )


class EpochLog(pl.Callback):
    """One line per epoch on the logger ``omicvae`` at level INFO and, if asked for, beside a bar over the epochs."""

    def __init__(self, progress_bar: bool = False) -> None:
        columns = (TaskProgressColumn(), BarColumn(bar_width=8), TimeRemainingColumn())
        self._bar = Progress(*columns, TextColumn("{task.description}"), disable=not progress_bar)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar."""
        self._bar.start()
        self._task = self._bar.add_task("", total=trainer.max_epochs)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch that ended and move the bar."""
        assert isinstance(pl_module, TrainingPlan)
        line = short = "no epoch was run"
        if pl_module.rows:
            epoch, row = pl_module.first_epoch + len(pl_module.rows) - 1, pl_module.rows[-1]
            line, short = epoch_line(epoch, row, pl_module.notes()), short_line(epoch, row)
        logger.info(line)
        self._bar.update(self._task, advance=1, description=short)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the terminal in order, also after an error."""
        self._bar.stop()
