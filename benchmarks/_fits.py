"""What the scripts on objectives share: labelled data, a fit and its figures, runs side by side, sums over seeds."""

import argparse
import json
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial

import anndata as ad
import numpy as np
from _common import N_DRAWS, batch_key, hold_out, load, parser, provenance, read_runs, run_child, write

#: 700 cells that ship inside scanpy; every other set is read from OMICVAE_DATA
PBMC68K = "pbmc68k_counts"
#: epochs of ``--quick``
QUICK_EPOCHS = 3

#: of one run, to be summed over seeds; rates, distortions and bounds in nats per cell
BOUNDS = ("rate", "distortion", "elbo_validation", "rate_test", "distortion_test", "elbo_test")
JUDGED = ("active", "gain_over_null", "decoder_use", "probe_draw", "probe_means", "probe_pca")
COST = ("epochs", "seconds")


def read(data: str) -> tuple[ad.AnnData, str | None, str | None]:
    """Return a data set and the names of its batch and label columns, None where there is one value only."""
    if data == PBMC68K:
        import omicvae as ov

        return ov.datasets.pbmc68k_counts(), None, "bulk_labels"
    adata = load(data)
    label = "label" if "label" in adata.obs and adata.obs["label"].nunique() > 1 else None
    return adata, batch_key(adata), label


def fit(
    data: str,
    seed: int,
    *,
    likelihood: str = "nb",
    objective: dict | None = None,
    model: dict | None = None,
    max_epochs: int | None = None,
    accelerator: str = "cpu",
    prepare: Callable[[ad.AnnData], ad.AnnData] | None = None,
):
    """Fit nine tenths of a data set; return model, test cells (the same for all seeds) and what training cost.

    ``model`` and ``objective`` are arguments of ``CVAE`` and ``train``. A categorical covariate is the batch, where
    there is one. ``prepare`` changes the data before they are split.
    """
    import omicvae as ov
    from omicvae.training.clock import timed

    adata, batch, label = read(data)
    cells, test = hold_out(adata if prepare is None else prepare(adata), batch, 0)
    ov.CVAE.setup_anndata(cells, batch_key=batch, labels_key=label)
    fitted = ov.CVAE(cells, likelihood, seed=seed, **(model or {}))
    arguments = {"objective": objective or None, "accelerator": accelerator, "progress_bar": False}
    _, seconds = timed(fitted.train, max_epochs, **arguments)
    sizes = {"n_fit": cells.n_obs, "n_test": test.n_obs, "n_genes": cells.n_vars}
    return fitted, test, {"seconds": seconds, **length(fitted), **sizes}


def length(model) -> dict:
    """Epochs over all fits of the model, epochs that the last fit planned, and its last KL weight."""
    return {
        "epochs": len(model.history),
        "planned_epochs": model.fits[-1].planned_epochs,
        "final_kl_weight": plain(model.history["kl_weight"].iloc[-1]),
    }


def bounds(model, test: ad.AnnData) -> dict:
    """Rate (KL), distortion (reconstruction) and bound at β = 1 of validation and test cells, by the same draws."""
    figures = {}
    places = {"validation": {"indices": model.validation_indices}, "test": {"adata": test}}
    for place, cells in places.items():
        elbo = model.get_elbo(**cells, n_samples=N_DRAWS)
        distortion = model.get_reconstruction_error(**cells, n_samples=N_DRAWS)["reconstruction_loss"]
        suffix = "" if place == "validation" else "_test"
        figures[f"rate{suffix}"] = plain(-elbo - distortion)
        figures[f"distortion{suffix}"] = plain(distortion)
        figures[f"elbo_{place}"] = plain(elbo)
    return figures


def judged(model) -> dict:
    """Verdict, active units, gain, decoder use and balanced accuracies of the probes, as the diagnosis has them."""
    diagnosis = model.diagnose(umap=False)
    values = dict(zip(diagnosis.evidence["check"], diagnosis.evidence["value"], strict=True))
    probes = {}
    if len(diagnosis.probes):
        linear = diagnosis.probes[diagnosis.probes["classifier"] == "logistic"]
        probes = dict(zip(linear["representation"], linear["balanced_accuracy"], strict=True))
    return {
        "verdict": diagnosis.verdict,
        "findings": list(diagnosis.findings),
        "active": plain(values.get("active units")),
        "gain_over_null": plain(values.get("gain over null")),
        "decoder_use": plain(values.get("decoder use")),
        "probe_draw": plain(probes.get("posterior draw")),
        "probe_means": plain(probes.get("standardised means")),
        "probe_pca": plain(probes.get("PCA")),
    }


def plain(value: float | None) -> float | None:
    """Return a float that JSON takes; None for what is missing or not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def over_seeds(runs: list[dict], by: Sequence[str], figures: Iterable[str]) -> list[dict]:
    """One row per group of runs with the same ``by``: median and SD over seeds of each figure, verdicts, errors.

    Runs that failed are in ``errors`` and count in no figure; nor does a figure that is None.
    """
    rows = []
    for key in dict.fromkeys(tuple(run[name] for name in by) for run in runs):
        group = [run for run in runs if tuple(run[name] for name in by) == key]
        finished = [run for run in group if "error" not in run]
        row = {**dict(zip(by, key, strict=True)), "n_seeds": len(finished)}
        for name in figures:
            values = [run[name] for run in finished if run.get(name) is not None]
            row[name] = float(np.median(values)) if values else None
            row[f"{name}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        if any("verdict" in run for run in finished):
            row["verdicts"] = [run["verdict"] for run in finished]
        row["errors"] = [[run["seed"], *run["error"]] for run in group if "error" in run]
        rows.append(row)
    return rows


def arguments(doc: str | None, name: str, data: Sequence[str], seeds: Sequence[int]) -> argparse.ArgumentParser:
    """Arguments that these scripts take beside those of all scripts."""
    made = parser(doc, name)
    made.add_argument("--data", nargs="+", default=list(data), help=f"default: {', '.join(data)}")
    made.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    made.add_argument("--jobs", type=int, default=1, help="runs side by side, one thread each (default: 1)")
    return made


def shorten(options: argparse.Namespace) -> None:
    """Apply ``--quick``: one data set, few epochs, at most two seeds, results of their own."""
    options.max_epochs = QUICK_EPOCHS if options.quick else None
    if options.quick:
        options.data, options.seeds = options.data[:1], options.seeds[:2]
        options.name += "_quick"


def run_all(
    script: str,
    options: argparse.Namespace,
    tasks: Iterable[dict],
    summarise: Callable[[list[dict]], list[dict]],
    hide: Sequence[str] = (),
) -> None:
    """Run the tasks that the results do not hold yet, each in a process of its own; write after each.

    Failed runs of earlier calls are tried again. The summary is over all runs that the file holds; each has the commit
    that it ran on. ``hide`` names what is not printed.
    """
    commit = provenance()["commit"]
    shared = {"max_epochs": options.max_epochs, "accelerator": options.accelerator}
    runs = [run for run in read_runs(options.name) if "error" not in run]
    wanted = [{**task, **shared} for task in tasks]
    left = [task for task in wanted if not any(task.items() <= run.items() for run in runs)]

    def save() -> None:
        extra = {"threads_per_run": 1, "jobs": options.jobs, "summary": summarise(runs)}
        write(options.name, runs, accelerator=options.accelerator, **extra)

    with ThreadPoolExecutor(options.jobs) as pool:
        waiting = [pool.submit(partial(run_child, script, threads=1, **task)) for task in left]
        for done in as_completed(waiting):
            runs.append({**done.result(), "commit": commit})
            print(json.dumps({name: value for name, value in runs[-1].items() if name not in hide}), flush=True)
            save()
    save()
