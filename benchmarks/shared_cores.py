"""Seconds of `train()` on quiet cores, and on cores that as many busy processes share; both forms of the step.

No environment variable is set that would change how threads wait. With n busy processes on n cores a fit of n threads
gets half of them at best.
"""

import json
import os
import subprocess
import sys
import time
from statistics import median

from _common import parser, run_child, write

STEPS = {"explicit": {}, "autograd": {"normalization": "layer"}}
BUSY = "while True: pass"


def child(step: str, n_cells: int) -> dict:
    """Train twice, and return the seconds of the second run."""
    import logging

    import omicvae as ov

    logging.getLogger("omicvae").setLevel(logging.ERROR)
    adata = ov.datasets.simulate_counts(n_cells, 2000, n_types=4, seed=0)
    ov.CVAE.setup_anndata(adata)
    for epochs in (2, 8):
        model = ov.CVAE(adata, "nb", **STEPS[step])
        started = time.perf_counter()
        model.train(epochs, progress_bar=False, early_stopping=False)
    return {"seconds": time.perf_counter() - started}


def main() -> None:
    arguments = parser(__doc__, "shared_cores")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--cells", type=int, default=8000)
    options = arguments.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "GOMP_SPINCOUNT"):
        os.environ.pop(name, None)
    runs = []
    for repeat in range(1 if options.quick else options.repeats):
        for step in STEPS:
            for n_busy in (0, os.cpu_count() or 1):
                busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(n_busy)]
                try:
                    found = run_child(__file__, step=step, n_cells=500 if options.quick else options.cells)
                finally:
                    for process in busy:
                        process.kill()
                runs.append({"step": step, "busy_processes": n_busy, "repeat": repeat, **found})
                print(json.dumps(runs[-1]), flush=True)
    summary = []
    for step in STEPS:
        quiet, shared = (
            median(r["seconds"] for r in runs if r["step"] == step and bool(r["busy_processes"]) == busy)
            for busy in (False, True)
        )
        summary.append({"step": step, "quiet": quiet, "shared": shared, "ratio": shared / quiet})
        print(json.dumps(summary[-1]))
    write(options.name, runs, summary=summary)


if __name__ == "__main__":
    main()
