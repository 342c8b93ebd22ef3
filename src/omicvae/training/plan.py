"""The Lightning module that trains a cVAE: Lightning sees chunks, a tight loop sees minibatches."""

import math
import time
from dataclasses import dataclass

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray

from omicvae.data import CellStore, minibatch_sizes
from omicvae.module import ConditionalVAE
from omicvae.objective import PlannedObjective
from omicvae.objective.kl import regularised_kl
from omicvae.training.adam import FlatAdam, adam
from omicvae.training.budget import Budget, OneCycle
from omicvae.training.compiled import CompiledStep
from omicvae.training.evaluation import score_cells
from omicvae.training.seeds import derive_seed
from omicvae.training.step import EagerStep, StepTotals

CHUNK = 128  # minibatches that one Lightning step runs
GROUP = 8  # minibatches that are copied out of the store at once


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of the store used for training and for validation."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


class TrainingPlan(pl.LightningModule):
    """Manual optimisation in chunks; losses stay on the device until the epoch ends.

    The order of cells is a function of seed and epoch, and the noise of seed, epoch and chunk.
    """

    def __init__(
        self,
        module: ConditionalVAE,
        store: CellStore,
        split: Split,
        planned: PlannedObjective,
        budget: Budget,
        *,
        batch_size: int,
        seed: int,
        first_epoch: int = 1,
        half_products: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.module = module
        self.store = store
        self.split = split
        self.planned = planned
        self.budget = budget
        self.rate = OneCycle(budget.peak_rate, budget.total_steps)
        self.sizes = minibatch_sizes(len(split.train), batch_size)
        self.seed = seed
        self.first_epoch = first_epoch
        self.half_products = half_products
        self.rows: list[dict[str, float]] = []
        self.steps_done = 0
        self.skipped_steps = 0  # of the last epoch

    @property
    def n_chunks(self) -> int:
        """Chunks in an epoch."""
        return math.ceil(len(self.sizes) / CHUNK)

    @property
    def settled_step(self) -> int:
        """First step at which the KL weight is final and the learning rate falls: best weights count from here."""
        return max(self.planned.settled_step, self.rate.peak_step)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Fused Adam over all parameters."""
        self.optimizer = adam(self.module, self.budget.peak_rate)
        return self.optimizer

    def on_train_epoch_start(self) -> None:
        """Fix this epoch's order of cells and start its sums."""
        rng = np.random.default_rng(derive_seed(self.seed, "order", self.current_epoch))
        order = rng.permutation(self.split.train)
        self._minibatches = np.split(order, np.cumsum(self.sizes)[:-1])
        self._totals = StepTotals(self.device)
        self._started = time.perf_counter()

    def training_step(self, chunk: int, chunk_idx: int) -> None:
        """Run the minibatches of chunk number ``chunk``."""
        torch.manual_seed(derive_seed(self.seed, "noise", self.current_epoch, chunk))
        step = self._make_step()
        minibatches = self._minibatches[chunk * CHUNK : (chunk + 1) * CHUNK]
        for first in range(0, len(minibatches), GROUP):
            group = minibatches[first : first + GROUP]
            batch = self.store.batch(np.concatenate(group), device=self.device)
            for part in step.parts(batch, [len(rows) for rows in group]):
                step(part, self.steps_done, self.rate(self.steps_done), self._totals)
                self.steps_done += 1
        # a raw optimiser leaves Lightning's step count at 0, and checkpoints and loggers rely on it
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for count in (progress.total, progress.current):
            count.ready += len(minibatches)
            count.completed += len(minibatches)
        if chunk == self.n_chunks - 1:
            self._close_epoch()

    def release(self) -> None:
        """Give the parameters memory of their own again."""
        optimizer = getattr(self, "optimizer", None)
        if isinstance(optimizer, FlatAdam):
            optimizer.release()

    def _make_step(self) -> CompiledStep | EagerStep:
        optimizer, full = self.optimizer, self.trainer.precision == "32-true"
        covered = full and min(self.sizes) > 1 and CompiledStep.applies(self.module, self.planned)
        if covered and isinstance(optimizer, FlatAdam):
            half = self.half_products
            return CompiledStep(self.module, optimizer, self.planned, max(self.sizes), half_products=half)
        return EagerStep(self.module, optimizer, self.planned)

    def validation_step(self, chunk: int, chunk_idx: int) -> None:
        """Score all validation cells with the same noise in every epoch."""
        scores = score_cells(self.module, self.store, self.split.validation, seed=derive_seed(self.seed, "validation"))
        objective = self.planned.objective
        kl = regularised_kl(
            torch.from_numpy(scores.kl_NK), free_bits=objective.free_bits, mode=objective.free_bits_mode
        )
        reconstruction = float(scores.reconstruction_N.mean())
        metrics = {
            "loss_validation": reconstruction + self.rows[-1]["kl_weight"] * float(kl),
            "recon_validation": reconstruction,
            "kl_validation": float(scores.kl_NK.sum(1).mean()),
            "elbo_validation": float(scores.elbo_N.mean()),
        }
        self.rows[-1] |= metrics
        self.log_dict(metrics, batch_size=len(self.split.validation))

    def _close_epoch(self) -> None:
        """Write the epoch's row of the history; validation adds its part."""
        last = self.steps_done - 1
        means = self._totals.means()
        self.skipped_steps = int(means.pop("skipped"))
        row = {f"{name}_train": value for name, value in means.items()}
        row |= {
            "kl_weight": self.planned.kl_weight(last),
            "lr": self.rate(last),
            "cells_per_second": len(self.split.train) / (time.perf_counter() - self._started),
        }
        self.rows.append(row)
        self.log_dict(row, batch_size=len(self.split.train), on_step=False, on_epoch=True)
