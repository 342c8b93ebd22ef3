"""Whether ``stability`` repeats a fit in less time than SCVI's one, and what five fits agree on.

    python benchmarks/stability.py [--data NAME]
    python benchmarks/stability.py --unsound

The data set took no part in choosing settings. SCVI is fitted once with its defaults on the same training cells; its
time is that of ``train`` alone, ``stability``'s is all that it does: five fits, five diagnoses, comparisons.
``--unsound`` compares collapsed fits (β = 70) of the bundled PBMC with healthy ones, by means and by draws.
"""

import argparse
import json
import time

from _common import RESULTS, batch_key, fit_scvi, load, provenance

import omicvae as ov
from omicvae.metrics.cka import linear_cka


def alive_and_dead() -> None:
    """Agreement of three fits each of PBMC, healthy and collapsed, written and printed."""
    adata, result = ov.datasets.pbmc68k_counts(), {"provenance": provenance()}
    for name, settings in (("healthy", {}), ("collapsed", {"objective": {"beta": 70.0}})):
        found = ov.stability(adata, 3, labels_key="bulk_labels", accelerator="cpu", **settings)
        ov.CVAE.setup_anndata(adata)
        models = [ov.CVAE(adata, seed=seed) for seed in (0, 1)]
        for model in models:
            model.train(progress_bar=False, accelerator="cpu", **settings)
        draws = [model.get_latent_representation(give_mean=False) for model in models]
        result[name] = {
            "verdicts": found.fits["verdict"].tolist(),
            "CKA of means": float(found.latent.lowest),
            "CKA of draws": float(linear_cka(*draws)),
            "neighbours": float(found.neighbours.lowest),
            "probe": found.fits["probe"].tolist(),
        }
        print(name, result[name], flush=True)
    (RESULTS / "stability_pbmc.json").write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="sc_mixology_5batch")
    parser.add_argument("--unsound", action="store_true")
    options = parser.parse_args()
    if options.unsound:
        return alive_and_dead()
    name = options.data
    adata = load(name)
    ov.CVAE.setup_anndata(adata, batch_key=batch_key(adata), labels_key="label")
    warm = ov.CVAE(adata[:200].copy(), n_latent=2, n_hidden=8)  # kernels are compiled once on a machine
    warm.train(1, progress_bar=False, accelerator="cpu")
    began = time.perf_counter()
    found = ov.stability(adata, 5, accelerator="cpu")
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    model = ov.CVAE(adata, seed=0)
    model.train(progress_bar=False, accelerator="cpu")
    one = time.perf_counter() - began
    _, scvi = fit_scvi(adata, 0)
    result = {
        "provenance": provenance(),
        "data": name,
        "cells": adata.n_obs,
        "genes": adata.n_vars,
        "stability_seconds": seconds,
        "one_fit_seconds": one,
        "scvi": scvi,
        "ratio": seconds / scvi["seconds"],
        "headline": found.headline,
        "checks": found.to_frame().to_dict("records"),
        "fits": found.fits.to_dict("records"),
    }
    path = RESULTS / "stability.json"
    path.write_text(json.dumps(result, indent=1))
    print(found)
    print(f"{seconds:.0f} s for five fits and what they agree on, {scvi['seconds']:.0f} s for one of SCVI: {path}")


if __name__ == "__main__":
    main()
