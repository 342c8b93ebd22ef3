"""Rate, distortion and health of fits under every kind of objective and prior.

Each setting is fitted on nine tenths of a data set with nb and CVAE's defaults otherwise. Rate (KL) and distortion
(−log p(x | z, c)) are nats per cell of the validation cells, under raw KL whatever the objective weighs it with; with
the suffix `_test` of the other tenth of the cells, which no run has seen and which are the same for all seeds. Bounds
are at β = 1; all are means of ten draws. Active units, gain over the decoder without z, cost of a permuted z, verdict,
probes are those of `diagnose()`; probes are balanced accuracies of logistic regression for the labels, on a posterior
draw, on standardised posterior means and on PCA of all fitted cells. `seconds` is one `train()` call in a fresh process
with one thread, late imports included.

The ramps have a warm-up of half the run, `default` is linear over a tenth. A prior that depends on covariates is left
out where there is no batch. Medians and SD over seeds are in the summary. Runs that the file holds are skipped: it can
be stopped and started again.
"""

import json
import warnings

from _fits import BOUNDS, COST, JUDGED, PBMC68K, arguments, bounds, fit, judged, over_seeds, read, run_all, shorten

HALF = {"warmup": 0.5}
#: name → objective
OBJECTIVES = {
    "default": {},
    "constant": {"schedule": "constant"},
    **{f"{shape} 0.5": {"schedule": shape, **HALF} for shape in ("linear", "cosine", "sigmoid")},
    "cyclical": {"schedule": "cyclical", "n_cycles": 4},
    **{f"beta {beta:g}": {"beta": beta} for beta in (0.5, 2.0, 4.0)},
    **{
        f"free bits {nats:g}, {mode}": {"free_bits": nats, "free_bits_mode": mode}
        for nats in (0.1, 0.5)
        for mode in ("dimension", "cell", "total")
    },
    **{f"capacity {nats:g}": {"capacity": nats} for nats in (5.0, 20.0)},
    **{f"target rate {nats:g}": {"target_rate": nats} for nats in (5.0, 15.0)},
    "total correlation 3": {"total_correlation": 3.0},
}
PRIORS = ("conditional", "vamp")
SETTINGS = {
    **{name: {"objective": objective, "model": {}} for name, objective in OBJECTIVES.items()},
    **{f"{prior} prior": {"objective": {}, "model": {"prior": prior}} for prior in PRIORS},
}
NEEDS_BATCH = ("conditional prior",)
FIGURES = (*BOUNDS, *JUDGED, "final_kl_weight", *COST)


def child(data: str, setting: str, seed: int, **settings: object) -> dict:
    """Fit once and measure."""
    warnings.simplefilter("ignore")
    model, test, result = fit(data, seed, **settings)
    return {**result, **bounds(model, test), **judged(model)}


def plan(options) -> list[dict]:
    """Return the runs, seed by seed, so that an early stop leaves whole seeds."""
    has_batch = {data: read(data)[1] is not None for data in options.data}
    return [
        {"data": data, "setting": setting, "seed": seed, **SETTINGS[setting]}
        for seed in options.seeds
        for data in options.data
        for setting in options.settings
        if has_batch[data] or setting not in NEEDS_BATCH
    ]


def summarise(runs: list[dict]) -> list[dict]:
    """Medians and SD over seeds, settings in their order."""
    order = {name: position for position, name in enumerate(SETTINGS)}
    runs = sorted(runs, key=lambda run: (run["data"], order.get(run["setting"], len(order)), run["seed"]))
    return over_seeds(runs, ("data", "setting"), FIGURES)


def main() -> None:
    made = arguments(__doc__, "objectives", (PBMC68K, "bulk_brca_pam50"), (0, 1))
    made.add_argument("--settings", nargs="+", choices=SETTINGS, metavar="NAME", help=f"of: {'; '.join(SETTINGS)}")
    options = made.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    shorten(options)
    options.settings = options.settings or list(SETTINGS)[: 2 if options.quick else None]
    run_all(__file__, options, plan(options), summarise)


if __name__ == "__main__":
    main()
