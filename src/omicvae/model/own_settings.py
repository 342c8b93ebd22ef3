"""A model and its last run as one would write them down, and the remedies of its diagnosis as changes to them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from omicvae.diagnostics import Diagnosis, Remedy
from omicvae.diagnostics.rules import each_once
from omicvae.model.config import ModelConfig, default_dropout
from omicvae.model.state import ModelState
from omicvae.objective import SCHEDULES, Objective
from omicvae.training import has_checkpoint

#: Settings of a run that may be what was wrong, so that what starts anew starts with the defaults.
STARTED_ANEW = (
    *("max_epochs", "learning_rate", "lr_schedule"),
    *("early_stopping", "early_stopping_patience", "early_stopping_min_delta"),
)


def own_settings(state: ModelState) -> Remedy:
    """Return what was given beside the defaults: objective, arguments of ``train``, arguments of ``CVAE``.

    Rate and stopping are left out. Runs that went on add to those before them.
    """
    given = {name: value for fit in state.fits for name, value in fit.settings.items()}
    goal = given.pop("objective", {})
    arguments = {name: value for name, value in given.items() if name not in STARTED_ANEW}
    arguments["max_epochs"] = max(fit.planned_epochs for fit in state.fits)
    return Remedy(goal, "", arguments, _model_arguments(state))


def for_this_run(state: ModelState, diagnosis: Diagnosis) -> Diagnosis:
    """Return the diagnosis with remedies that keep what the run had, and with its continuation where it was short."""
    own = own_settings(state)
    kept = (remedy for remedy in diagnosis.remedies if not _has_that_adversary(own, remedy))
    remedies = [_slower_still(remedy, state.fits[-1].settings).of_run(own) for remedy in kept]
    short, cut = diagnosis.verdict == "undertrained", state.fits[-1].missing_epochs > 0
    onward = _continuation(state, own) if short or cut else None
    if remedies and onward is not None:
        # where the plan was carried out, a whole run of default length comes first
        remedies.insert((0 if cut else 1) if short else len(remedies), onward)
    return replace(diagnosis, remedies=each_once(remedies, lambda remedy: remedy.line))


def _slower_still(remedy: Remedy, had: Mapping[str, Any]) -> Remedy:
    """Return a remedy that lowers rate and clip below what the run had: a third of a rate that was as low already."""
    offered = dict(remedy.arguments)
    if "learning_rate" in offered and had.get("learning_rate", math.inf) <= offered["learning_rate"]:
        offered["learning_rate"] = float(f"{had['learning_rate'] / 3:.2g}")
    if "gradient_clip_norm" in offered:
        offered["gradient_clip_norm"] = min(offered["gradient_clip_norm"], had.get("gradient_clip_norm", math.inf))
    return replace(remedy, arguments=offered)


def _continuation(state: ModelState, own: Remedy) -> Remedy | None:
    """Go on: from the checkpoints of a run that was cut off, else from the present weights; None before any epoch."""
    last = state.fits[-1]
    if state.history.empty:
        return None
    # a checkpoint is of one run of a new model, with a schedule that a line can hold
    resumable = last.checkpoints is not None and has_checkpoint(Path(last.checkpoints)) and len(state.fits) == 1
    if last.interrupted and resumable and state.objective["schedule"] in SCHEDULES:
        why = "The run was cut off; from its checkpoints it goes on as if it had not been."
        return Remedy({}, why, {"resume_from": last.checkpoints}, own.model)
    arguments = own.arguments
    if last.missing_epochs > 0:
        epochs, why = last.missing_epochs, "The run was cut off; the epochs that it lacks, from the present weights."
        arguments = {name: value for name, value in last.settings.items() if name != "objective"}
    else:
        epochs, why = max(len(state.history), 20), "As many epochs again, 20 at least, from the present weights."
    held = Objective.parse(own.settings).held(float(state.history["kl_weight"].iloc[-1]))
    return Remedy(held.given(), why, {**arguments, "max_epochs": epochs})


def _has_that_adversary(own: Remedy, remedy: Remedy) -> bool:
    """Whether the run had all that an adversary is offered for."""
    if "adversary" not in remedy or "adversary" not in own:
        return False
    removed = own["adversary"].get("covariates")
    return removed is None or set(remedy["adversary"]["covariates"]) <= set(removed)


def _model_arguments(state: ModelState) -> dict[str, Any]:
    """Return the likelihood, and what else of the model differs from the defaults."""
    config, defaults = state.config, ModelConfig(state.config.likelihood)
    usual = {**asdict(defaults), **asdict(defaults.architecture), "dropout_rate": default_dropout(state.schema.n_cells)}
    given = {**asdict(config), **asdict(config.architecture)}
    del given["architecture"]
    return {name: value for name, value in given.items() if name == "likelihood" or value != usual[name]}
