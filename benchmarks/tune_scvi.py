"""Tune SCVI for each data set by the bound on its validation cells: learning rate, epochs and KL warm-up.

Grid: lr 3e-3 or 1e-2; 20 or 60 epochs (100 or 400 below 1000 cells, where an epoch has few steps); KL
warm-up over 10 % or 50 % of them; and SCVI's default run. nb, SCVI's default network, seed 0. Test cells, those that
`held_out_elbo.py` and `time_to_quality.py` score with, are set aside before; the bound is that of the cells with which
omicvae validates, mean of ten draws. One process a run, one thread unless asked.

Writes all runs and, for each data set, two choices: `best`, the highest bound, and `fastest`, the run with the fewest
epochs whose bound is at most 0.1 % below that of the default run. Runs that the file holds are skipped: it can be
stopped and started again.
"""

import itertools
import json
import warnings

from _common import (
    QUALITY_SETS,
    batch_key,
    fit_scvi,
    hold_out,
    inner_split,
    load,
    parser,
    read_runs,
    run_child,
    scvi_elbo,
    write,
)

LEARNING_RATES, WARMUPS = (3e-3, 1e-2), (0.1, 0.5)
EPOCHS, EPOCHS_FEW_CELLS, FEW_CELLS = (20, 60), (100, 400), 1000
TOLERANCE = 1e-3


def child(data: str, seed: int, accelerator: str, settings: dict) -> dict:
    """Train once; bound on the validation cells."""
    warnings.simplefilter("ignore")
    adata = load(data)
    fit, _ = hold_out(adata, batch_key(adata), seed)
    model, result = fit_scvi(fit, seed, accelerator=accelerator, **settings)
    return {**result, "elbo": scvi_elbo(model, indices=inner_split(fit, seed)[1])}


def grid(data: str, quick: bool) -> list[dict]:
    """Return the settings to try on a data set; the empty one is the default run."""
    if quick:
        return [{"max_epochs": 1, "lr": rate, "n_epochs_kl_warmup": 1} for rate in LEARNING_RATES[:2]]
    epochs = EPOCHS_FEW_CELLS if load(data).n_obs < FEW_CELLS else EPOCHS
    tried = [
        {"max_epochs": n, "lr": rate, "n_epochs_kl_warmup": max(1, round(warmup * n))}
        for n, rate, warmup in itertools.product(epochs, LEARNING_RATES, WARMUPS)
    ]
    return [{}, *tried]


def choose(runs: list[dict]) -> dict:
    """Best and fastest run of a data set."""
    finished = [run for run in runs if "error" not in run]
    default = next((run["elbo"] for run in finished if not run["settings"]), None)
    chosen = {"errors": len(runs) - len(finished), "default_elbo": default, "best": None, "fastest": None}
    if finished:
        chosen["best"] = max(finished, key=lambda run: run["elbo"])
    if default is not None:
        good = [run for run in finished if run["elbo"] >= default - TOLERANCE * abs(default)]
        chosen["fastest"] = min(good, key=lambda run: (run["epochs"], -run["elbo"]))
    return chosen


def main() -> None:
    arguments = parser(__doc__, "tuned_scvi")
    arguments.add_argument("--data", nargs="+", default=list(QUALITY_SETS))
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--threads", type=int, default=1)
    options = arguments.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    runs = [run for run in read_runs(options.name) if "error" not in run]
    for data in options.data:
        for settings in grid(data, options.quick):
            task = {"data": data, "seed": options.seed, "accelerator": options.accelerator, "settings": settings}
            if any(task.items() <= run.items() for run in runs):
                continue
            runs.append(run_child(__file__, threads=options.threads, **task))
            print(json.dumps(runs[-1]), flush=True)
            sets = dict.fromkeys(run["data"] for run in runs)
            chosen = {name: choose([run for run in runs if run["data"] == name]) for name in sets}
            write(options.name, runs, accelerator=options.accelerator, chosen=chosen)


if __name__ == "__main__":
    main()
