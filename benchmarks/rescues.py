"""How many fits that are collapsed, overfit or undertrained on data with signal ``ov.rescue`` heals.

The fits are those of ``verdict_cases.py``. For each: the verdict before and after, the attempts it took, and what the
draw and the means of the chosen model classify beside PCA.

    python benchmarks/rescues.py --half final --jobs 2
"""

import argparse
import json
import logging
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

import numpy as np
from _common import RESULTS, provenance
from verdict_cases import FIRST_SEED, Case, cases, fit

from omicvae._core.files import write_atomically

ILL = ("collapsed", "overfit", "undertrained")


def chosen(half: str) -> list[Case]:
    """Ill fits of a half: one collapsed and one undertrained of each data set, and all that overfit."""
    return [
        case for case in cases(half) if case.expected in ILL and (case.seed % 100 == 0 or case.expected == "overfit")
    ]


def run(half: str, index: int) -> dict:
    """Fit and rescue."""
    import torch

    import omicvae as ov

    torch.set_num_threads(1)
    logging.getLogger("omicvae").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    case = chosen(half)[index]
    row = {"case": case.key, "expected": case.expected}
    try:
        model = fit(case)
        started = time.perf_counter()
        rescue = ov.rescue(model, progress_bar=False)
    except Exception:
        return {**row, "error": traceback.format_exc(limit=3), "healed": False}
    probes = rescue.diagnosis.probes
    scores = {}
    if len(probes):
        linear = probes[probes["classifier"] == "logistic"].set_index("representation")["balanced_accuracy"]
        names = {"posterior draw": "draw", "standardised means": "means", "PCA": "pca"}
        scores = {short: round(float(linear[name]), 4) for name, short in names.items()}
        scores["labels"] = "data" if probes["fallback"].any() else "given"
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


def summary(runs: list[dict]) -> dict:
    """Share healed, attempts, and how far draw and means stay behind PCA, of the fits that were found ill."""
    ill = [run for run in runs if run.get("before") not in ("healthy", "no_signal")]
    healed = [run for run in ill if run["healed"]]
    read = [run for run in healed if run.get("labels") == "given"]
    by = Counter(run["expected"] for run in ill)
    return {
        "n": len(runs),
        "found_ill": len(ill),
        "healed": len(healed),
        "share_of_ill": len(healed) / max(len(ill), 1),
        "share_of_all": sum(run["healed"] for run in runs) / len(runs),
        "by_illness": {k: f"{sum(r['expected'] == k for r in healed)} of {n}" for k, n in by.items()},
        "attempts": dict(Counter(len(run["attempts"]) - 1 for run in healed)),
        "draw_minus_pca_median": float(np.median([r["draw"] - r["pca"] for r in read])) if read else None,
        "means_minus_pca_median": float(np.median([r["means"] - r["pca"] for r in read])) if read else None,
        "not_healed": [run["case"] for run in ill if not run["healed"]],
        "errors": [run["case"] for run in runs if "error" in run],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=tuple(FIRST_SEED), default="tune")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    path = RESULTS / f"rescues_{options.half}.json"
    planned = [case.key for case in chosen(options.half)]
    runs = [r for r in json.loads(path.read_text())["runs"] if r["case"] in planned] if path.exists() else []
    done = {run["case"] for run in runs}
    todo = [i for i, key in enumerate(planned) if key not in done and options.only in key]
    with ProcessPoolExecutor(options.jobs) as pool:
        for future in as_completed([pool.submit(run, options.half, i) for i in todo]):
            runs.append(future.result())
            print(json.dumps({k: runs[-1].get(k) for k in ("case", "before", "after", "draw", "pca")}), flush=True)
            runs.sort(key=lambda row: planned.index(row["case"]))
            content = json.dumps({"summary": summary(runs), "provenance": provenance(), "runs": runs}, indent=1)
            write_atomically(path, lambda part, content=content: part.write_text(content + "\n"))
    print(json.dumps(json.loads(path.read_text())["summary"], indent=1))


if __name__ == "__main__":
    main()
