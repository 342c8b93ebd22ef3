"""Expression: coverage of intervals, and the memory that it takes to write all of it.

Intervals: for each likelihood, data from a known truth in its own family (3 factors, linear in the decoder's scale, 60
genes), a default fit on 2000 cells, and 200 cells that were not fitted. In shares of their entries:

- `predictive`: another measurement of the same cells, drawn from the truth, inside of `predictive_interval()` at 0.95.
  Counts step, so the closed interval of a true model covers more than that.
- `predictive_randomised`: the same with ties broken at random (`ov.metrics.calibration`), which is 0.95 under a true
  model for any likelihood. Goal: 0.95 ± 0.03.
- `own`: the cell's own x, from which z was inferred.
- `mean`: the true mean inside of the credible interval of `get_normalized_expression`, that of z alone.

Streaming: 200,000 cells × 2000 genes, 5 % not zero, made by another process; one epoch; `write_expression` with SDs of
5 draws. `above_model_mb`: highest resident memory during the call above that before it, with data and model there.
Goal: at most 1000 MB.
"""

import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from _common import parser, run_child, write
from memory import MB, make, read, reset_peak, status

K, G, N_FIT, N_TEST, LEVEL, DRAWS = 3, 60, 2000, 200, 0.95, 199
THETA, EXTRA, SD, DEGREES = 4.0, 0.1, 0.7, 5.0

Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]
#: likelihood → how the truth is drawn, given the means
DRAWN: dict[str, Draw] = {
    "poisson": lambda rng, mean: rng.poisson(mean),
    "nb": lambda rng, mean: rng.poisson(rng.gamma(THETA, mean / THETA)),
    "zinb": lambda rng, mean: rng.poisson(rng.gamma(THETA, mean / THETA)) * (rng.random(mean.shape) >= EXTRA),
    "bernoulli": lambda rng, mean: rng.random(mean.shape) < mean,
    "gaussian": lambda rng, mean: rng.normal(mean, SD),
    "student_t": lambda rng, mean: mean + SD * rng.standard_t(DEGREES, mean.shape),
}


def truth(likelihood: str, rng: np.random.Generator) -> np.ndarray:
    """Means of all cells, in data units."""
    n = N_FIT + N_TEST
    linear_NG = rng.normal(0, 1, G) + rng.standard_normal((n, K)) @ rng.normal(0, 0.5, (K, G))
    if likelihood in ("poisson", "nb", "zinb"):
        share_NG = np.exp(linear_NG)
        return rng.lognormal(np.log(1000), 0.3, (n, 1)) * share_NG / share_NG.sum(1, keepdims=True)
    return 1 / (1 + np.exp(-linear_NG)) if likelihood == "bernoulli" else linear_NG


def measure_intervals(likelihood: str, seed: int, quick: bool) -> dict:
    """Fit, and count what lies inside."""
    import omicvae as ov

    rng = np.random.default_rng([seed, list(DRAWN).index(likelihood)])
    mean_NG = truth(likelihood, rng)
    x_NG, again_NG = (DRAWN[likelihood](rng, mean_NG).astype(np.float32) for _ in range(2))
    names = pd.DataFrame(index=np.arange(len(x_NG)).astype(str))
    fit, test = (ad.AnnData(x_NG[rows], obs=names[rows]) for rows in (slice(N_FIT), slice(N_FIT, None)))
    mean_NG, again_NG = mean_NG[N_FIT:], again_NG[N_FIT:]
    with warnings.catch_warnings(action="ignore"):
        ov.CVAE.setup_anndata(fit)
        model = ov.CVAE(fit, likelihood, seed=seed)
        model.train(5 if quick else None, progress_bar=False, accelerator="cpu")
    n = {"n_samples": DRAWS, "batch_size": 50}
    interval = model.predictive_interval(test, level=LEVEL, return_numpy=True, **n)
    library = test.X.sum(1, keepdims=True) if model.module.likelihood.support == "counts" else 1.0
    credible = model.get_normalized_expression(test, credible_interval=LEVEL, return_numpy=True, **n)
    lower_NG, upper_NG = (credible[end] * library for end in ("lower", "upper"))
    draws = np.moveaxis(model.posterior_predictive_sample(test, **n).todense(), -1, 0)
    calibration = ov.metrics.calibration(again_NG, draws, levels=[LEVEL], seed=seed)

    def inside(values_NG: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> float:
        return float(((values_NG >= lower) & (values_NG <= upper)).mean())

    return {
        "predictive": inside(again_NG, interval["lower"], interval["upper"]),
        "predictive_randomised": float(calibration.coverage_L[0]),
        "own": inside(test.X, interval["lower"], interval["upper"]),
        "mean": inside(mean_NG, lower_NG, upper_NG),
        "epochs": len(model.history),
    }


def measure_streaming(path: str, n_genes: int, suffix: str) -> dict:
    """Write expression of all cells and return the peak."""
    import omicvae as ov

    adata = read(path, n_genes)
    data = sum(getattr(adata.X, part).nbytes for part in ("data", "indices", "indptr")) / MB
    with warnings.catch_warnings(action="ignore"):
        ov.CVAE.setup_anndata(adata, batch_key="batch")
        model = ov.CVAE(adata, "nb")
        model.train(1, progress_bar=False, accelerator="cpu")
    model.write_expression(f"{path}/warm{suffix}", indices=range(300), n_samples=5)  # late imports
    before, reset, start = status("VmRSS"), reset_peak(), time.perf_counter()
    target = model.write_expression(f"{path}/all{suffix}", transform={"batch": "a"}, n_samples=5)
    seconds = time.perf_counter() - start
    written = [part for part in ([target] if target.is_file() else target.rglob("*")) if part.is_file()]
    return {
        "above_model_mb": status("VmHWM") - before,
        "reset": reset,
        "data_mb": data,
        "seconds": seconds,
        "file_mb": sum(part.stat().st_size for part in written) / MB,
    }


KINDS = {"intervals": measure_intervals, "streaming": measure_streaming, "make": make}


def run_intervals(quick: bool, seeds: int) -> Iterator[dict]:
    """Run every likelihood."""
    for likelihood in DRAWN:
        for seed in range(1 if quick else seeds):
            yield run_child(__file__, kind="intervals", likelihood=likelihood, seed=seed, quick=quick)


def run_streaming(quick: bool, seeds: int) -> Iterator[dict]:
    """Run every format."""
    sizes = {"n_cells": 2000 if quick else 200_000, "n_genes": 2000}
    for suffix in (".h5ad", ".zarr"):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as path:
            run_child(__file__, kind="make", path=path, density=0.05, **sizes)
            run = run_child(__file__, kind="streaming", path=path, n_genes=sizes["n_genes"], suffix=suffix)
        yield {**run, **sizes, "path": ""}


PARTS = {
    "intervals": (run_intervals, {"predictive_randomised": [0.92, 0.98]}),
    "streaming": (run_streaming, {"above_model_mb": 1000}),
}


def main() -> None:
    """Run the parts that are asked for, and write a file for each."""
    arguments = parser(__doc__, "expression")
    arguments.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments.add_argument("--seeds", type=int, default=2)
    options = arguments.parse_args()
    if options.child:
        print(json.dumps(KINDS[options.child.pop("kind")](**options.child)))
        return
    for part in options.parts:
        (run, goals), runs = PARTS[part], []
        for one in run(options.quick, options.seeds):
            runs.append(one)
            print(one, flush=True)
            write(f"{options.name}_{part}", runs, goals=goals)


if __name__ == "__main__":
    main()
