"""What the benchmark scripts share: data, splits, provenance, child processes, summaries."""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from omicvae.data import train_validation_split
from omicvae.training import derive_seed

SIDES = ("omicvae", "scvi")

RESULTS = Path(__file__).parent / "results"
#: data sets used to choose defaults; everything else only reports
TUNING_SETS = ("cbmc_top2000", "paul15", "pbmc_facs", "bulk_brca_pam50", "bulk_immune_sorted")
SINGLE_CELL_BATCHES = (
    "kang_ifnb",
    "kang_ctrl_8donors",
    "sc_mixology_5batch",
    "sc_mixology_6batch_hvg",
    "pbmc_3chem",
    "gbm_panobinostat",
    "rnamix_2protocols",
    "pancreas_3batch",
)
#: data sets of the comparison of time with quality
QUALITY_SETS = (
    "pbmc_3chem",
    "kang_ctrl_8donors",
    "paul15",
    "cbmc_top2000",
    "bulk_brca_pam50",
    "bulk_immune_sorted",
    "bulk_covid_series",
    "bulk_tissues_gtex_tcga",
)
BULK_BATCHES = ("bulk_tissues_gtex_tcga", "bulk_brca_pam50", "bulk_covid_series", "bulk_immune_sorted")


def load(name: str, n_genes: int | None = 2000) -> ad.AnnData:
    """Read a shared data set; single-cell sets keep their ``n_genes`` most variable genes, bulk sets all."""
    import scanpy as sc

    adata = ad.read_h5ad(Path(os.environ["OMICVAE_DATA"]) / f"{name}.h5ad")
    if n_genes is not None and adata.n_vars > n_genes and not name.startswith("bulk"):
        normalised = adata.copy()
        sc.pp.normalize_total(normalised, target_sum=1e4)
        sc.pp.log1p(normalised)
        sc.pp.highly_variable_genes(normalised, n_top_genes=n_genes, flavor="seurat")
        adata = adata[:, normalised.var["highly_variable"].to_numpy()].copy()
    return adata


def hold_out(adata: ad.AnnData, batch_key: str | None, seed: int) -> tuple[ad.AnnData, ad.AnnData]:
    """Split into cells to fit on and test cells; test cells of a batch that is not fitted are left out."""
    strata = adata.obs[batch_key].cat.codes.to_numpy() if batch_key else None
    fit, test = train_validation_split(
        adata.n_obs, train_size=0.9, strata=strata, rng=np.random.default_rng([seed, 77])
    )
    if batch_key:
        known = set(adata.obs[batch_key].iloc[fit])
        test = test[adata.obs[batch_key].iloc[test].isin(known).to_numpy()]
    parts = adata[fit].copy(), adata[test].copy()
    for part in parts:
        if batch_key:
            part.obs[batch_key] = part.obs[batch_key].astype(str).astype("category")
    return parts


def batch_key(adata: ad.AnnData) -> str | None:
    """Column of the batches, None where there is one batch only."""
    return "batch" if adata.obs["batch"].nunique() > 1 else None


def inner_split(fit: ad.AnnData, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation rows as ``CVAE(fit, seed=seed)`` splits them, for the other side."""
    codes_ND = np.stack([fit.obs[key].cat.codes for key in (batch_key(fit),) if key] or [np.zeros(fit.n_obs)], axis=1)
    rng = np.random.default_rng(derive_seed(seed, "split"))
    return train_validation_split(fit.n_obs, train_size=0.9, strata=codes_ND.astype(int), rng=rng)


#: draws of a held-out bound
N_DRAWS = 10


def fit_scvi(fit: ad.AnnData, seed: int, *, accelerator: str = "cpu", callbacks: list | None = None, **settings: float):
    """Train SCVI (nb) on the cells that ``CVAE(fit, seed=seed)`` trains on; return it with its seconds.

    ``settings``: ``max_epochs`` (default: SCVI's heuristic); ``lr`` and ``n_epochs_kl_warmup`` (SCVI's defaults).
    """
    import scvi

    from omicvae.training.clock import timed

    scvi.settings.seed = seed
    max_epochs = settings.pop("max_epochs", None)

    def construct() -> scvi.model.SCVI:
        scvi.model.SCVI.setup_anndata(fit, batch_key=batch_key(fit))
        return scvi.model.SCVI(fit, gene_likelihood="nb")

    model, construct_seconds = timed(construct)
    for callback in callbacks or []:
        callback.model = model
    _, seconds = timed(
        model.train,
        max_epochs=max_epochs,
        accelerator=accelerator,
        enable_progress_bar=False,
        plan_kwargs=settings,
        callbacks=callbacks or [],
        datasplitter_kwargs={"external_indexing": [*inner_split(fit, seed), np.array([], dtype=int)]},
    )
    return model, {
        "construct_seconds": construct_seconds,
        "seconds": seconds,
        "epochs": model.trainer.current_epoch,
    }


def scvi_elbo(model, adata: ad.AnnData | None = None, indices: np.ndarray | None = None) -> float:
    """Mean of ``N_DRAWS`` bounds in nats per cell, by SCVI's own ``get_elbo``."""
    return float(np.mean([float(model.get_elbo(adata, indices=indices)) for _ in range(N_DRAWS)]))


#: of simulated counts: dispersion, cell types, levels of the library size
THETA, TYPES, LEVELS = 2.0, 8, 16


def simulate(n_cells: int, n_genes: int, density: float, seed: int = 0) -> ad.AnnData:
    """Negative binomial counts (θ = 2) of eight types in two batches with 16 library sizes, CSR float32.

    Libraries are scaled so that the expected share of non-zeros is ``density``. A count is a Poisson number of events,
    each of logarithmic size, which is a negative binomial; the cost grows with the non-zeros only.
    """
    rng = np.random.default_rng([seed, n_cells, n_genes])
    logits_TBG = rng.normal(size=n_genes) + rng.normal(size=(TYPES, 1, n_genes)) + 0.3 * rng.normal(size=(2, n_genes))
    share_PG = np.exp(logits_TBG).reshape(-1, n_genes)
    share_PG /= share_PG.sum(1, keepdims=True)
    level_L = np.exp(np.linspace(-0.8, 0.8, LEVELS))
    mean_CG = (level_L[:, None, None] * share_PG).reshape(-1, n_genes)
    low, high = 1.0, 1e9
    while high / low > 1.001:
        middle = (low * high) ** 0.5
        too_dense = 1 - ((1 + middle * mean_CG / THETA) ** -THETA).mean() > density
        low, high = (low, middle) if too_dense else (middle, high)
    events_CG = THETA * np.log1p(low * mean_CG / THETA)
    size_CG = low * mean_CG / (low * mean_CG + THETA)
    class_N = np.sort(rng.integers(len(mean_CG), size=n_cells))
    rows, columns, values = [], [], []
    for code in np.unique(class_N):
        cumulative_G = events_CG[code].cumsum()
        cells = np.flatnonzero(class_N == code)
        n_events = rng.poisson(cumulative_G[-1], size=len(cells))
        genes = cumulative_G.searchsorted(rng.random(n_events.sum()) * cumulative_G[-1]).clip(max=n_genes - 1)
        rows.append(np.repeat(cells, n_events))
        columns.append(genes)
        values.append(rng.logseries(size_CG[code][genes]))
    triplets = (np.concatenate(values).astype(np.float32), (np.concatenate(rows), np.concatenate(columns)))
    order = rng.permutation(n_cells)
    counts_NG = sp.coo_matrix(triplets, shape=(n_cells, n_genes)).tocsr()[order]
    obs = pd.DataFrame({"batch": pd.Categorical.from_codes(class_N[order] % 2, ["a", "b"])})
    return ad.AnnData(counts_NG, obs=obs.set_index(np.arange(n_cells).astype(str)))


def provenance(accelerator: str = "cpu") -> dict:
    """Hardware, threads, versions and commit."""
    import torch

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=Path(__file__).parent)
        return done.stdout.strip()

    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    packages = ("torch", "scvi-tools", "lightning", "anndata", "scanpy", "numpy")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "date": time.strftime("%Y-%m-%d"),
        "accelerator": accelerator,
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "environment": {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")},
        "gpu": gpu,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "commit": git("rev-parse", "--short", "HEAD") or None,
        "uncommitted_changes": bool(git("status", "--porcelain", "--", "../src")),
    }


def run_child(script: str, *, threads: int | str | None = None, **arguments: object) -> dict:
    """Run ``script --child JSON`` in a fresh process and read the JSON on its last line; an error is a result too."""
    # numba, which scanpy calls to normalise, gives torch its own number of threads
    threads = threads or os.environ.get("OMP_NUM_THREADS")
    limits = {} if threads is None else dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
    done = subprocess.run(
        [sys.executable, script, "--child", json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **limits},
    )
    if done.returncode:
        return {**arguments, "error": [f"exit status {done.returncode}", *done.stderr.strip().splitlines()[-1:]]}
    return {**arguments, **json.loads(done.stdout.strip().splitlines()[-1])}


def write(name: str, runs: list[dict], *, accelerator: str = "cpu", **extra: object) -> Path:
    """Write ``results/<name>.json``."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"provenance": provenance(accelerator), **extra, "runs": runs}, indent=1) + "\n")
    return path


def read_runs(name: str) -> list[dict]:
    """Read the runs that ``results/<name>.json`` holds already, if any."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["runs"] if path.exists() else []


def parser(doc: str | None, name: str) -> argparse.ArgumentParser:
    """Arguments that all scripts take."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    made.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    made.add_argument("--quick", action="store_true", help="a small form, to see that it runs")
    made.add_argument("--name", default=name, help=f"results/NAME.json (default: {name})")
    return made


def compare(runs: list[dict], by: Iterable[str], summarise: Callable[[list[dict]], dict]) -> list[dict]:
    """One row per group of runs with the same ``by``; where a run of it failed, its errors instead of ratios."""
    by = tuple(by)
    rows = []
    for key in dict.fromkeys(tuple(run[name] for name in by) for run in runs):
        group = [run for run in runs if tuple(run[name] for name in by) == key]
        errors = [[run["side"], *run["error"]] for run in group if "error" in run]
        rows.append({**dict(zip(by, key, strict=True)), **({"errors": errors} if errors else summarise(group))})
    return rows


@contextmanager
def reference_path() -> Iterator[None]:
    """Let fits compute with torch's operations alone, on dense minibatches, by autograd."""
    from omicvae._core import Batch
    from omicvae.data import CellStore
    from omicvae.training import choice

    made = CellStore.batch

    def dense(store: CellStore, indices: object, *, device: object = "cpu") -> Batch:
        batch = made(store, indices, device=device)
        return Batch(batch.x_BG, batch.library_B1, batch.categories_BD, batch.continuous_BV)

    with mock.patch.object(CellStore, "batch", dense), mock.patch.object(choice, "obstacle", return_value="reference"):
        yield
