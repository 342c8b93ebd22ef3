"""How many fits that are collapsed, overfit or undertrained on data with signal ``ov.rescue`` heals.

The fits are those of ``verdict_cases.py``, from seeds of their own: other cells of the same data. For each: the verdict
before and after, the attempts it took, and what means and a draw of the given and of the chosen model classify beside
PCA and beside a draw of PCA's own posterior (probabilistic PCA, Tipping and Bishop 1999): a draw has the posterior's
noise, which PCA's scores do not.

    python benchmarks/rescues.py --jobs 2
"""

import argparse
import json
import logging
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import numpy as np
from _common import RESULTS, provenance
from scipy.stats import binomtest
from verdict_cases import FIRST_SEED, Case, cases, fit

from omicvae._core.files import write_atomically

SEED = 700
#: parts whose data no rule was set on
PARTS = ("report", "fresh", "last", "final")
ILL = ("collapsed", "overfit", "undertrained")


def chosen(half: str) -> list[Case]:
    """Ill fits of a half: one collapsed and one undertrained of each data set, and all that overfit."""
    fits = [case for case in cases(half, SEED) if case.expected in ILL]
    return [case for case in fits if case.seed == SEED or case.expected == "overfit"]


def linear(diagnosis: Any) -> dict[str, float]:
    """Balanced accuracy of the linear probe on a draw, the means and PCA."""
    table = diagnosis.probes[diagnosis.probes["classifier"] == "logistic"].set_index("representation")
    names = {"draw": "posterior draw", "means": "standardised means", "pca": "PCA"}
    return {short: round(float(table["balanced_accuracy"][name]), 4) for short, name in names.items()}


def pca_draw_score(model: Any) -> float | None:
    """Probe a draw z ~ N(√(λ − σ²)/λ · t, σ²/λ) of the exact posterior of probabilistic PCA (scores t) as wide.

    λ: variance of a score; σ²: mean variance of the other directions of the same data. None without labels.
    """
    from omicvae.metrics import probe
    from omicvae.metrics.linear import pca_scores, residuals
    from omicvae.model.inputs import diagnosis_seed
    from omicvae.training.null_model import covariate_design

    labels_key = model.schema.keys.labels_key
    if labels_key is None:
        return None
    state, support = model.state, model.module.likelihood.support
    store, seed = state.cells(), diagnosis_seed(state, None)
    x_NG = store.log_normalised(support=support)
    t_NK = pca_scores(x_NG, model.config.architecture.n_latent, seed=seed)
    if isinstance(x_NG, np.ndarray):
        total = float((x_NG.std(0) > 0).sum())  # PCA is of standardised values
    else:
        total = float((np.asarray(x_NG.multiply(x_NG).mean(0)) - np.square(np.asarray(x_NG.mean(0)))).sum())
    lambda_K = t_NK.var(0).astype(float)
    noise = (total - lambda_K.sum()) / (store.n_genes - len(lambda_K))
    share_K = np.clip(noise / lambda_K, 0.0, 1.0)
    t_NK = residuals(t_NK, covariate_design(store))
    z_NK = np.sqrt((1 - share_K) / lambda_K) * t_NK + np.sqrt(share_K) * np.random.default_rng(seed).standard_normal(
        t_NK.shape
    )
    return round(probe(z_NK, model.adata.obs[labels_key].to_numpy(), seed=seed).balanced_accuracy, 4)


def run(half: str, index: int) -> dict:
    """Fit and rescue."""
    import torch

    import omicvae as ov

    torch.set_num_threads(1)
    logging.getLogger("omicvae").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    case = chosen(half)[index]
    row: dict[str, Any] = {"half": half, "case": case.key, "expected": case.expected}
    try:
        model = fit(case)
        started = time.perf_counter()
        rescue = ov.rescue(model, progress_bar=False)
    except Exception:
        return {**row, "error": traceback.format_exc(limit=3), "healed": False}
    given = rescue.attempts[0].diagnosis
    scores = {}
    if len(given.probes):
        before, after = linear(given), linear(rescue.diagnosis)
        scores = {
            "labels": "data" if given.probes["fallback"].any() else "given",
            **{f"{name}_before": before[name] for name in ("draw", "means")},
            **after,
            "pca_draw": pca_draw_score(rescue.model),
        }
    return {
        **row,
        "before": rescue.attempts[0].diagnosis.verdict,
        "after": rescue.diagnosis.verdict,
        "healed": rescue.healed,
        "attempts": [
            {"verdict": a.diagnosis.verdict, "elbo": round(a.elbo, 3), "line": a.remedy.line if a.remedy else ""}
            for a in rescue.attempts
        ],
        "chosen": rescue.chosen,
        "seconds": round(time.perf_counter() - started, 1),
        **scores,
    }


def median_and_interval(runs: list[dict], one: str, other: str) -> dict[str, float] | None:
    """Median over data of the difference of two scores (fits of the same data averaged), 95 % bootstrap interval."""
    of_data: dict[str, list[float]] = {}
    for row in runs:
        of_data.setdefault(row["case"].split("/")[0], []).append(row[one] - row[other])
    if not of_data:
        return None
    values = np.array([np.mean(differences) for differences in of_data.values()])
    draws = np.random.default_rng(0).choice(values, (10_000, len(values)))
    low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975))
    fits = np.median([difference for differences in of_data.values() for difference in differences])
    names = ("median_of_fits", "median_of_data", "low", "high", "n_data")
    figures = (fits, np.median(values), low, high, len(values))
    return {name: round(float(figure), 4) for name, figure in zip(names, figures, strict=True)}


def summary(runs: list[dict]) -> dict:
    """Share healed, attempts, and how far draw and means stay behind PCA, of the fits that were found ill."""
    ill = [run for run in runs if run.get("before") not in ("healthy", "no_signal")]
    healed = [run for run in ill if run["healed"]]
    read = [run for run in healed if run.get("labels") == "given"]
    by = Counter(run["expected"] for run in ill)
    wilson = binomtest(len(healed), len(ill)).proportion_ci(method="wilson") if ill else ()
    pairs = (("means", "pca"), ("draw", "pca"), ("draw", "pca_draw"), ("pca_draw", "pca"))
    pairs += (("means_before", "pca"), ("draw_before", "pca"))
    return {
        "n": len(runs),
        "found_ill": len(ill),
        "healed": len(healed),
        "share_of_ill": len(healed) / max(len(ill), 1),
        "share_of_ill_interval": [round(float(bound), 4) for bound in wilson] if ill else None,
        "share_of_all": sum(run["healed"] for run in runs) / max(len(runs), 1),
        "by_verdict": {k: f"{sum(r['expected'] == k for r in healed)} of {n}" for k, n in by.items()},
        "attempts": dict(Counter(len(run["attempts"]) - 1 for run in healed)),
        "labelled": len(read),
        "median_difference": {f"{one} - {other}": median_and_interval(read, one, other) for one, other in pairs},
        "not_healed": [run["case"] for run in ill if not run["healed"]],
        "errors": [run["case"] for run in runs if "error" in run],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--halves", nargs="+", choices=tuple(FIRST_SEED), default=list(PARTS))
    parser.add_argument("--name", default="rescues", help="of the file in results")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    path = RESULTS / f"{options.name}.json"
    planned = [(half, case.key) for half in options.halves for case in chosen(half)]
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    runs = [run for run in runs if (run["half"], run["case"]) in planned]
    done = {(run["half"], run["case"]) for run in runs}
    todo = [
        (half, i)
        for half in options.halves
        for i, case in enumerate(chosen(half))
        if (half, case.key) not in done and options.only in case.key
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        for future in as_completed([pool.submit(run, *which) for which in todo]):
            runs.append(future.result())
            print(json.dumps({k: runs[-1].get(k) for k in ("case", "before", "after", "draw", "pca")}), flush=True)
            runs.sort(key=lambda row: planned.index((row["half"], row["case"])))
            parts = {half: summary([row for row in runs if row["half"] == half]) for half in options.halves}
            content = {"summary": summary(runs), "by_part": parts, "provenance": provenance(), "runs": runs}
            text = json.dumps(content, indent=1) + "\n"
            write_atomically(path, lambda part, text=text: part.write_text(text))
    print(json.dumps(json.loads(path.read_text())["summary"], indent=1))


if __name__ == "__main__":
    main()
