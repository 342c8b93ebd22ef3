"""Whether ``stability`` repeats a fit in less time than SCVI's one, and what five fits agree on.

    python benchmarks/stability.py [--data NAME]

The data set took no part in choosing settings. SCVI is fitted once with its defaults on the same training cells; its
time is that of ``train`` alone, ``stability``'s is all that it does: five fits, five diagnoses, comparisons.
"""

import argparse
import json
import time

from _common import RESULTS, batch_key, fit_scvi, load, provenance

import omicvae as ov


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="sc_mixology_5batch")
    name = parser.parse_args().data
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
