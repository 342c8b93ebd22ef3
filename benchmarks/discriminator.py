"""Whether the second phase with a discriminator makes better cells, and what it costs in likelihood.

With and without `discriminator={"start": 0.5, "weight": 0.3}`, everything else alike (nb, CVAE's defaults), on two sets
of real cells.

- Phase 1: `discriminator_loss` is the column `discriminator_loss_train` of the history, one value an epoch.
  `zero_before` says whether it is exactly 0 in every epoch that ends before `start`, `nonzero_after` whether it differs
  from 0 in every epoch that begins after; null where the run had no such epoch.
- Likelihood: `nll_change` is (NLL with − NLL without) / |NLL without| of the same seed on test cells, −log p(x | z, c)
  averaged over ten draws; `elbo_change` is the difference of the bounds at β = 1 in nats per cell.
- Two-sample test: balanced accuracy with which a classifier tells test cells from generated ones, 0.5 by chance, lower
  is better. Both sides as log1p of counts scaled to 10⁴ a cell by their own total. `posterior`: one draw of the
  posterior predictive of each test cell; `prior`: z from the prior, x from p(x | z, c), with library and covariates of
  that test cell. Five folds; a test cell and what was generated from it are always in the same fold. Logistic
  regression on standardised genes, and gradient boosting (50 trees of up to 15 leaves). `control` is the same test
  between the test cells and as many fitted cells: how far from 0.5 two sets of real cells are.

Test cells are the same for all seeds. Medians and SD over seeds. Runs that the file holds are skipped: it can be
stopped and started again.
"""

import json
import math
import warnings

import numpy as np
from _fits import BOUNDS, COST, arguments, bounds, fit, over_seeds, plain, run_all, shorten

FOLDS = 5
CLASSIFIERS = ("logistic", "boosting")
KINDS = ("posterior", "prior", "control")
TWO_SAMPLE = tuple(f"{kind}_{classifier}" for kind in KINDS for classifier in CLASSIFIERS)
CURVES = ("discriminator_loss_train", "discriminator_weight", "phase", "recon_validation")
FIGURES = (*TWO_SAMPLE, *BOUNDS, *COST)


def classifier(name: str, seed: int):
    """Return an untrained classifier."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "logistic":
        return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000, tol=1e-3))
    return HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=seed)


def log_normalised(x_NG) -> np.ndarray:
    """Return log1p of counts scaled to 10⁴ a cell, dense."""
    dense_NG = np.asarray(x_NG.todense() if hasattr(x_NG, "todense") else x_NG, dtype=np.float64)
    return np.log1p(1e4 * dense_NG / np.maximum(dense_NG.sum(1, keepdims=True), 1)).astype(np.float32)


def told_apart(real_NG: np.ndarray, other_NG: np.ndarray, name: str, seed: int) -> float:
    """Cross-validated balanced accuracy of telling two sets apart; row n of both is never split between folds."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import GroupKFold, cross_val_predict

    is_other = np.repeat([0, 1], [len(real_NG), len(other_NG)])
    pair = np.concatenate([np.arange(len(real_NG)), np.arange(len(other_NG))])
    order = np.random.default_rng(seed).permutation(len(real_NG))
    folds = GroupKFold(FOLDS).split(is_other, groups=order[pair])
    predicted = cross_val_predict(classifier(name, seed), np.vstack([real_NG, other_NG]), is_other, cv=list(folds))
    return float(balanced_accuracy_score(is_other, predicted))


def from_prior(model, test, seed: int) -> np.ndarray:
    """Draw z from the prior and x from p(x | z, c), with the library and covariates of each test cell."""
    import torch

    from omicvae.data import CellStore
    from omicvae.training import map_cells

    store = CellStore.build(test, model.schema)
    module = model.module
    generator = torch.Generator(module.device).manual_seed(seed)
    torch.manual_seed(seed)  # the counts themselves are drawn by torch's global generator
    return map_cells(module, store, None, lambda batch, start: module.sample(batch, generator))[0]


def two_sample(model, test, seed: int) -> dict:
    """Tell test cells from generated ones and from fitted ones."""
    rng = np.random.default_rng(seed)
    fitted = rng.choice(model.adata.n_obs, test.n_obs, replace=False)
    others = {
        "posterior": model.posterior_predictive_sample(test, seed=seed),
        "prior": from_prior(model, test, seed),
        "control": model.adata.X[np.sort(fitted)],
    }
    real_NG = log_normalised(test.X)
    return {
        f"{kind}_{name}": told_apart(real_NG, log_normalised(other), name, seed)
        for kind, other in others.items()
        for name in CLASSIFIERS
    }


def phases(losses: list[float | None], start: float, planned_epochs: int) -> dict:
    """Say whether the discriminator's loss is exactly 0 before its start and never after."""
    before, after = losses[: math.floor(start * planned_epochs)], losses[math.ceil(start * planned_epochs) :]
    return {
        "zero_before": all(loss == 0 for loss in before) if before else None,
        "nonzero_after": all(loss not in (0, None) for loss in after) if after else None,
    }


def child(data: str, arm: str, start: float | None, weight: float | None, seed: int, **settings: object) -> dict:
    """Fit once and measure."""
    warnings.simplefilter("ignore")
    objective = {} if arm == "without" else {"discriminator": {"start": start, "weight": weight}}
    model, test, result = fit(data, seed, objective=objective, **settings)
    curves = {name: [plain(v) for v in model.history[name]] for name in CURVES if name in model.history}
    if arm == "with":
        result |= phases(curves["discriminator_loss_train"], start, result["planned_epochs"])
    return {**result, **bounds(model, test), **two_sample(model, test, seed), "curves": curves}


def summarise(runs: list[dict]) -> list[dict]:
    """Medians and SD over seeds, with the changes between runs of the same seed."""
    pairs = {(run["data"], run["seed"]): run for run in runs if run["arm"] == "without" and "error" not in run}
    joined = []
    for run in runs:
        reference = pairs.get((run["data"], run["seed"]))
        extra = {}
        if reference is not None and run["arm"] == "with" and "error" not in run:
            nll = reference["distortion_test"]
            extra["nll_change"] = (run["distortion_test"] - nll) / abs(nll)
            extra["elbo_change"] = run["elbo_test"] - reference["elbo_test"]
            extra |= {f"{name}_change": run[name] - reference[name] for name in TWO_SAMPLE}
        joined.append({**run, **extra})
    joined.sort(key=lambda run: (run["data"], run["arm"] == "with", run["seed"]))
    changes = ("nll_change", "elbo_change", *(f"{name}_change" for name in TWO_SAMPLE))
    rows = over_seeds(joined, ("data", "arm", "start", "weight"), (*FIGURES, *changes))
    for row in rows:
        group = [run for run in runs if all(run[name] == row[name] for name in ("data", "arm", "start", "weight"))]
        for name in ("zero_before", "nonzero_after"):
            row[name] = [run.get(name) for run in group if "error" not in run]
    return rows


def main() -> None:
    made = arguments(__doc__, "discriminator", ("pbmc_3chem", "kang_ctrl_8donors"), (0, 1, 2))
    made.add_argument("--start", type=float, default=0.5, help="fraction of the run (default: 0.5)")
    made.add_argument("--weight", type=float, default=0.3)
    options = made.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    shorten(options)
    tasks = [
        {"data": data, "arm": arm, "start": start, "weight": weight, "seed": seed}
        for seed in options.seeds[: 1 if options.quick else None]
        for data in options.data
        for arm, start, weight in (("without", None, None), ("with", options.start, options.weight))
    ]
    run_all(__file__, options, tasks, summarise, hide=("curves",))


if __name__ == "__main__":
    main()
