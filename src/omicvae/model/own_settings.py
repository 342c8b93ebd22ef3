"""A model and its last run as one would write them down, and the remedies of its diagnosis as changes to them."""

from dataclasses import asdict, replace
from typing import Any

from omicvae.diagnostics import Diagnosis, Remedy
from omicvae.model.config import ModelConfig, default_dropout
from omicvae.model.state import ModelState
from omicvae.objective import Objective

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
    remedies = [remedy.of_run(own) for remedy in diagnosis.remedies if not _has_that_adversary(own, remedy)]
    short, cut = diagnosis.verdict == "undertrained", state.fits[-1].missing_epochs > 0
    if remedies and (short or cut):
        # where the plan was carried out, a whole run of default length comes first
        remedies.insert((0 if cut else 1) if short else len(remedies), _continuation(state, own))
    return replace(diagnosis, remedies=tuple(remedies))


def _continuation(state: ModelState, own: Remedy) -> Remedy:
    """Go on: from the checkpoints of a run that was cut off, else from the present weights."""
    last = state.fits[-1]
    if last.interrupted and last.checkpoints is not None:
        why = "The run was cut off; from its checkpoints it goes on as if it had not been."
        return Remedy(last.settings.get("objective", {}), why, {"resume_from": last.checkpoints}, own.model)
    if last.missing_epochs > 0:
        epochs, why = last.missing_epochs, "The run was cut off; the epochs that it lacks, from the present weights."
    else:
        epochs, why = max(len(state.history), 20), "As many epochs again, 20 at least, from the present weights."
    held = Objective.parse(own.settings).held(float(state.history["kl_weight"].iloc[-1]))
    return Remedy(held.given(), why, {**own.arguments, "max_epochs": epochs})


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
