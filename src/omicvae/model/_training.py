"""``train``: from the user's settings to a run, its continuation, and its resumption."""

import inspect
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import lightning.pytorch as pl
import numpy as np

from omicvae._core import SettingError, TrainingError, choose, integral
from omicvae.data import train_validation_split
from omicvae.model._build import random_cells
from omicvae.model._rescue import RescueMixin
from omicvae.model._setup import check_unchanged
from omicvae.objective import SCHEDULES, Objective
from omicvae.training import (
    Checkpoint,
    Checkpointing,
    Optimisation,
    Split,
    Stopping,
    TrainingPlan,
    default_weight_decay,
    derive_seed,
    fit,
    hardware,
    has_checkpoint,
    plan_budget,
    read_checkpoint,
)

log = logging.getLogger("omicvae")

ON_BAD_STEPS = ("raise", "stop")

#: What the attempts of a rescue take over from the run; length, rate and stopping are what may have been wrong.
RESCUED_SETTINGS = ("batch_size", "precision", "optimizer", "weight_decay", "ema_decay", "seed")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What defines a run, as ``train`` takes it; JSON-able but for an objective's own schedule object."""

    max_epochs: int | None
    objective: Objective | Mapping[str, Any] | None
    batch_size: int
    train_size: float
    early_stopping: bool
    early_stopping_patience: int | None
    early_stopping_min_delta: float
    learning_rate: float | None
    lr_schedule: str
    optimizer: str
    weight_decay: float | None
    gradient_clip_norm: float | None
    ema_decay: float | None
    precision: str
    seed: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values as JSON gives them back."""
        goal = None if self.objective is None else Objective.parse(self.objective).to_dict()
        plain: dict[str, Any] = json.loads(json.dumps({**asdict(replace(self, objective=None)), "objective": goal}))
        return plain

    def resumed(self, saved: Mapping[str, Any]) -> Self:
        """Return the settings of a saved run; what was given beside them must agree.

        Raises
        ------
        SettingError
            On a setting that was given and is another one, or a schedule object that was not given again.
        """
        given = self.to_dict()
        defaults = {name: p.default for name, p in inspect.signature(TrainingMixin.train).parameters.items()}
        other = [n for n, value in given.items() if value not in (defaults[n], saved[n])]
        if other:
            shown = ", ".join(f"{name}={given[name]!r} (the run has {saved[name]!r})" for name in other)
            raise SettingError(f"A resumed run keeps its settings, got {shown}. Leave them out, or start a new run.")
        goal = saved["objective"]
        if goal is not None and goal["schedule"] not in SCHEDULES:
            if given["objective"] is None:
                raise SettingError(f"The run to resume has a schedule of its own, {goal['schedule']}; pass objective=.")
            goal = self.objective
        return replace(self, **{**saved, "objective": goal})


class TrainingMixin(RescueMixin):
    """``train``."""

    def train(
        self,
        max_epochs: int | None = None,
        *,
        objective: Objective | Mapping[str, Any] | None = None,
        batch_size: int = 128,
        train_size: float = 0.9,
        early_stopping: bool = True,
        early_stopping_patience: int | None = None,
        early_stopping_min_delta: float = 0.0,
        learning_rate: float | None = None,
        lr_schedule: str = "one_cycle",
        optimizer: str = "adam",
        weight_decay: float | None = None,
        gradient_clip_norm: float | None = None,
        ema_decay: float | None = None,
        accelerator: str = "auto",
        devices: int | str | list[int] = "auto",
        precision: str = "auto",
        seed: int | None = None,
        fresh: bool = False,
        checkpoint_dir: str | Path | None = None,
        checkpoint_every: int = 1,
        resume_from: str | Path | None = None,
        on_bad_steps: str = "raise",
        rescue: bool | Mapping[str, Any] = False,
        progress_bar: bool = True,
        logger: Any = False,
        callbacks: Sequence[Any] = (),
        **trainer_arguments: Any,
    ) -> None:
        """Fit the model: one-cycle Adam, KL warm-up, validation in every epoch, best weights kept.

        Parameters
        ----------
        max_epochs
            Length of the run; None takes the number of optimiser steps that benchmarks found to suffice.
        objective
            ``Objective`` or a mapping of its fields (``beta``, ``schedule``, ``warmup``, ``free_bits``, ...).
        batch_size
            Cells in a minibatch.
        train_size
            Fraction of cells to train on; the others validate. 1.0 trains on all, without validation.
        early_stopping, early_stopping_patience, early_stopping_min_delta
            Stop when the validation objective has not improved, by more than so many nats per cell, for so many epochs
            (default: a fifth of the plan, at least 10), counted once all weights are final and the rate has settled.
        learning_rate, lr_schedule
            Rate and its course: ``"one_cycle"`` with this peak, ``"plateau"`` (three tenths of it whenever validation
            stalls) or ``"constant"``.
        optimizer, weight_decay, gradient_clip_norm, ema_decay
            ``"adam"`` or ``"adamw"``; decay of the weights, None for 7 / training cells (weights ~ N(0, 1/7)); largest
            norm of the gradient; and d of the moving average of weights that is validated and kept instead of them.
        accelerator, devices, precision
            As in ``lightning.pytorch.Trainer``; ``"auto"`` takes a CUDA device where there is one, else the CPU, and
            float32. Offered are one device, and the precisions of ``omicvae.training.PRECISIONS``.
        seed
            None goes on from the model's seed.
        fresh
            Start again from new weights, with an empty history.
        checkpoint_dir, checkpoint_every
            Folder for checkpoints from which a run can be resumed, written after every so many epochs.
        resume_from
            Folder with the checkpoints of an interrupted run: it goes on with its own settings, to the same result as
            if it had not been interrupted. The model must be the one that the run was started on, made anew.
        on_bad_steps
            What happens when too many steps had a loss that was not finite: ``"raise"`` an error or ``"stop"`` with a
            warning. Either way the model has its best weights and can be used.
        rescue
            Diagnose the fit and, where it is not sound, try the remedies on new networks as :func:`omicvae.rescue`
            does; the model becomes the best of them, and ``attempts`` has them all. A mapping gives its settings
            (``labels_key``, ``max_attempts``, ``max_seconds``).
        progress_bar
            Show a bar; the log line of each epoch goes to the logger ``omicvae`` at level INFO.
        logger
            A Lightning logger; True for its CSV logger, in ``omicvae_logs``.
        callbacks, trainer_arguments
            Passed to the Trainer.

        A second call goes on from the present weights with the same split, by default with the last objective at its
        final KL weight, keeps the optimiser's moments, plans a new learning-rate cycle and appends to ``history``.

        Raises
        ------
        SettingError
            If the run would end before all weights are final, or a setting is impossible.
        TrainingError
            If too many steps had a loss or gradient that was not finite; the model is usable.
        """
        check_unchanged(self._own_adata(), self.schema.keys.layer, self._fingerprint)
        choose("on_bad_steps", on_bad_steps, ON_BAD_STEPS)
        settings = RunSettings(
            max_epochs,
            objective,
            batch_size,
            train_size,
            early_stopping,
            early_stopping_patience,
            early_stopping_min_delta,
            learning_rate,
            lr_schedule,
            optimizer,
            weight_decay,
            gradient_clip_norm,
            ema_decay,
            precision,
            seed,
        )
        if rescue and train_size == 1:
            raise SettingError(
                "rescue compares fits on validation cells, and train_size=1.0 leaves none. Leave some, as with 0.9."
            )
        checkpoint = None
        if resume_from is not None:
            checkpoint = read_checkpoint(Path(resume_from))
            settings = settings.resumed(self._run_of(checkpoint))
        else:
            if checkpoint_dir is not None and has_checkpoint(Path(checkpoint_dir)):
                raise SettingError(
                    f"{checkpoint_dir} holds checkpoints of another run. Go on with it by train(resume_from="
                    f"{str(checkpoint_dir)!r}), or choose an empty folder."
                )
            settings = self._continued(settings, fresh)
        folder = resume_from if checkpoint_dir is None else checkpoint_dir
        checkpointing = None
        if folder is not None:
            every = integral("checkpoint_every", checkpoint_every, minimum=1)
            checkpointing = Checkpointing(Path(folder), every, {**self._identity(), "run": settings.to_dict()})
        hard = hardware(accelerator, devices, settings.precision)
        stopping = Stopping(
            settings.early_stopping, settings.early_stopping_patience, settings.early_stopping_min_delta
        )
        plan = self._plan(settings, fresh=fresh, bfloat16_products=hard.pop("bfloat16_products"))
        result = fit(
            plan,
            stopping=stopping,
            progress_bar=progress_bar,
            callbacks=callbacks,
            checkpointing=checkpointing,
            resume_from=checkpoint,
            logger=pl.loggers.CSVLogger("omicvae_logs", name=None) if logger is True else logger,
            **hard,
            **trainer_arguments,
        )
        self.fits.append(result)
        self.objective = plan.scheduled.objective.to_dict()
        self._moments = plan.end_moments
        self.train_indices, self.validation_indices = plan.split.train, plan.split.validation
        self._knows_split = self.is_trained_ = True
        self.attempts = ()
        failure = result.failure
        if rescue:
            kept = {name: getattr(settings, name) for name in RESCUED_SETTINGS}
            hardware_too = {"accelerator": accelerator, "devices": devices, "progress_bar": progress_bar}
            asked = dict(rescue) if isinstance(rescue, Mapping) else {}
            outcome = self._rescued(arguments={**kept, **hardware_too, **trainer_arguments}, failure=failure, **asked)
            if outcome.model is not self:
                self._become(outcome.model)
            failure = outcome.attempts[outcome.chosen].failure
        if failure:
            text = f"{failure} Training ended; the model has its best weights so far and can be used."
            if on_bad_steps == "raise":
                raise TrainingError(text)
            log.warning(text)

    def _identity(self) -> dict[str, Any]:
        """Return what must be the same for a run to be resumed, JSON-able."""
        identity: dict[str, Any] = json.loads(
            json.dumps({"config": self.config.to_dict(), "data": self._fingerprint, "epochs_before": len(self.history)})
        )
        return identity

    def _run_of(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the settings of the run that a checkpoint belongs to, if it is one of this model."""
        saved = dict(checkpoint.state["settings"])
        run: dict[str, Any] = saved.pop("run")
        own = self._identity()
        other = [name for name in own if own[name] != saved[name]]
        if other:
            shown = "; ".join(f"{name}: {saved[name]} there, {own[name]} here" for name in other)
            raise SettingError(
                f"The checkpoint is of another model ({shown}). Make the model as it was when that run was started, "
                "on the same data."
            )
        return run

    def _continued(self, settings: RunSettings, fresh: bool) -> RunSettings:
        """Settle what a new run takes over from the one before: seed, objective, and a word on it."""
        seed = self.config.seed if settings.seed is None else integral("seed", settings.seed, minimum=0)
        settings = replace(settings, seed=seed)
        if not self.fits or fresh:
            return settings
        kept = "Adam's moments" if self._moments else "a new optimiser (moments are not saved with a model)"
        if settings.objective is None:
            weight = float(self.history["kl_weight"].iloc[-1])
            settings = replace(
                settings, objective=Objective.parse({**self.objective, "schedule": "constant"}).held(weight)
            )
            kept += f", the KL weight held at {weight:.4g}"
        log.warning(
            "Training goes on from epoch %d with the present weights, %s and a new learning-rate cycle; fresh=True "
            "starts again.",
            len(self.history),
            kept,
        )
        return settings

    def _plan(self, settings: RunSettings, *, fresh: bool, bfloat16_products: bool) -> TrainingPlan:
        """Fix split, budget and objective of a run, and initialise the network before the first one."""
        store, seed = self._cells(None), int(settings.seed or 0)
        goal = Objective.parse(settings.objective)
        batch_size = integral("batch_size", settings.batch_size, minimum=1)
        known = self._knows_split and not fresh
        # what has been trained on must not validate later
        split = Split(self.train_indices, self.validation_indices) if known else self._split(settings.train_size, seed)
        decay = settings.weight_decay
        optimisation = Optimisation(
            **({} if settings.learning_rate is None else {"learning_rate": settings.learning_rate}),
            schedule=settings.lr_schedule,
            optimizer=settings.optimizer,
            weight_decay=default_weight_decay(len(split.train)) if decay is None else decay,
            gradient_clip_norm=settings.gradient_clip_norm,
            ema_decay=settings.ema_decay,
        )
        budget = plan_budget(len(split.train), batch_size, max_epochs=settings.max_epochs, optimisation=optimisation)
        n_genes, n_latent = self.module.n_genes, self.config.architecture.n_latent
        scheduled = goal.scheduled(budget.total_steps, budget.steps_per_epoch, n_genes=n_genes, n_latent=n_latent)
        if scheduled.effective_beta != goal.beta:
            log.warning(
                'reduction="mean" averages the reconstruction over %d genes and the KL over %d dimensions: '
                "beta=%g acts like beta=%.4g on the ELBO.",
                *(n_genes, n_latent, goal.beta, scheduled.effective_beta),
            )
        if fresh:  # only now that nothing can be refused any more
            self._start_again()
        if not self.fits:
            self.schema = self.schema.fit_scaling(store, split.train)
            self._store = store = store.with_schema(self.schema)
            self.module.initialise(store.moments(split.train), random_cells(store, split.train, seed))
            self._name_constant_genes()
        return TrainingPlan(
            self.module,
            store,
            split,
            scheduled,
            budget,
            batch_size=batch_size,
            seed=derive_seed(seed, "noise", len(self.fits)),
            cell_names=self._own_adata().obs_names,
            first_epoch=len(self.history) + 1,
            bfloat16_products=bfloat16_products,
            start_moments=self._moments,
        )

    def _name_constant_genes(self) -> None:
        left_out = [self.schema.gene_names[g] for g in self.module.likelihood.constant_genes.tolist()]
        if left_out:
            log.warning(
                "%d gene(s) are constant over the training cells and are left out of the likelihood, such as %s.",
                len(left_out),
                ", ".join(left_out[:5]),
            )

    def _split(self, train_size: float, seed: int) -> Split:
        """Split the same way in every run with the same seed and size; stratified by the categorical covariates."""
        store = self._cells(None)
        rng = np.random.default_rng(derive_seed(seed, "split"))
        return Split(*train_validation_split(store.n_cells, train_size=train_size, strata=store.codes_ND, rng=rng))
