"""Verdicts of default fits on every shared data set, and of fits with a KL 100 times dearer.

All data sets have structure, so a default fit should be healthy. What β = 100 does depends on the depth of the data: at
bulk depth a latent may well survive it.
"""

import argparse
import json
import logging
import os
import time
from pathlib import Path

from _common import load, write

import omicvae as ov

SETTINGS = {"default": None, "beta 100": {"beta": 100.0}}


def run(data: str, setting: str, seed: int) -> dict:
    """Fit, diagnose, and keep the figures that the verdict rests on."""
    adata = load(data)
    batch_key = "batch" if adata.obs["batch"].nunique() > 1 else None
    labels_key = "label" if "label" in adata.obs and adata.obs["label"].nunique() > 1 else None
    ov.CVAE.setup_anndata(adata, batch_key=batch_key, labels_key=labels_key)
    model = ov.CVAE(adata, seed=seed)
    started = time.perf_counter()
    model.train(objective=SETTINGS[setting], progress_bar=False)
    trained = time.perf_counter()
    diagnosis = model.diagnose(umap=False)
    return {
        "data": data,
        "setting": setting,
        "seed": seed,
        "likelihood": model.config.likelihood,
        "n_cells": adata.n_obs,
        "n_genes": adata.n_vars,
        "verdict": diagnosis.verdict,
        "findings": list(diagnosis.findings),
        "headline": diagnosis.headline,
        "train_seconds": trained - started,
        "diagnose_seconds": time.perf_counter() - trained,
        "evidence": {row.check: row.value for row in diagnosis.evidence.itertuples()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    every = sorted(path.stem for path in Path(os.environ["OMICVAE_DATA"]).glob("*.h5ad"))
    parser.add_argument("--data", nargs="+", default=every)
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.getLogger("omicvae").setLevel(logging.ERROR)
    runs = []
    for data in options.data:
        for setting in options.settings:
            runs.append(run(data, setting, options.seed))
            print(json.dumps({key: runs[-1][key] for key in ("data", "setting", "verdict", "headline")}), flush=True)
            write("verdicts", runs)


if __name__ == "__main__":
    main()
