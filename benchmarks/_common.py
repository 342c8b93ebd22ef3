"""What the benchmark scripts share: data, splits, provenance, child processes."""

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import anndata as ad
import numpy as np

from omicvae.data import train_validation_split

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


def provenance() -> dict:
    """Hardware, versions and commit."""
    import torch

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    packages = ("torch", "scvi-tools", "lightning", "anndata", "scanpy", "numpy")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "commit": commit.stdout.strip() or None,
    }


def run_child(script: str, **arguments: object) -> dict:
    """Run ``script --child JSON`` in a fresh process and read the JSON on its last line."""
    done = subprocess.run(
        [sys.executable, script, "--child", json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {**arguments, "error": done.stderr.strip().splitlines()[-1:]}
    return {**arguments, **json.loads(done.stdout.strip().splitlines()[-1])}


def write(name: str, runs: list[dict], **extra: object) -> Path:
    """Write ``results/<name>.json``."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"provenance": provenance(), **extra, "runs": runs}, indent=1) + "\n")
    return path
