"""What a latent adversary against the batch removes, and what it costs.

With and without `adversary={"covariates": [batch]}`, everything else alike: nb, and either (`conditioned`) the batch in
encoder and decoder, so that z has no need of it, or in neither, so that the adversary is alone against a decoder which
gains by finding the batch in z. Two sets of real cells with technical batches and labels; labels of
`pbmc_3chem` are not truth, and its cells without one ("unassigned") are left out of the label probe.

Probes classify one posterior draw of every fitted cell, and of the test cells (`_test`, the same for all seeds), by
cross-validated logistic regression and 15 nearest neighbours (`_knn`): `batch_probe`, accuracy; `batch_balanced`,
balanced accuracy; `label_balanced`, balanced accuracy of the labels. What always naming the largest batch gets is
`majority`; chance of a balanced accuracy is 1 / levels, `chance`. Where batches differ in their cell types, a latent
that keeps the types gives away some of the batch: `batch_from_label` is the accuracy of the same probe on the labels
themselves, one-hot, and `batch_from_label_balanced` its balanced accuracy.

    closing = (probe without − probe with) / (probe without − majority)

per seed and summary, for accuracies against the majority rate, for balanced ones against chance; null where the probe
without an adversary is less than 0.02 above it. Rates, distortions and bounds are those of `objectives.py`. Medians
and SD over seeds. Runs that the file holds are skipped: it can be stopped and started again.
"""

import json
import warnings

import numpy as np
from _fits import BOUNDS, COST, arguments, bounds, fit, over_seeds, plain, run_all, shorten

UNKNOWN = "unassigned"
READABLE = 0.02
CURVES = ("adversary_loss_train", "adversary_weight")
PROBES = tuple(
    f"{what}{place}{kind}"
    for place in ("", "_test")
    for kind in ("", "_knn")
    for what in ("batch_probe", "batch_balanced", "label_balanced")
)
FIGURES = (
    *PROBES,
    *(f"{name}{place}" for place in ("", "_test") for name in ("majority", "chance")),
    "batch_from_label",
    "batch_from_label_balanced",
    *BOUNDS,
    *COST,
)


def labels_of(adata) -> np.ndarray:
    """Return the labels, None where they are not known."""
    labels_N = adata.obs["label"].astype(object)
    return labels_N.where(labels_N.notna() & (labels_N != UNKNOWN), None).to_numpy()


def probes(model, adata, suffix: str, seed: int) -> dict:
    """Probe one posterior draw of the cells for batch and label; None where too few cells are in a class."""
    from omicvae._core import DataError
    from omicvae.metrics import probe

    draw_NK = model.get_latent_representation(adata, give_mean=False)
    found = {}
    for kind, classifier in (("", "logistic"), ("_knn", "knn")):
        for what, values_N in (("batch", adata.obs["batch"].astype(object).to_numpy()), ("label", labels_of(adata))):
            try:
                score = probe(draw_NK, values_N, classifier=classifier, seed=seed)
            except DataError:
                continue
            found[f"{what}_balanced{suffix}{kind}"] = score.balanced_accuracy
            if what == "batch":
                found[f"batch_probe{suffix}{kind}"] = score.accuracy
                found |= {f"majority{suffix}": score.majority_rate, f"chance{suffix}": score.chance}
    return found


def from_labels(adata, seed: int) -> dict:
    """Probe the labels themselves for the batch."""
    from omicvae.metrics import probe

    labels_N = adata.obs["label"].astype(str).to_numpy()
    one_hot_NC = (labels_N[:, None] == np.unique(labels_N)).astype(float)
    score = probe(one_hot_NC, adata.obs["batch"].astype(object).to_numpy(), seed=seed)
    return {"batch_from_label": score.accuracy, "batch_from_label_balanced": score.balanced_accuracy}


def child(data: str, arm: str, weight: float | None, conditioned: bool, seed: int, **settings: object) -> dict:
    """Fit once and measure."""
    warnings.simplefilter("ignore")
    objective = {} if arm == "without" else {"adversary": {"covariates": ["batch"], "weight": weight}}
    network = {"encode_covariates": conditioned, "decode_covariates": conditioned}
    model, test, result = fit(data, seed, objective=objective, model=network, **settings)
    curves = {name: [plain(v) for v in model.history[name]] for name in CURVES if name in model.history}
    seen = {**probes(model, model.adata, "", seed), **probes(model, test, "_test", seed)}
    return {**result, **seen, **from_labels(model.adata, seed), **bounds(model, test), "curves": curves}


def closing(without: float | None, with_it: float | None, floor: float | None) -> float | None:
    """Return the share of what can be read above the floor that the adversary removed; None below ``READABLE``."""
    if None in (without, with_it, floor) or without - floor < READABLE:
        return None
    return (without - with_it) / (without - floor)


def closings(run: dict, reference: dict) -> dict:
    """Compare one run with the run without an adversary of the same seed."""
    found = {}
    for place in ("", "_test"):
        for kind in ("", "_knn"):
            for what, floor in (("probe", "majority"), ("balanced", "chance")):
                name = f"batch_{what}{place}{kind}"
                found[f"closing_{what}{place}{kind}"] = closing(
                    reference.get(name), run.get(name), run.get(f"{floor}{place}")
                )
    return found


def summarise(runs: list[dict]) -> list[dict]:
    """Medians and SD over seeds, with closings of the pairs of runs with the same seed."""
    by = ("data", "conditioned", "seed")
    pairs = {tuple(run[b] for b in by): run for run in runs if run["arm"] == "without" and "error" not in run}
    joined = []
    for run in runs:
        reference = pairs.get(tuple(run[b] for b in by))
        paired = reference is not None and run["arm"] == "with" and "error" not in run
        extra = {}
        if paired:
            extra = {**closings(run, reference), "elbo_change": run["elbo_test"] - reference["elbo_test"]}
        joined.append({**run, **extra})
    joined.sort(key=lambda run: (run["data"], run["conditioned"], run["weight"] or 0, run["seed"]))
    names = dict.fromkeys(name for run in joined for name in run if name.startswith("closing"))
    return over_seeds(joined, ("data", "conditioned", "arm", "weight"), (*FIGURES, *names, "elbo_change"))


def main() -> None:
    made = arguments(__doc__, "adversary", ("sc_mixology_6batch_hvg", "pbmc_3chem"), (0, 1))
    made.add_argument("--weights", type=float, nargs="+", default=[2.0, 5.0], help="where the batch is given")
    made.add_argument("--alone", type=float, nargs="+", default=[20.0, 100.0], help="weights where it is not")
    options = made.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    shorten(options)
    weights = {True: options.weights, False: options.alone}
    arms = [
        (conditioned, "without" if weight is None else "with", weight)
        for conditioned, given in weights.items()
        for weight in (None, *given)
    ]
    tasks = [
        {"data": data, "arm": arm, "weight": weight, "conditioned": conditioned, "seed": seed}
        for seed in options.seeds[: 1 if options.quick else None]
        for data in options.data
        for conditioned, arm, weight in arms
    ]
    run_all(__file__, options, tasks, summarise, hide=("curves",))


if __name__ == "__main__":
    main()
