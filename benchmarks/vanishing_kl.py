"""Single changes against a vanishing KL: which of them cures it alone.

Three settings that press the latent to nothing, and for each of them one change at a time, everything else as it was,
so that the table says what that change does alone. (A ramp to a final weight of 30 still ends at 30.)

- `strong weight`: β = 30 from the first step.
- `averaged losses`: β = 3 on means over genes and dimensions, 32 dimensions: in effect 3 · G / 32.
- `powerful decoder`: three layers of 512 in the decoder and β = 8.

`none` is the setting as it stands. `first remedy` is that run again, then `diagnose().remedies[0]`, trained on from its
weights as the remedy says; `remedy` is that call, and null where the verdict before was healthy. Each other change is
a fresh model. A capacity has a weight of its own in place of β, so β goes with that change. Whether a setting collapses
is itself a result: read the verdict of `none`.

Figures are those of `objectives.py`: rate (KL), decoder use and gain over the decoder without z on validation cells,
probes on the fitted cells, bounds at β = 1 on test cells, which are the same for all seeds. `healed` counts the seeds
whose verdict is healthy, `collapsed` those whose verdict is collapsed. nb, one thread a run. Runs that the file holds
are skipped: it can be stopped and started again.
"""

import json
import time
import warnings

from _fits import BOUNDS, COST, JUDGED, PBMC68K, arguments, bounds, fit, judged, length, over_seeds, run_all, shorten

COLLAPSING = {
    "strong weight": {"model": {}, "objective": {"beta": 30.0, "schedule": "constant"}},
    "averaged losses": {
        "model": {"n_latent": 32},
        "objective": {"beta": 3.0, "reduction": "mean", "schedule": "constant"},
    },
    "powerful decoder": {
        "model": {"n_layers_decoder": 3, "n_hidden_decoder": 512},
        "objective": {"beta": 8.0, "schedule": "constant"},
    },
}
#: 0.05 on means is about 1 in effect: 1.2 with 765 genes and 32 dimensions, 0.85 with 547
LOWER_BETA = {"strong weight": 1.0, "averaged losses": 0.05, "powerful decoder": 1.0}
REMEDY = "first remedy"
#: change → what it sets; "lower beta" is that of LOWER_BETA
CURES = {
    "none": {},
    "lower beta": {},
    "sums": {"objective": {"reduction": "sum"}},
    "linear annealing": {"objective": {"schedule": "linear", "warmup": 0.5}},
    "cyclical annealing": {"objective": {"schedule": "cyclical", "n_cycles": 4}},
    "free bits 0.1": {"objective": {"free_bits": 0.1}},
    "free bits 0.5": {"objective": {"free_bits": 0.5}},
    "capacity 10": {"objective": {"capacity": 10.0, "beta": 1.0}},
    "target rate 10": {"objective": {"target_rate": 10.0}},
    "narrow decoder": {"model": {"n_hidden_decoder": 16}},
    "decoder dropout": {"model": {"dropout_rate_decoder": 0.3}},
    REMEDY: {},
}
#: changes that make sense for some settings only: nats per cell do not go with averaged losses
ONLY_FOR = {
    "sums": ("averaged losses",),
    "capacity 10": ("strong weight", "powerful decoder"),
    "target rate 10": ("strong weight", "powerful decoder"),
}
FIGURES = (*BOUNDS, *JUDGED, "final_kl_weight", *COST)


def changed(setting: str, cure: str) -> dict:
    """Return the setting with one change."""
    change = {"objective": {"beta": LOWER_BETA[setting]}} if cure == "lower beta" else CURES[cure]
    return {part: {**given, **change.get(part, {})} for part, given in COLLAPSING[setting].items()}


def child(data: str, setting: str, cure: str, seed: int, **settings: object) -> dict:
    """Fit once and measure; then, if asked, train on as the first remedy says and measure again."""
    warnings.simplefilter("ignore")
    model, test, result = fit(data, seed, **settings)
    if cure != REMEDY:
        return {**result, **bounds(model, test), **judged(model)}
    remedies = model.diagnose(umap=False).remedies
    if not remedies:
        return {**result, **bounds(model, test), **judged(model), "remedy": None}
    first = remedies[0]
    again = dict(first.arguments)
    if settings["max_epochs"] is not None:
        again["max_epochs"] = settings["max_epochs"]
    started = time.perf_counter()
    model.train(objective=first, progress_bar=False, accelerator=settings["accelerator"], **again)
    result["seconds"] += time.perf_counter() - started
    return {**result, **length(model), **bounds(model, test), **judged(model), "remedy": first.line}


def plan(options) -> list[dict]:
    """Return the runs, seed by seed, so that an early stop leaves whole seeds."""
    return [
        {"data": data, "setting": setting, "cure": cure, "seed": seed, **changed(setting, cure)}
        for seed in options.seeds
        for data in options.data
        for setting in options.settings
        for cure in options.cures
        if setting in ONLY_FOR.get(cure, COLLAPSING)
    ]


def summarise(runs: list[dict]) -> list[dict]:
    """Medians and SD over seeds, and how many seeds are healthy."""
    settings, cures = list(COLLAPSING), list(CURES)
    runs = sorted(runs, key=lambda r: (r["data"], settings.index(r["setting"]), cures.index(r["cure"]), r["seed"]))
    rows = over_seeds(runs, ("data", "setting", "cure"), FIGURES)
    for row in rows:
        verdicts = row.get("verdicts", [])
        row["healed"], row["collapsed"] = verdicts.count("healthy"), verdicts.count("collapsed")
    return rows


def main() -> None:
    made = arguments(__doc__, "vanishing_kl", (PBMC68K, "sc_mixology_6batch_hvg"), (0, 1))
    made.add_argument("--settings", nargs="+", choices=COLLAPSING, default=list(COLLAPSING), metavar="NAME")
    made.add_argument("--cures", nargs="+", choices=CURES, metavar="NAME", help=f"of: {'; '.join(CURES)}")
    options = made.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    shorten(options)
    if options.quick:
        options.settings, options.seeds = options.settings[:1], options.seeds[:1]
    options.cures = options.cures or (["none", "lower beta", REMEDY] if options.quick else list(CURES))
    run_all(__file__, options, plan(options), summarise)


if __name__ == "__main__":
    main()
