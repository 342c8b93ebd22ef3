"""Clocks: what an epoch takes, and what a call takes."""

import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch


def now() -> float:
    """Seconds on a clock, once the GPU has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


class EpochClock(pl.Callback):
    """Seconds of each epoch without the validation inside it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = now()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop it."""
        self._validation_started = now()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let it go on."""
        self._started += now() - self._validation_started

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch down."""
        self.seconds.append(now() - self._started)


def timed(function: Callable[..., Any], *arguments: Any, **settings: Any) -> tuple[Any, float]:
    """Return what a function returns and its wall seconds."""
    started = now()
    result = function(*arguments, **settings)
    return result, now() - started
