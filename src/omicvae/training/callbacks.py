"""Lightning callbacks of a fit: best weights with early stopping, the log line, the progress bar."""

import logging
import math

import lightning.pytorch as pl
import torch
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from omicvae.training.history import epoch_line
from omicvae.training.plan import TrainingPlan

logger = logging.getLogger("omicvae")


def last_line(plan: pl.LightningModule) -> str:
    """Log line of the epoch that ended."""
    assert isinstance(plan, TrainingPlan)
    if not plan.rows:
        return "no epoch was run"
    return epoch_line(plan.first_epoch + len(plan.rows) - 1, plan.rows[-1])


class BestWeights(pl.Callback):
    """Keep the weights of the best validation objective, restore them at the end, stop when it no longer improves.

    Epochs count once the KL weight is final and the learning rate falls; before that objectives do not compare.

    Parameters
    ----------
    patience
        Epochs without improvement after which training stops; None never stops early.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.best = math.inf
        self.best_epoch: int | None = None
        self.stopped_early = False
        self._state: dict[str, torch.Tensor] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the epoch that ended with the best so far."""
        assert isinstance(pl_module, TrainingPlan)
        if not pl_module.rows:  # a callback stopped the run before its first step
            return
        row, epoch = pl_module.rows[-1], len(pl_module.rows)
        loss = row.get("loss_validation", math.nan)
        if pl_module.skipped_steps:
            hopeless = pl_module.skipped_steps == len(pl_module.sizes)
            if hopeless:
                self.stopped_early = trainer.should_stop = True
            logger.warning(
                "Epoch %d: %d of %d steps had a loss that was not finite and were skipped%s. A lower learning_rate "
                "usually helps.",
                epoch,
                pl_module.skipped_steps,
                len(pl_module.sizes),
                "; training stops and the best weights so far are kept" if hopeless else "",
            )
        if pl_module.steps_done <= pl_module.settled_step or math.isnan(loss):
            return
        if loss < self.best:
            self.best, self.best_epoch = loss, epoch
            state = pl_module.module.state_dict()
            if not self._state:
                self._state = {name: value.clone() for name, value in state.items()}
            for name, value in state.items():
                self._state[name].copy_(value)
        elif self.patience is not None and epoch - (self.best_epoch or epoch) >= self.patience:
            self.stopped_early = trainer.should_stop = True

    def restore(self, module: torch.nn.Module) -> None:
        """Give ``module`` the best weights, if any epoch counted."""
        if self._state:
            module.load_state_dict(self._state)


class EpochLog(pl.Callback):
    """One line per epoch on the logger ``omicvae`` at level INFO."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch that ended."""
        logger.info(last_line(pl_module))


class ProgressBar(pl.Callback):
    """A bar over the epochs with the newest figures beside it."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(bar_width=20),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
        )
        self._task: TaskID | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar."""
        self._bar.start()
        self._task = self._bar.add_task("", total=trainer.max_epochs)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move the bar by one epoch."""
        if self._task is not None:
            self._bar.update(self._task, advance=1, description=last_line(pl_module))

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the terminal in order, also after an error."""
        self._bar.stop()
