"""Verdicts of fits of other programs whose verdict is known: scvi-tools' models and VAEs of plain PyTorch.

    python benchmarks/foreign_fits.py --part tune     # to try things out
    python benchmarks/foreign_fits.py --part report   # other data sets and seeds: for figures
    python benchmarks/foreign_fits.py --part report --again judge   # kept evidence, by the rules of now
    python benchmarks/foreign_fits.py --part report --summary       # of what is there

What its making makes of a fit is in ``foreign_cases.py``; cells that it never saw confirm it or leave it open
(``foreign_truth.py``). Fits, their truth and their evidence are kept in ``--folder`` and made once. ``--jobs``
processes share them, one thread each.
"""

import argparse
import json
import logging
import os
import re
import sys
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pandas as pd
from _common import RESULTS, provenance
from foreign_cases import FIRST_SEED, SETTINGS, Case, cases
from foreign_models import FAMILIES, dense
from foreign_truth import null_of, truth_of

#: a dimension has vanished where no posterior mean is so far from 0: DRVI's threshold
VANISHED = 0.1
#: nats per cell below which a KL counts as 0
NEAR_ZERO = 0.1


def folder_of(key: str, folder: Path) -> Path:
    """Where a fit is kept."""
    return folder / re.sub(r"\W+", "_", key)


def quiet() -> None:
    """One thread, no words."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in ("scvi", "lightning", "lightning.pytorch", "omicvae"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ["TQDM_DISABLE"] = "1"


def make(case: Case, place: Path) -> None:
    """Fit some of the cells, score the others, keep both."""
    adata = case.data.make(case.seed)
    adata.obs_names = [f"cell {n}" for n in range(adata.n_obs)]
    if "batch" in adata.obs:
        adata.obs["batch"] = adata.obs["batch"].astype(str).astype("category")
    held_N = np.random.default_rng([case.seed, 31]).random(adata.n_obs) < case.held_out
    batch_N = adata.obs["batch"].cat.codes.to_numpy() if "batch" in adata.obs else np.zeros(adata.n_obs, dtype=int)
    null_N = null_of(case.family, dense(adata), ~held_N, batch_N)
    started = time.perf_counter()
    fitted = FAMILIES[case.family].make(case.family, adata[~held_N].copy(), case.seed, **case.model)
    fitted.train(case.seed, **case.train)
    seconds = time.perf_counter() - started
    truth = {"train_seconds": round(seconds, 2), "logged_kl": fitted.logged_kl, "n_genes": adata.n_vars}
    for name, rows in (("held", held_N), ("seen", ~held_N)):
        bound, loglik = fitted.scores(adata[rows].copy())
        truth[f"gain_{name}"] = np.round(bound - null_N[rows], 4).tolist()
        truth[f"carried_{name}"] = np.round(loglik - null_N[rows], 4).tolist()
    fitted.save(place)
    (place / "truth.json").write_text(json.dumps(truth))


def judge(case: Case, place: Path, again: bool) -> dict:
    """Have the fit diagnosed, or its evidence again; return what was said, and what two simpler checks say."""
    import omicvae as ov

    evidence, started = place / "evidence.safetensors", time.perf_counter()
    if again and evidence.exists():
        diagnosis = ov.diagnose(evidence, umap=False)
    else:
        fitted = FAMILIES[case.family].load(case.family, place)
        labels = "label" if "label" in fitted.obs and fitted.obs["label"].nunique() > 1 else None
        diagnosis = fitted.diagnose(labels, case.seed)
        ov.write_evidence(diagnosis, evidence)
    inputs = diagnosis.inputs
    reach_K = np.abs(np.asarray(inputs.mean_NK)).max(axis=0)
    return {
        "verdict": diagnosis.verdict,
        "findings": list(diagnosis.findings),
        "headline": diagnosis.headline,
        "vanished": int((reach_K < VANISHED).sum()),
        "n_latent": len(reach_K),
        "kl": float(np.asarray(inputs.kl_WK).sum(axis=1).mean()),
        "diagnose_seconds": round(time.perf_counter() - started, 2),
        "evidence": {
            row.check: [None if row.value != row.value else float(f"{row.value:.4g}"), row.passed]
            for row in diagnosis.evidence.itertuples()
        },
    }


def planned(part: str) -> dict[str, Case]:
    """Every fit of a part by its name, programs and kinds mixed, so that a run cut short has some of all."""
    found = [case for family in SETTINGS for case in cases(part, family)]
    order = np.random.default_rng(0).permutation(len(found))
    return {found[i].key: found[i] for i in order}


def run(part: str, key: str, folder: Path, again: str) -> dict:
    """Fit where it was not, and judge: "fit" makes all again, "read" reads the fit again, "judge" its evidence."""
    quiet()
    case = planned(part)[key]
    place = folder_of(key, folder)
    row = {"case": key, "family": case.family, "data": case.data.name, "setting": case.setting, "made": case.made}
    try:
        if again == "fit" or not (place / "truth.json").exists():
            make(case, place)
        return row if again == "none" else row | judge(case, place, again == "judge")
    except Exception:
        return row | {"verdict": "error", "error": traceback.format_exc(limit=4)}


def settled(rows: list[dict], folder: Path) -> list[dict]:
    """Each row with its truth, of the fits that are there."""
    known = {row["case"]: json.loads((folder_of(row["case"], folder) / "truth.json").read_text()) for row in rows}
    told = []
    for row in rows:
        mine = known[row["case"]]
        sibling = known.get("/".join([row["data"], row["family"], "default", row["case"].rsplit("/", 1)[1]]))
        figures = {name: round(float(np.mean(mine[name])), 3) for name in ("gain_held", "carried_held", "gain_seen")}
        told.append(row | {"truth": truth_of(row["made"], mine, sibling), "logged_kl": mine["logged_kl"], **figures})
    return told


def upper(wrong: int, n: int) -> float:
    """Exact one-sided 97.5 % bound of a share."""
    from scipy.stats import beta

    return 1.0 if wrong == n else round(float(beta.ppf(0.975, wrong + 1, n - wrong)), 4)


def summary(rows: list[dict]) -> dict:
    """Confusion, recalls, balanced accuracy, grave errors; and the two baselines, which know collapsed or not."""
    table = pd.DataFrame([row for row in rows if row["truth"] != "open" and "verdict" in row])
    if table.empty:
        return {}
    recall = {truth: float((group["verdict"] == truth).mean()) for truth, group in table.groupby("truth")}
    grave = {}
    for truth, said in (("collapsed", "healthy"), ("healthy", "collapsed")):
        given = table[table["truth"] == truth]
        wrong = int((given["verdict"] == said).sum())
        grave[f"{truth} called {said}"] = {"n": len(given), "wrong": wrong, "upper_95": upper(wrong, len(given))}
    confusion = pd.crosstab(table["truth"], table["verdict"])
    dead = table["truth"] == "collapsed"
    baselines = {}
    for name, says in {
        "verdict": table["verdict"] == "collapsed",
        f"all posterior means within {VANISHED}": table["vanished"] == table["n_latent"],
        f"KL below {NEAR_ZERO} nats": table["kl"] < NEAR_ZERO,
        f"logged KL below {NEAR_ZERO}": table["logged_kl"] < NEAR_ZERO,
    }.items():
        found, spared = float(says[dead].mean()), float((~says[~dead]).mean())
        baselines[name] = {
            "collapsed found": f"{int(says[dead].sum())} of {int(dead.sum())}",
            "others spared": f"{int((~says[~dead]).sum())} of {int((~dead).sum())}",
            "balanced_accuracy": (found + spared) / 2,
            "said of others": dict(Counter(table["truth"][says & ~dead])),
        }
    families = {name: float((g["verdict"] == g["truth"]).mean()) for name, g in table.groupby("family")}
    return {
        "n": len(table),
        "open": dict(Counter(row["made"] for row in rows if row["truth"] == "open")),
        "confusion": {truth: {k: int(v) for k, v in row.items() if v} for truth, row in confusion.iterrows()},
        "recall": recall,
        "balanced_accuracy": float(np.mean(list(recall.values()))),
        **grave,
        "accuracy by family": families,
        "collapsed or not": baselines,
        "wrong": [f"{row.case} ({row.truth}): {row.verdict}" for row in table.itertuples() if row.verdict != row.truth],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=tuple(FIRST_SEED), default="tune")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    again = "fit all again, read kept fits again, or judge kept evidence again by the rules of now"
    parser.add_argument("--again", choices=("fit", "read", "judge"), help=again)
    parser.add_argument("--fits-only", action="store_true", help="make fits and their truth, judge none")
    parser.add_argument("--summary", action="store_true", help="of what is there")
    parser.add_argument("--folder", type=Path, default=Path("foreign_fits"), help="where fits and evidence are kept")
    options = parser.parse_args()
    lines = options.folder / f"{options.part}.jsonl"
    options.folder.mkdir(parents=True, exist_ok=True)
    wanted = planned(options.part)
    known = {} if not lines.exists() else {row["case"]: row for row in map(json.loads, lines.read_text().splitlines())}
    known = {key: row for key, row in known.items() if key in wanted and row.get("verdict") != "error"}
    todo = [key for key in wanted if options.only in key and (options.again or "verdict" not in known.get(key, {}))]
    if not options.summary:
        settings = (options.folder, "none" if options.fits_only else options.again or "")
        with ProcessPoolExecutor(options.jobs) as pool:
            for future in as_completed([pool.submit(run, options.part, key, *settings) for key in todo]):
                row = future.result()
                known[row["case"]] = row
                with lines.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(f"{row['made']:>18} {row.get('verdict', '-'):>18}  {row['case']}", flush=True)
    done = [key for key in wanted if key in known and (folder_of(key, options.folder) / "truth.json").exists()]
    rows = settled([known[key] for key in done], options.folder)
    errors = [row for row in known.values() if row.get("verdict") == "error"]
    for row in errors:
        print(row["case"], row["error"], file=sys.stderr)
    found = summary([row for row in rows if row.get("verdict") != "error"])
    print(json.dumps(found, indent=1))
    if found and not options.only and not errors:
        path = RESULTS / f"foreign_fits_{options.part}.json"
        notes = json.loads(path.read_text()).get("notes", []) if path.exists() else []
        result = {"summary": found, "notes": notes, "provenance": provenance(), "runs": rows}
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
