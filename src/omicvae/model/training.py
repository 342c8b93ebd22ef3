"""``train``: from the user's settings to a run, its continuation, and its resumption."""

import inspect
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np

from omicvae._core import NotSupportedError, SettingError, TrainingError, choose, integral, named_fields
from omicvae.data import train_validation_split
from omicvae.data.minified import require_data
from omicvae.model.rescue_search import Attempt, Limits
from omicvae.model.rescue_search import rescue as mend
from omicvae.model.state import HasState, ModelState
from omicvae.objective import Objective
from omicvae.training import (
    TRAIN_SIZE,
    Checkpoint,
    CheckpointWriter,
    RunSettings,
    Split,
    TrainingPlan,
    check_trainer_arguments,
    derive_seed,
    fit,
    hardware,
    has_checkpoint,
    make_budget,
    own_surroundings,
    read_checkpoint,
)

log = logging.getLogger("omicvae")


class TrainingMixin(HasState):
    """``train``."""

    #: fits of the rescue that the model came from; that as given is the first
    attempts: tuple[Attempt, ...] = ()

    @own_surroundings()
    def train(
        self,
        max_epochs: int | None = None,
        *,
        objective: Objective | Mapping[str, Any] | None = None,
        batch_size: int = 128,
        train_size: float | None = None,
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
        callbacks: Any = (),
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
            Fraction of cells to train on (None: 0.9); the others validate. 1.0 trains on all, without validation. A
            second call keeps the split and takes no other fraction.
        early_stopping, early_stopping_patience, early_stopping_min_delta
            Stop when the validation objective has not improved, by more than so many nats per cell, for so many epochs
            (default: a fifth of the plan, at least 10), counted once all weights are final and the rate falls.
        learning_rate, lr_schedule
            Rate and its course: ``"one_cycle"`` with this peak, ``"plateau"`` (three tenths of it whenever validation
            stalls) or ``"constant"``.
        optimizer, weight_decay, gradient_clip_norm, ema_decay
            ``"adam"`` or ``"adamw"``; decay of the weight matrices, None for 50 / training cells (a prior N(0, 1/50));
            largest norm of the gradient; and d of the moving average of weights that is validated and kept instead.
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
            A Lightning logger; True or ``"csv"`` for its CSV logger, in ``omicvae_logs``.
        callbacks, trainer_arguments
            Passed to the Trainer; a single callback needs no list.

        A second call goes on from the present weights with the same split, by default with the last objective at its
        final KL weight, keeps the optimiser's moments, plans a new learning-rate cycle and appends to ``history``.
        An error in a run, of a callback say, leaves the model as it was before the call; what has been computed is in
        the checkpoints, where there are any. A run that is interrupted (Ctrl-C) keeps what it has learned.

        Raises
        ------
        SettingError
            If the run would end before all weights are final, or a setting is impossible.
        TrainingError
            If too many steps had a loss or gradient that was not finite; the model is usable.
        """
        check_trainer_arguments(trainer_arguments, inspect.signature(self.train).parameters)
        settings, state = RunSettings(**named_fields(RunSettings, locals())), self.state
        choose("on_bad_steps", on_bad_steps, ("raise", "stop"))
        limits, given = Limits.of(rescue), settings.given()
        with state.one_look(), state.all_or_nothing():
            require_data(state.own_adata(), "train()")
            if state.schema.extended:
                _check_mapped(state, rescue=limits is not None)
            settings, checkpoint = _begun(settings, state, fresh, checkpoint_dir, resume_from)
            folder, writer = resume_from if checkpoint_dir is None else checkpoint_dir, None
            if folder is not None:
                every = integral("checkpoint_every", checkpoint_every, minimum=1)
                about = {**_identity(state, fresh), "parts": state.parts, "run": settings.to_dict()}
                writer = CheckpointWriter(Path(folder), every, about)
            hard = hardware(accelerator, devices, settings.precision)
            split = _split(settings, state, fresh)
            if limits is not None:
                limits.check(state.own_adata(), split)
            plan = _make_plan(settings, state, split, fresh=fresh, bfloat16_products=hard.pop("bfloat16_products"))
            result = fit(
                plan,
                settings.best_weights(plan.budget.max_epochs),
                progress_bar=progress_bar,
                callbacks=[callbacks] if isinstance(callbacks, pl.Callback) else callbacks,
                writer=writer,
                resume_from=checkpoint,
                logger=_logger(logger),
                **hard,
                **trainer_arguments,
            )
        checkpoints = None if folder is None else str(folder)
        state.fits.append(
            replace(result, settings=given if checkpoint is None else settings.given(), checkpoints=checkpoints)
        )
        state.objective, state.moments, state.split = plan.scheduled.objective.to_dict(), plan.end_moments, plan.split
        self.attempts, self.is_trained_, failure = (), True, result.failure
        if limits is not None:
            how: dict[str, Any] = {"accelerator": accelerator, "devices": devices, "progress_bar": progress_bar}
            outcome = mend(self, **asdict(limits), **how, **trainer_arguments)
            self.state, self.attempts = outcome.model.state, outcome.attempts
            failure = outcome.attempts[outcome.chosen].failure
        if failure:
            text = f"{failure} Training ended; the model has its best weights so far and can be used."
            if on_bad_steps == "raise":
                raise TrainingError(text)
            log.warning(text)


def _logger(given: Any) -> Any:
    """Return what the Trainer takes as its logger."""
    if isinstance(given, str):
        choose("logger", given, ("csv",))
    return pl.loggers.CSVLogger("omicvae_logs", name=None) if given in (True, "csv") else given


def _begun(
    settings: RunSettings,
    state: ModelState,
    fresh: bool,
    checkpoint_dir: str | Path | None,
    resume_from: str | Path | None,
) -> tuple[RunSettings, Checkpoint | None]:
    """Return the settings of a run that is resumed, with its checkpoint, or else of a new one."""
    if resume_from is None:
        if checkpoint_dir is not None and has_checkpoint(Path(checkpoint_dir)):
            raise SettingError(
                f"{checkpoint_dir} holds checkpoints of another run. Go on with it by train(resume_from="
                f"{str(checkpoint_dir)!r}), or choose an empty folder."
            )
        return _continued(settings, state, fresh), None
    checkpoint = read_checkpoint(Path(resume_from))
    saved, own = checkpoint["settings"], _identity(state, fresh)
    other = [name for name in own if own[name] != saved[name]]
    shown = "; ".join(f"{name}: {saved[name]} there, {own[name]} here" for name in other)
    assert state.identity is not None  # it comes with the data
    if places := state.identity.differing(saved["parts"]):
        shown = "; ".join(filter(None, [shown, f"its data differ in {', '.join(places)}"]))
    if shown:
        raise SettingError(
            f"The checkpoint is of another model ({shown}). Make the model as it was when that run was started, "
            "on the same data."
        )
    return settings.resumed(saved["run"]), checkpoint


def _check_mapped(state: ModelState, *, rescue: bool) -> None:
    """Hold that training moves the latent of cells that were mapped to a reference, and nothing but what they added."""
    if rescue:
        state.require_own_weights("train(rescue=True)")
    if not state.schema.added:
        raise NotSupportedError(
            "There is nothing to train: the reference knows every level of these cells. Their latent is right as it "
            "is; use get_latent_representation() or map_query()."
        )
    if not state.config.architecture.encode_covariates:
        raise NotSupportedError(
            "Training would be for nothing: this model's covariates enter the decoder alone (encode_covariates=False), "
            "so that weights of new levels cannot move the latent. Use the latent as it is, or make the reference "
            "with encode_covariates=True."
        )
    added = "; ".join(f"{key}: {', '.join(map(str, levels))}" for key, levels in state.schema.added.items())
    log.info("Training the weights of new levels alone (%s); all others are the reference's and frozen.", added)


def _identity(state: ModelState, fresh: bool) -> dict[str, Any]:
    """Return what must be the same for a run to be resumed, as JSON gives it back."""
    own = {"config": state.config.to_dict(), "epochs_before": 0 if fresh else len(state.history)}
    plain: dict[str, Any] = json.loads(json.dumps(own))
    return plain


def _continued(settings: RunSettings, state: ModelState, fresh: bool) -> RunSettings:
    """Settle what a new run takes over from the one before: seed, objective, and a word on it."""
    settings = replace(settings, seed=state.config.seed if settings.seed is None else settings.seed)
    if state.history.empty or fresh:
        return settings
    kept = "Adam's moments" if state.moments else "a new optimiser (moments are not saved with a model)"
    if settings.objective is None:
        weight = float(state.history["kl_weight"].iloc[-1])
        goal = Objective.held_from(state.objective, weight)
        if state.schema.extended:  # adversaries would be new ones, of the batches of the query alone
            goal = replace(goal, adversary=None, discriminator=None)
        settings = replace(settings, objective=goal)
        kept += f", the KL weight held at {weight:.4g}"
    if not state.schema.extended:
        log.warning(
            "Training goes on from epoch %d with the present weights, %s and a new learning-rate cycle; fresh=True "
            "starts again.",
            len(state.history),
            kept,
        )
    return settings


def _split(settings: RunSettings, state: ModelState, fresh: bool) -> Split:
    """Return the split of a run, a function of seed and size; one that goes on keeps it.

    Raises
    ------
    SettingError
        If it should have another size, or leaves no validation cells for what waits for them.
    """
    kept, size, store = None if fresh else state.split, settings.train_size, state.cells()
    split = kept
    if split is None or size is not None:
        rng = np.random.default_rng(derive_seed(int(settings.seed or 0), "split"))
        share = TRAIN_SIZE if size is None else size
        split = Split(*train_validation_split(store.n_cells, train_size=share, strata=store.codes_ND, rng=rng))
    if kept is not None and len(kept.train) != len(split.train):
        raise SettingError(
            f"train_size={size:g} has {len(split.train)} cells train, and in the run before {len(kept.train)} did. "
            "What has trained must not validate, so a run that goes on keeps its split: leave train_size out, or "
            "start again with fresh=True."
        )
    split = split if kept is None else kept
    settings.check_effects(validated=len(split.validation) > 0)
    return split


def _make_plan(
    settings: RunSettings, state: ModelState, split: Split, *, fresh: bool, bfloat16_products: bool
) -> TrainingPlan:
    """Fix budget and objective of a run, and initialise the network before the first one."""
    store, seed = state.cells(), int(settings.seed or 0)
    goal = Objective.parse(settings.objective)
    n_train, n_genes, n_latent = len(split.train), state.module.n_genes, state.config.architecture.n_latent
    budget = make_budget(n_train, settings.batch_size, settings.optimisation(n_train), max_epochs=settings.max_epochs)
    scheduled = goal.scheduled(budget.total_steps, budget.steps_per_epoch, n_genes=n_genes, n_latent=n_latent)
    if scheduled.effective_beta != goal.beta:
        log.warning(
            'reduction="mean" averages the reconstruction over %d genes and the KL over %d dimensions: '
            "beta=%g acts like beta=%.4g on the ELBO.",
            *(n_genes, n_latent, goal.beta, scheduled.effective_beta),
        )
    if fresh:  # only now that nothing can be refused any more
        state.restart()
    if not state.fits:
        state.schema = state.schema.fit_scaling(store.continuous_NV[split.train])
        state.store = store = store.with_schema(state.schema)
        rng, rows, device = np.random.default_rng(derive_seed(seed, "weights", 1)), split.train, state.module.device
        state.module.initialise(
            store.moments(rows),
            lambda n: store.batch(rng.choice(rows, min(n, len(rows)), replace=False), device=device),
        )
        left_out = [state.schema.gene_names[g] for g in state.module.likelihood.constant_genes.tolist()]
        if left_out:
            log.warning(
                "%d gene(s) are constant over the training cells and are left out of the likelihood, such as %s.",
                len(left_out),
                ", ".join(left_out[:5]),
            )
    return TrainingPlan(
        state.module,
        store,
        split,
        scheduled,
        budget,
        batch_size=settings.batch_size,
        seed=derive_seed(seed, "noise", len(state.fits)),
        cell_names=state.own_adata().obs_names,
        first_epoch=len(state.history) + 1,
        bfloat16_products=bfloat16_products,
        start_moments=state.moments,
    )
