"""Seconds to a given held-out bound: complete `train()` calls of omicvae beside SCVI's default and tuned runs.

Bound: nats per cell on test cells that neither side has seen, β = 1, mean of ten draws, by each side's own `get_elbo`.
Seconds: one complete `train()` call in a process of its own, in which a small model of each side's own kind was trained
before (`first_use_seconds`: what a first call pays for compilation and late imports). Imports, data, set-up and
construction do not count; construction is in the file. nb, SCVI's default network, same training and validation cells.

- `scvi_default`: SCVI's default run; its bound is the first target. It is scored every few epochs with the clock
  stopped (`seconds` is without scoring): when does SCVI itself first pass its final bound?
- `scvi_best`, `scvi_fastest`: the two choices of `tune_scvi.py`, from `results/tuned_scvi.json`, for sets without a
  search of their own those of another set (`settings_of`); their bounds are the other targets.
- `omicvae`: a ladder of planned lengths in optimiser steps and the default plan, each with a schedule of its own.

For each target the summary has the rung with the fewest seconds whose bound reaches it, and SCVI's seconds over those;
null and a note where no rung reaches it, or where a run failed. All figures are medians over seeds; the test cells are
the same for all seeds.
"""

import json
import warnings

import lightning.pytorch as pl
import numpy as np
import torch
from _common import (
    N_DRAWS,
    QUALITY_SETS,
    RESULTS,
    batch_key,
    fit_scvi,
    hold_out,
    inner_split,
    load,
    parser,
    run_child,
    scvi_elbo,
    simulate,
    write,
)

from omicvae.training.clock import now, timed

STEPS = (20, 40, 80, 160, 320, 640, 1280)
TRACE_POINTS = 40


class Trace(pl.Callback):
    """Held-out bound every few epochs; scoring stops the clock and leaves the random numbers as they were."""

    def __init__(self, test) -> None:
        self.test, self.points, self.model, self.scoring = test, [], None, 0.0

    def setup(self, trainer, pl_module, stage) -> None:
        """Start the clock."""
        self.started = now()

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        """Score, if it is time to."""
        reached, done = now(), trainer.current_epoch + 1
        if done % -(-trainer.max_epochs // TRACE_POINTS) and done < trainer.max_epochs:
            return
        self.model.module.eval()
        with torch.random.fork_rng():
            elbo = scvi_elbo(self.model, self.test)
        self.model.module.train()
        self.points.append({"epoch": done, "seconds": reached - self.started, "elbo": elbo})
        self.scoring += now() - reached
        self.started += now() - reached


def run_omicvae(fit, test, seed: int, accelerator: str, steps: int | None, precision: str) -> dict:
    """Train with about ``steps`` optimiser steps, None for the default plan."""
    import omicvae as ov

    def construct() -> ov.CVAE:
        ov.CVAE.setup_anndata(fit, batch_key=batch_key(fit))
        return ov.CVAE(fit, "nb", seed=seed, encode_covariates=False)

    model, construct_seconds = timed(construct)
    train_rows = inner_split(fit, seed)[0]
    epochs = None if steps is None else max(1, round(steps / -(-len(train_rows) // 128)))
    _, seconds = timed(model.train, epochs, progress_bar=False, accelerator=accelerator, precision=precision)
    return {
        "construct_seconds": construct_seconds,
        "seconds": seconds,
        "epochs": len(model.history),
        "planned_epochs": model.fits[-1].planned_epochs,
        "same_split": bool(np.array_equal(train_rows, model.train_indices)),
        "elbo": model.get_elbo(test, n_samples=N_DRAWS),
    }


def run_scvi(fit, test, seed: int, accelerator: str, trace: bool, settings: dict) -> dict:
    """Train with the given settings, scoring on the way if asked."""
    tracer = [Trace(test)] if trace else []
    model, result = fit_scvi(fit, seed, accelerator=accelerator, callbacks=tracer, **settings)
    if trace:
        result["seconds"] -= tracer[0].scoring
        result["points"] = tracer[0].points
    return {**result, "elbo": scvi_elbo(model, test)}


def child(side: str, data: str, seed: int, accelerator: str, settings_of: str = "", **settings: object) -> dict:
    """Train once, after a small model that pays for the first use."""
    warnings.simplefilter("ignore")
    adata = load(data)
    fit, test = hold_out(adata, batch_key(adata), 0)
    small = simulate(300, 50, 0.2)
    if side == "omicvae":
        _, first = timed(run_omicvae, small, small, seed, accelerator, 1, settings["precision"])
        result = run_omicvae(fit, test, seed, accelerator, **settings)
    else:
        _, first = timed(run_scvi, small, small, seed, accelerator, False, {"max_epochs": 1})
        result = run_scvi(fit, test, seed, accelerator, **settings)
    sizes = {"n_fit": fit.n_obs, "n_test": test.n_obs, "n_genes": fit.n_vars}
    return {**result, "first_use_seconds": first, **sizes}


def plan(options, data: str) -> list[dict]:
    """Return the runs of a data set, the sides in turn."""
    path = RESULTS / f"{options.tuned}.json"
    searched = json.loads(path.read_text())["chosen"] if path.exists() else {}
    settings_of = data if searched.get(data, {}).get("best") else options.settings_of
    chosen = searched.get(settings_of, {})
    default = {"max_epochs": 2} if options.quick else {}
    settings = {name: chosen[name]["settings"] for name in ("best", "fastest") if chosen.get(name)}
    rungs = [{"side": "omicvae", "steps": steps, "precision": options.precision} for steps in (*options.steps, None)]
    runs = []
    for position, seed in enumerate(options.seeds):
        peers = [
            {"side": "scvi_default", "trace": True, "settings": default},
            *(
                {"side": f"scvi_{name}", "trace": False, "settings": given, "settings_of": settings_of}
                for name, given in settings.items()
            ),
        ]
        here = [*(peers if position < options.scvi_seeds else []), *rungs]
        runs += [{**run, "data": data, "seed": seed, "accelerator": options.accelerator} for run in here]
    return runs


def middle(runs: list[dict], *names: str) -> dict | None:
    """Medians over seeds; None where there is no run or one failed."""
    if not runs or any("error" in run for run in runs):
        return None
    return {name: float(np.median([run[name] for run in runs])) for name in names}


def first_pass(runs: list[dict]) -> float | None:
    """Median seconds at which SCVI first reached the bound with which its default run ends."""
    default = [run for run in runs if run["side"] == "scvi_default"]
    if not default or any("error" in run for run in default):
        return None
    passed = [next(p["seconds"] for p in run["points"] if p["elbo"] >= run["points"][-1]["elbo"]) for run in default]
    return float(np.median(passed))


def summarise(data: str, runs: list[dict]) -> dict:
    """Targets, who reached them when, and the ratios."""
    runs = [run for run in runs if run["data"] == data]
    figures = ("elbo", "seconds", "epochs", "construct_seconds", "first_use_seconds")
    sides = ("scvi_default", "scvi_best", "scvi_fastest")
    scvi = {side: middle([run for run in runs if run["side"] == side], *figures) for side in sides}
    ladder = []
    for steps in dict.fromkeys(run["steps"] for run in runs if run["side"] == "omicvae"):
        rung = middle([run for run in runs if run["side"] == "omicvae" and run["steps"] == steps], *figures)
        ladder.append({"steps": steps, **(rung or {"elbo": None})})
    row = {"data": data, "scvi": scvi, "ladder": ladder, "reached": {}, "ratios": {}, "notes": []}
    for side, target in scvi.items():
        there = [rung for rung in ladder if target and rung["elbo"] is not None and rung["elbo"] >= target["elbo"]]
        row["reached"][side] = best = min(there, key=lambda rung: rung["seconds"], default=None)
        row["ratios"][side] = target["seconds"] / best["seconds"] if best else None
        if best is None:
            row["notes"].append(f"{side}: no omicvae run reached its bound" if target else f"{side}: no complete runs")
    passed, best = first_pass(runs), row["reached"]["scvi_default"]
    row["scvi_first_pass_seconds"] = passed
    row["ratios"]["scvi_first_pass"] = passed / best["seconds"] if passed and best else None
    row["errors"] = [[run["side"], run["seed"], *run["error"]] for run in runs if "error" in run]
    return row


def main() -> None:
    arguments = parser(__doc__, "time_to_quality")
    arguments.add_argument("--data", nargs="+", help=f"default: {', '.join(QUALITY_SETS)}")
    arguments.add_argument("--steps", type=int, nargs="+", default=list(STEPS))
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument(
        "--scvi-seeds", type=int, default=1, help="with how many of the seeds SCVI runs (default: 1)"
    )
    arguments.add_argument("--tuned", default="tuned_scvi", help="results of tune_scvi.py")
    arguments.add_argument("--settings-of", default="", help="whose tuned settings a set takes that was not searched")
    arguments.add_argument("--precision", default="auto", help="of omicvae")
    options = arguments.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    if options.quick:
        options.steps, options.seeds = [4, 20], [0]
    sets = options.data or (["bulk_brca_pam50"] if options.quick else list(QUALITY_SETS))
    runs, rows = [], []
    for data in sets:
        for task in plan(options, data):
            run = run_child(__file__, **task)
            print(json.dumps({name: value for name, value in run.items() if name != "points"}), flush=True)
            runs.append(run)
        rows.append(summarise(data, runs))
        print(json.dumps({name: rows[-1][name] for name in ("data", "ratios", "notes", "errors")}), flush=True)
        write(options.name, runs, accelerator=options.accelerator, summary=rows)


if __name__ == "__main__":
    main()
