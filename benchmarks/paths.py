"""Held-out bound of default runs for each way of computing the training step.

Three ways, on a CPU: `reference` (plain torch operations, dense, float32), `float32` (compiled kernels, backward pass
written out), `auto` (the default: the same with the products with the weights of genes in bfloat16, where the processor
has them). Default runs with nb, the same seeds; held-out ELBO of test cells in nats per cell, mean of ten draws. The
difference is to be read beside the standard deviation over seeds of the reference: rounding makes other runs of the
same quality.
"""

import json
import time
import warnings
from contextlib import nullcontext

import numpy as np
from _common import N_DRAWS, batch_key, hold_out, load, parser, run_child, write

WAYS = ("reference", "float32", "auto")
SETS = (
    "pbmc_3chem",
    "paul15",
    "sc_mixology_6batch_hvg",
    "rnamix_2protocols",
    "bulk_immune_sorted",
    "bulk_covid_series",
)


def child(data: str, way: str, seed: int) -> dict:
    """Train once in the given way and score with the compiled kernels."""
    from _common import reference_path

    import omicvae as ov

    warnings.simplefilter("ignore")
    adata = load(data)
    fit, test = hold_out(adata, batch_key(adata), 0)
    ov.CVAE.setup_anndata(fit, batch_key=batch_key(fit))
    model = ov.CVAE(fit, "nb", seed=seed)
    started = time.perf_counter()
    with reference_path() if way == "reference" else nullcontext():
        model.train(progress_bar=False, accelerator="cpu", precision="auto" if way == "auto" else "32-true")
    return {"seconds": time.perf_counter() - started, "elbo": model.get_elbo(test, n_samples=N_DRAWS)}


def summarise(runs: list[dict]) -> list[dict]:
    """Mean bound of each way, and its difference from the reference's, relative."""
    rows = []
    for data in dict.fromkeys(run["data"] for run in runs):
        bounds = {way: [run["elbo"] for run in runs if (run["data"], run["way"]) == (data, way)] for way in WAYS}
        seconds = {
            way: float(np.median([run["seconds"] for run in runs if (run["data"], run["way"]) == (data, way)]))
            for way in WAYS
        }
        mean = {way: float(np.mean(values)) for way, values in bounds.items()}
        size = abs(mean["reference"])
        rows.append(
            {
                "data": data,
                "elbo": mean,
                "relative_difference": {way: (mean[way] - mean["reference"]) / size for way in WAYS[1:]},
                "relative_sd_over_seeds": float(np.std(bounds["reference"], ddof=1)) / size,
                "seconds": seconds,
            }
        )
    return rows


def main() -> None:
    arguments = parser(__doc__, "paths")
    arguments.add_argument("--data", nargs="+", default=list(SETS))
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = arguments.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    runs: list[dict] = []
    for data in options.data:
        for seed in options.seeds[: 2 if options.quick else None]:
            for way in WAYS:
                runs.append(run_child(__file__, data=data, way=way, seed=seed))
                print(json.dumps(runs[-1]), flush=True)
        finished = [run for run in runs if "error" not in run]
        write(options.name, runs, summary=summarise(finished))


if __name__ == "__main__":
    main()
