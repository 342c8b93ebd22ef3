"""Where the seconds of a first fit go: import, training and diagnosis, the first and the second in a fresh process.

`cold` starts with no compiled kernels on disk, as a new container does; `warm` with those that a process before left.
Each run is a process of its own; the two take turns. 2000 simulated cells × 1000 genes, two epochs.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

from _common import parser, run_child, write

PARTS = ("import", "first_train", "second_train", "first_diagnosis", "second_diagnosis")


def timed(function: Callable[[], object]) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def child(likelihood: str) -> dict:
    """Time the parts in this process, in their order."""
    import logging

    import omicvae as ov

    logging.getLogger("omicvae").setLevel(logging.ERROR)
    seconds = {"import": timed(lambda: ov.CVAE)}
    adata = ov.datasets.simulate_counts(2000, 1000, n_types=4, seed=0)
    if likelihood == "bernoulli":
        adata.X = (adata.X > 0).astype("float32")
    if likelihood == "gaussian":
        adata.X = adata.X.log1p()
    ov.CVAE.setup_anndata(adata)
    for turn in ("first", "second"):
        model = ov.CVAE(adata, likelihood)
        seconds[f"{turn}_train"] = timed(lambda: model.train(2, progress_bar=False))  # noqa: B023  # called at once
    for turn in ("first", "second"):
        seconds[f"{turn}_diagnosis"] = timed(lambda: model.diagnose())
    return {"seconds": seconds}


def main() -> None:
    arguments = parser(__doc__, "cold_start")
    arguments.add_argument("--likelihoods", nargs="+", default=["nb", "zinb", "poisson", "gaussian", "bernoulli"])
    arguments.add_argument("--repeats", type=int, default=3)
    options = arguments.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    runs = []
    for repeat in range(1 if options.quick else options.repeats):
        for likelihood in options.likelihoods:
            with tempfile.TemporaryDirectory() as cache:
                os.environ["NUMBA_CACHE_DIR"] = cache
                for state in ("cold", "warm"):
                    found = run_child(__file__, likelihood=likelihood)
                    runs.append({"likelihood": likelihood, "repeat": repeat, "state": state, **found})
                    print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    summary = []
    for likelihood in options.likelihoods:
        for state in ("cold", "warm"):
            rows = [r["seconds"] for r in runs if (r["likelihood"], r["state"]) == (likelihood, state)]
            parts = {part: median(row[part] for row in rows) for part in PARTS}
            extra = parts["first_train"] - parts["second_train"]
            summary.append({"likelihood": likelihood, "state": state, **parts, "first_train_costs_more": extra})
            print(json.dumps(summary[-1]))
    write(options.name, runs, summary=summary)


if __name__ == "__main__":
    main()
