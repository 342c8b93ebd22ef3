"""Remedies in the words of those who trained the fit; what has no counterpart there is left out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from omicvae._core import DataError, choose
from omicvae.diagnostics import Remedy
from omicvae.diagnostics.rules import each_once

#: What the objectives of other libraries have: a weight of the KL, and how it rises.
WEIGHT_ALONE = {"beta", "schedule", "reduction"}
#: Epochs of a whole run by default in scvi-tools: 400, or fewer for more cells than 20,000.
MOST_EPOCHS, CELLS_OF_MOST = 400, 20_000
WARM_UP = 10  # a tenth of the run
#: Learning rates: of a run of fewer steps than the second number the first, as scvi-tools' usual one leaves it
#: unfinished (300 cells, 1200 steps: 2.4 nats a quarter of the run to come at 1e-3, healthy at 5e-3).
FEW_STEPS_RATE, FEW_STEPS, BATCH = 5e-3, 8000, 128
RATE, CLIP = 1e-3, 10.0

#: Reasons that hold anywhere.
RAMP = "The ELBO itself, from new weights, the KL ramped in while the decoder learns to use z."
LONGER = "Twice the epochs, from new weights."


def in_words_of(words: str, run: Mapping[str, Any], remedies: Iterable[Remedy]) -> tuple[Remedy, ...]:
    """Return the remedies as a library says them; ``run`` holds what the run was made of, see the functions.

    Raises
    ------
    SettingError, DataError
        If there are no such words, or ``run`` lacks what they build on: a file of evidence may say anything.
    """
    choose("words", words, WORDS)
    if missing := sorted(NEEDED[words] - set(run)):
        raise DataError(f"run lacks {', '.join(missing)}, which remedies in the words of {words!r} build on.")
    said = (WORDS[words](remedy, run) for remedy in remedies)
    return each_once((remedy for remedy in said if remedy is not None), lambda remedy: remedy.line)


def _why(remedy: Remedy) -> str:
    if remedy.model or "learning_rate" in remedy.arguments or set(remedy.settings) - WEIGHT_ALONE:
        return remedy.why
    if "max_epochs" in remedy.arguments:
        return LONGER
    return RAMP if remedy.settings["beta"] == 1 else remedy.why


def _epochs(remedy: Remedy, run: Mapping[str, Any]) -> int:
    usual = round(MOST_EPOCHS * min(1.0, CELLS_OF_MOST / run["n_cells"]))
    return max(int(remedy.arguments.get("max_epochs", run["n_epochs"])), usual)


def scvi_tools(remedy: Remedy, run: Mapping[str, Any]) -> Remedy | None:
    """Make a new model and train it: ``plan_kwargs`` hold weight and ramp of the KL, and the learning rate.

    ``run``: ``model`` (its import path), ``arguments`` (beside the defaults), ``accepted`` (what of a network it
    takes), ``direct`` (plan settings that are arguments of its ``train``), ``kl_unit`` (weight that is a β of 1),
    ``n_epochs``, ``n_cells``.
    """
    if set(remedy.settings) - WEIGHT_ALONE:
        return None
    network = {name: value for name, value in remedy.model.items() if name in run["accepted"] and value is not None}
    epochs = _epochs(remedy, run)
    plan = {
        "max_kl_weight": remedy.settings["beta"] * run["kl_unit"],
        "n_epochs_kl_warmup": max(1, epochs // WARM_UP),
    }
    plan["lr"] = FEW_STEPS_RATE if epochs * run["n_cells"] / BATCH < FEW_STEPS else RATE
    arguments: dict[str, Any] = {"max_epochs": epochs, "early_stopping": True}
    if "learning_rate" in remedy.arguments:
        plan["lr"], arguments["gradient_clip_val"] = RATE, CLIP
    arguments |= {name: plan.pop(name) for name in run["direct"] if name in plan}
    made = ", ".join(["adata", *_named({**run["arguments"], **network})])
    trained = ", ".join(_named({**arguments, "plan_kwargs": plan}))
    return replace(remedy, why=_why(remedy), call=f"model = {run['model']}({made}); model.train({trained})")


def training_loop(remedy: Remedy, run: Mapping[str, Any]) -> Remedy | None:
    """Write lines of a training loop over ``nll`` (cells) and ``kl`` (cells × dimensions) of a minibatch.

    ``run``: ``n_epochs`` (0 where it is not known), ``n_cells``.
    """
    if set(remedy.settings) - WEIGHT_ALONE - {"free_bits"}:
        return None
    if remedy.model:
        call = f"n_latent, n_hidden, dropout = {remedy.model['n_latent']}, {remedy.model['n_hidden']}, "
        return replace(remedy, why=_why(remedy), call=f"{call}{remedy.model['dropout_rate']}")
    if "learning_rate" in remedy.arguments:
        call = f"optimizer = Adam(parameters, lr={RATE:g}); clip_grad_norm_(parameters, {CLIP:g})"
        return replace(remedy, why=_why(remedy), call=call)
    epochs, beta = _epochs(remedy, run), remedy.settings["beta"]
    kl = "kl.sum(1).mean()"
    if "free_bits" in remedy.settings:
        kl = f"kl.mean(0).clamp(min={remedy.settings['free_bits']:g}).sum()"
    weight = f"{beta:g} * " if beta != 1 else ""
    call = f"w = {weight}min(1, epoch / {max(1, epochs // WARM_UP)}); loss = nll.mean() + w * {kl}"
    if "max_epochs" in remedy.arguments:
        call += f"  # for {epochs} epochs"
    return replace(remedy, why=_why(remedy), call=call)


def _named(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value!r}" for name, value in values.items()]


#: Name of the words → how they say a remedy.
WORDS: dict[str, Callable[[Remedy, Mapping[str, Any]], Remedy | None]] = {
    "scvi-tools": scvi_tools,
    "training loop": training_loop,
}
#: What each needs of ``run``.
NEEDED = {
    "scvi-tools": {"model", "arguments", "accepted", "direct", "kl_unit", "n_epochs", "n_cells"},
    "training loop": {"n_epochs", "n_cells"},
}
