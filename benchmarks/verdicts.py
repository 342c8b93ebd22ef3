"""Verdicts of some hundred fits whose verdict is known: confusion, balanced accuracy, and what was said wrongly.

    python benchmarks/verdicts.py --half tune     # thresholds were set on these
    python benchmarks/verdicts.py --half report   # seen, and learned from; so are "fresh" and "last"
    python benchmarks/verdicts.py --half final    # figures of the docs come from these
    python benchmarks/verdicts.py --half wild     # rates from 0.03 to 30, constants, replicates, peaks, methylation
    python benchmarks/verdicts.py --half final --first-seed 700   # other cells of the same data, in a file of their own
    python benchmarks/verdicts.py --judge-again   # by the rules of now, what was measured then

``--jobs`` processes share the fits; a fit that is in the results already is not made again. Measurements are kept in
``--measured``, so that a change of the rules alone needs no new fits.
"""

import argparse
import json
import logging
import pickle
import re
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pandas as pd
from _common import RESULTS, provenance
from verdict_cases import FIRST_SEED, Case, cases, fit
from verdict_truth import fit_and_truth
from verdict_wild import wild_cases

from omicvae._core.files import write_atomically


def judged(measured) -> dict:
    """Verdict, further findings, and the figures that they rest on."""
    from omicvae.diagnostics import RULES, evidence_table, judge

    verdict, *findings = judge(RULES, measured)
    evidence = evidence_table(measured.rows())
    return {
        "verdict": verdict.name,
        "findings": [rule.name for rule in findings],
        "evidence": {
            row.check: [None if row.value != row.value else float(f"{row.value:.5g}"), row.passed]
            for row in evidence.itertuples()
        },
    }


def file_of(case: str, folder: Path) -> Path:
    """Where the measurements of a case are kept."""
    return folder / (re.sub(r"\W+", "_", case) + ".pickle")


def cases_of(half: str, first: int | None) -> list[Case]:
    """Every fit of a part."""
    return list(wild_cases(first or FIRST_SEED[half]) if half == "wild" else cases(half, first))


def run(half: str, first: int | None, index: int, folder: Path) -> dict:
    """Fit and diagnose."""
    import torch

    from omicvae.diagnostics import diagnosis, measure

    torch.set_num_threads(1)
    logging.getLogger("omicvae").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    case = cases_of(half, first)[index]
    row = {"case": case.key, "half": half, "data": case.data.name, "setting": case.setting, "expected": case.expected}
    started = time.perf_counter()
    measured = []

    def remember(*arguments, **settings):
        measured.append(measure(*arguments, **settings))
        return measured[-1]

    diagnosis.measure = remember
    try:
        model, truth = (fit(case), case.expected) if case.expected else fit_and_truth(case)
        trained = time.perf_counter()
        model.diagnose(umap=False)
    except Exception:
        return {**row, "verdict": "error", "error": traceback.format_exc(limit=3)}
    folder.mkdir(parents=True, exist_ok=True)
    file_of(case.key, folder).write_bytes(pickle.dumps(measured[-1]))
    return {
        **row,
        "expected": truth,
        "likelihood": model.config.likelihood,
        "n_cells": model.adata.n_obs,
        "n_genes": model.adata.n_vars,
        "train_seconds": round(trained - started, 2),
        "diagnose_seconds": round(time.perf_counter() - trained, 2),
        **judged(measured[-1]),
    }


def summary(runs: list[dict]) -> dict:
    """Confusion matrix, recalls, balanced accuracy, and the errors that cost most, with exact 95 % bounds."""
    from scipy.stats import beta

    def bound(wrong: int, n: int) -> float:
        return 1.0 if wrong == n else round(float(beta.ppf(0.975, wrong + 1, n - wrong)), 4)

    told = [run for run in runs if run["expected"] != "open"]
    table = pd.DataFrame(told)
    confusion = pd.crosstab(table["expected"], table["verdict"])
    recall = {name: float((group["verdict"] == name).mean()) for name, group in table.groupby("expected")}
    worst = {}
    for truth, said in (("collapsed", "healthy"), ("healthy", "collapsed")):
        given = table[table["expected"] == truth]
        wrong = int((given["verdict"] == said).sum())
        worst[f"{truth} called {said}"] = {"n": len(given), "wrong": wrong, "upper_95": bound(wrong, len(given))}
        worst[f"falsely called {said}"] = int(((table["verdict"] == said) & (table["expected"] != said)).sum())
    return {
        "n": len(table),
        "left open by cells held out": len(runs) - len(told),
        "confusion": {truth: {k: int(v) for k, v in row.items() if v} for truth, row in confusion.iterrows()},
        "recall": recall,
        "balanced_accuracy": sum(recall.values()) / len(recall),
        **worst,
        "wrong": [f"{r['case']}: {r['verdict']}" for r in told if r["verdict"] != r["expected"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=tuple(FIRST_SEED), default="tune")
    parser.add_argument("--first-seed", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--again", action="store_true", help="make all fits again")
    parser.add_argument("--judge-again", action="store_true")
    parser.add_argument("--measured", type=Path, default=Path("omicvae_measured"))
    options = parser.parse_args()
    first = options.first_seed
    path = RESULTS / f"verdicts_{options.half}{'' if first is None else f'_{first}'}.json"
    known = json.loads(path.read_text())["runs"] if path.exists() and not options.again else []
    kept = json.loads(path.read_text()) if path.exists() else {}  # notes on earlier rounds
    planned = [case.key for case in cases_of(options.half, first)]
    known = [run for run in known if run["case"] in planned and run["verdict"] != "error"]

    def store() -> None:
        known.sort(key=lambda run: planned.index(run["case"]))
        content = {**kept, "summary": summary(known), "provenance": provenance(), "runs": known}
        write_atomically(path, lambda part: part.write_text(json.dumps(content, indent=1) + "\n"))

    if options.judge_again:
        for row in known:
            row |= judged(pickle.loads(file_of(row["case"], options.measured).read_bytes()))
    else:
        done = {run["case"] for run in known}
        todo = [i for i, key in enumerate(planned) if key not in done and options.only in key]
        with ProcessPoolExecutor(options.jobs) as pool:
            for future in as_completed([pool.submit(run, options.half, first, i, options.measured) for i in todo]):
                known.append(future.result())
                last = known[-1]
                print(f"{last['expected']:>18} {last['verdict']:>18}  {last['case']}", flush=True)
                store()
    store()
    print(json.dumps(json.loads(path.read_text())["summary"], indent=1))


if __name__ == "__main__":
    main()
