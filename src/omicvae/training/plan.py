"""The Lightning module that trains a cVAE: Lightning sees chunks, a tight loop sees minibatches."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omicvae._core.noise import DrawingFrom
from omicvae.data import CellStore, minibatch_sizes
from omicvae.module import ConditionalVAE
from omicvae.networks import Dropout
from omicvae.objective import ScheduledObjective
from omicvae.training.adam import FlatAdam, adam, moments, restore_moments
from omicvae.training.adversaries import make_adversaries
from omicvae.training.average import WeightAverage
from omicvae.training.budget import Budget
from omicvae.training.checkpoint import Checkpoint
from omicvae.training.choice import choose_step
from omicvae.training.evaluation import score_cells
from omicvae.training.non_finite import explain_non_finite
from omicvae.training.seeds import derive_seed, generator_for
from omicvae.training.step import StepTotals

logger = logging.getLogger("omicvae")

CHUNK = 128  # minibatches that one Lightning step runs
GROUP = 8  # minibatches that are copied out of the store at once
#: skipped steps of a run, or all of an epoch, after which it ends
MOST_BAD_STEPS = 10


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of the store used for training and for validation."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


class TrainingPlan(pl.LightningModule):
    """Manual optimisation in chunks; losses stay on the device until the epoch ends.

    The order of cells is a function of seed and epoch, and the noise of seed, epoch and chunk: there is no generator
    whose state a resumed run would need.
    """

    def __init__(
        self,
        module: ConditionalVAE,
        store: CellStore,
        split: Split,
        scheduled: ScheduledObjective,
        budget: Budget,
        *,
        batch_size: int,
        seed: int,
        cell_names: Sequence[str],
        first_epoch: int = 1,
        bfloat16_products: bool = False,
        start_moments: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.module = module
        self.store = store
        self.split = split
        self.scheduled = scheduled
        self.budget = budget
        self.learning_rate = budget.learning_rate()
        self.sizes = minibatch_sizes(len(split.train), batch_size)
        self.seed = seed
        self.cell_names = cell_names
        self.first_epoch = first_epoch
        self.bfloat16_products = bfloat16_products
        with DrawingFrom(generator_for(seed, "adversaries")):
            self.adversaries = make_adversaries(scheduled, module, store, split.train)
        self.networks = nn.ModuleList(self.adversaries)  # Lightning moves them to the device with the rest
        self.rows: list[dict[str, float]] = []
        self.steps_done = 0
        self.bad_steps = 0
        self.failure: str | None = None
        #: which step the run takes, and why
        self.step_reason = ""
        self._start_moments = start_moments
        self._resumed: Checkpoint | None = None

    @property
    def n_chunks(self) -> int:
        """Chunks in an epoch."""
        return math.ceil(len(self.sizes) / CHUNK)

    @property
    def settled_step(self) -> int:
        """First step at which the weights of all terms are final and the rate has settled: best weights count on."""
        return max(self.scheduled.settled_step, self.learning_rate.settled_step)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam over all parameters of the cVAE, and one for each adversary, where the run left them if it goes on."""
        self.optimizer = adam(self.module, self.budget.optimisation)
        self.noise = torch.Generator(self.device)
        self._drop_units_by(self.noise)
        for adversary in self.adversaries:
            adversary.configure(self.noise)
        if self._start_moments is not None:
            restore_moments(self.module, self.optimizer, dict(self._start_moments))
        self.step, self.step_reason = choose_step(
            self.module,
            self.optimizer,
            self.scheduled,
            self.store,
            self.sizes.tolist(),
            self.adversaries,
            precision=str(self.trainer.precision),
            bfloat16_products=self.bfloat16_products,
            generator=self.noise,
        )
        logger.info("Training by the %s.", self.step_reason)
        decay, optimizer = self.budget.optimisation.ema_decay, self.optimizer
        weights = [optimizer.values] if isinstance(optimizer, FlatAdam) else list(self.module.parameters())
        self.average = None if decay is None else WeightAverage(weights, decay)
        if self._resumed is not None:
            self._restore(self._resumed)
        return self.optimizer

    def on_train_epoch_start(self) -> None:
        """Fix this epoch's order of cells and start its sums."""
        rng = np.random.default_rng(derive_seed(self.seed, "order", self.current_epoch))
        order = rng.permutation(self.split.train)
        self._minibatches = np.split(order, np.cumsum(self.sizes)[:-1])
        further = [name for adversary in self.adversaries for name in adversary.figures]
        if self.scheduled.objective.total_correlation:
            further.append("total_correlation")
        self._totals = StepTotals(self.device, further)
        self._bad: list[NDArray[np.int64]] = []
        self._started = time.perf_counter()

    def training_step(self, chunk: int, chunk_idx: int) -> None:
        """Run the minibatches of chunk number ``chunk``."""
        self.noise.manual_seed(derive_seed(self.seed, "noise", self.current_epoch, chunk))
        minibatches = self._minibatches[chunk * CHUNK : (chunk + 1) * CHUNK]
        for first in range(0, len(minibatches), GROUP):
            group = minibatches[first : first + GROUP]
            batch = self.store.batch(np.concatenate(group), device=self.device)
            for part in self.step.parts(batch, [len(rows) for rows in group]):
                self.step(part, self.steps_done, self.learning_rate(self.steps_done), self._totals)
                if self.average is not None:
                    self.average.update()
                self.steps_done += 1
        # a raw optimiser leaves Lightning's step count at 0, and checkpoints and loggers rely on it
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for count in (progress.total, progress.current):
            count.ready += len(minibatches)
            count.completed += len(minibatches)
        self._bad += [minibatches[i] for i in self._totals.bad_steps()]
        if chunk == self.n_chunks - 1:
            self._close_epoch()

    def close(self) -> None:
        """Keep the optimiser's moments for a later run and give the parameters memory of their own again."""
        optimizer = getattr(self, "optimizer", None)
        self.end_moments = {} if optimizer is None else moments(self.module, optimizer)
        if isinstance(optimizer, FlatAdam):
            optimizer.release()
        self._drop_units_by(None)

    def _drop_units_by(self, generator: torch.Generator | None) -> None:
        for part in self.module.modules():
            if isinstance(part, Dropout):
                part.generator = generator

    def kept_weights(self) -> AbstractContextManager[None]:
        """Put the weights in place that this run keeps: their moving average where there is one."""
        return nullcontext() if self.average is None else self.average.applied()

    def validation_step(self, chunk: int, chunk_idx: int) -> None:
        """Score all validation cells with the same noise in every epoch."""
        with self.kept_weights():
            scores = score_cells(
                self.module, self.store, self.split.validation, seed=derive_seed(self.seed, "validation")
            )
        reconstruction = float(scores.reconstruction_N.mean())
        cost = self.scheduled.control.judged(torch.from_numpy(scores.kl_NK), self.steps_done - 1)
        metrics = {
            "loss_validation": reconstruction + float(cost),
            "recon_validation": reconstruction,
            "kl_validation": float(scores.kl_NK.sum(1).mean()),
            "elbo_validation": float(scores.elbo_N.mean()),
        }
        self.rows[-1] |= metrics
        if self.steps_done > self.settled_step:
            self.learning_rate.observe(metrics["loss_validation"])
        weight = self.scheduled.control.flat_weight(self.steps_done - 1)
        #: objective of each validation cell after the last epoch, nats; NaN where it is no mean over cells
        loss_N = scores.reconstruction_N + (math.nan if weight is None else weight) * scores.kl_NK.sum(1)
        self.validation_loss_N = torch.from_numpy(loss_N)
        self.log_dict(metrics, batch_size=len(self.split.validation))

    def _close_epoch(self) -> None:
        """Write the epoch's row of the history; validation adds its part."""
        last = self.steps_done - 1
        row = {name if name.endswith("_weight") else f"{name}_train": v for name, v in self._totals.means().items()}
        row |= {
            "kl_weight": self.scheduled.control.weight(last),
            "lr": self.learning_rate(last),
            "cells_per_second": len(self.split.train) / (time.perf_counter() - self._started),
            **self.scheduled.control.columns(last),
        }
        if "discriminator" in self.scheduled.phases:
            row["phase"] = 1.0 + (last >= self.scheduled.phases["discriminator"].start_step)
        if self._bad:
            row["skipped_steps"] = float(len(self._bad))
            self._judge_bad_steps()
        self.rows.append(row)
        self.log_dict(row, batch_size=len(self.split.train), on_step=False, on_epoch=True)

    def _judge_bad_steps(self) -> None:
        """Warn of steps that were skipped; end the run where they are too many."""
        self.bad_steps += len(self._bad)
        epoch, n = self.first_epoch + self.current_epoch, len(self.sizes)
        reason = explain_non_finite(
            self.module, self.store, np.concatenate(self._bad), self.cell_names, self.learning_rate(self.steps_done - 1)
        )
        text = (
            f"Epoch {epoch}: {len(self._bad)} of {n} steps had a loss or gradient that was not finite and were skipped "
            f"({self.bad_steps} in this run; it ends at {MOST_BAD_STEPS}). {reason}"
        )
        if self.bad_steps >= MOST_BAD_STEPS or len(self._bad) == n:
            self.failure = text
            self.trainer.should_stop = True
        else:
            logger.warning(text)

    def notes(self) -> list[str]:
        """Return what the log line says of adversaries."""
        row, notes = self.rows[-1], []
        for adversary in self.adversaries:
            name, start = adversary.name, adversary.phase.start_step
            if self.steps_done <= start:
                notes.append(f"{name} off until step {start + 1}: a zero loss is expected")
            else:
                loss, other = (row[f"{player}_loss_train"] for player in (name, adversary.other))
                weight = row[f"{name}_weight"]
                notes.append(f"{name} loss={loss:.4f} weight={weight:.4g} {adversary.other} loss={other:.4f}")
        return notes

    def snapshot(self) -> Checkpoint:
        """State of the run after an epoch."""
        return {
            "module": self.module.state_dict(),
            "moments": moments(self.module, self.optimizer),
            "control": self.scheduled.control.state(),
            "adversaries": [(a.network.state_dict(), moments(a.network, a.optimizer)) for a in self.adversaries],
            "average": None if self.average is None else (self.average.averages, self.average.steps),
            "steps": self.steps_done,
            "bad_steps": self.bad_steps,
            "failure": self.failure,
            "rows": self.rows,
            "learning_rate": self.learning_rate.state(),
        }

    def resume(self, state: Checkpoint) -> None:
        """Go on from :meth:`snapshot` once the run begins."""
        self._resumed = state
        self.module.load_state_dict(state["module"])
        self.rows, self.steps_done, self.bad_steps = state["rows"], state["steps"], state["bad_steps"]
        self.failure = state["failure"]
        self.learning_rate.restore(state["learning_rate"])

    @torch.no_grad()
    def _restore(self, state: Checkpoint) -> None:
        """Put what the beginning of a run makes where the interrupted one left it."""
        restore_moments(self.module, self.optimizer, state["moments"])
        for name, value in self.scheduled.control.state().items():
            value.copy_(state["control"][name])
        for adversary, (weights, its_moments) in zip(self.adversaries, state["adversaries"], strict=True):
            adversary.network.load_state_dict(weights)
            restore_moments(adversary.network, adversary.optimizer, its_moments)
        if self.average is not None:
            averages, self.average.steps = state["average"]
            torch._foreach_copy_(self.average.averages, averages)
