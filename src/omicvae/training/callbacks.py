"""Lightning callbacks of a fit: best weights with early stopping, checkpoints, the log line with the progress bar."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from omicvae.training.checkpoint import write_checkpoint
from omicvae.training.history import epoch_line, short_line
from omicvae.training.plan import TrainingPlan
from omicvae.training.progress import progress_bar

logger = logging.getLogger("omicvae")


@dataclass
class Best:
    """The best epoch so far: its objective, that of each validation cell (nats), and the weights."""

    loss: float = math.inf
    epoch: int | None = None
    loss_N: Tensor = field(default_factory=lambda: torch.empty(0))
    weights: dict[str, Tensor] = field(default_factory=dict)

    def keep(self, module: nn.Module) -> None:
        """Copy the weights, into the same memory from the second time on."""
        state = module.state_dict()
        if not self.weights:
            self.weights = {name: value.clone() for name, value in state.items()}
        for name, value in state.items():
            self.weights[name].copy_(value)


class BestWeights(pl.Callback):
    """Keep the weights of the best validation objective, restore them at the end, stop when it no longer improves.

    Epochs count once the weights of all terms are final; before that objectives do not compare. While the learning rate
    still rises a network is unfinished, and a low objective may be luck: the best of those epochs is kept only if the
    best after them is worse by more than twice the standard error of the difference over validation cells, or if there
    is none after them.

    Parameters
    ----------
    patience, min_delta
        Epochs without an improvement of more than ``min_delta`` nats per cell after which training stops; a patience of
        None never stops early. The best weights are kept however small the improvement.
    """

    def __init__(self, patience: int | None, min_delta: float = 0.0) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.stopped_early = False
        #: while the rate rose, and since
        self.early, self.settled = Best(), Best()
        self._mark, self._mark_epoch = math.inf, 0  # the last improvement that patience saw

    @property
    def best(self) -> Best:
        """What the network is left with."""
        if self.settled.epoch is None:
            return self.early
        if self.early.epoch is None or len(self.early.loss_N) < 2:
            return self.settled
        worse_N = self.settled.loss_N - self.early.loss_N
        error = float(worse_N.std()) / math.sqrt(len(worse_N))
        return self.early if self.settled.loss - self.early.loss > 2 * error else self.settled

    @property
    def best_epoch(self) -> int | None:
        """Epoch of this run whose weights the network is left with; None if none counted."""
        return self.best.epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the epoch that ended with the best so far."""
        assert isinstance(pl_module, TrainingPlan)
        if not pl_module.rows:  # a callback stopped the run before its first step
            return
        epoch, loss = len(pl_module.rows), pl_module.rows[-1].get("loss_validation", math.nan)
        if pl_module.steps_done <= pl_module.scheduled.settled_step or math.isnan(loss):
            return
        rising = pl_module.steps_done <= pl_module.learning_rate.settled_step
        best = self.early if rising else self.settled
        if loss < best.loss:
            best.loss, best.epoch, best.loss_N = loss, epoch, pl_module.validation_loss_N
            with pl_module.kept_weights():
                best.keep(pl_module.module)
        if rising:
            return
        if loss < self._mark - self.min_delta:
            self._mark, self._mark_epoch = loss, epoch
        elif self.patience is not None and epoch - self._mark_epoch >= self.patience:
            self.stopped_early = trainer.should_stop = True

    def give(self, plan: TrainingPlan) -> None:
        """Leave the network with the best weights; with its present ones if no epoch counted."""
        best = self.best
        if not best.weights and plan.rows and getattr(plan, "average", None) is not None:
            with plan.kept_weights():
                best.keep(plan.module)
        if best.weights:
            plan.module.load_state_dict(best.weights)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        names = ("stopped_early", "_mark", "_mark_epoch")
        return {name: getattr(self, name) for name in names} | {"bests": [vars(self.early), vars(self.settled)]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.early, self.settled = (Best(**best) for best in state_dict["bests"])
        for name in ("stopped_early", "_mark", "_mark_epoch"):
            setattr(self, name, state_dict[name])


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

    def __init__(self, shown: bool = False) -> None:
        self._bar = progress_bar(shown)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar."""
        self._bar.start(trainer.max_epochs or 0)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch that ended and move the bar."""
        assert isinstance(pl_module, TrainingPlan)
        line = short = "no epoch was run"
        if pl_module.rows:
            epoch, row = pl_module.first_epoch + len(pl_module.rows) - 1, pl_module.rows[-1]
            line, short = epoch_line(epoch, row, pl_module.notes()), short_line(epoch, row)
        logger.info(line)
        self._bar.advance(short)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the terminal in order, also after an error."""
        self._bar.stop()
