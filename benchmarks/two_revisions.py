"""Training and latent throughput of two source trees, interleaved: what a change cost.

    python benchmarks/two_revisions.py --before ../other_checkout/src

Synthetic counts of 8192 cells × 2000 genes (values for Gaussian, 0/1 for Bernoulli), two batches. A run is a process of
its own: one epoch to warm up, then seven; cells per second are the median of the last six, latents the median of five
calls. The bound of the validation cells after a fixed seed shows whether the numbers stayed.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from _common import parser, write

LIKELIHOODS = ("nb", "zinb", "poisson", "gaussian", "bernoulli")
N_CELLS, N_GENES = 8192, 2000


def child(likelihood: str, density: float, step: str) -> dict:
    """Time the package that this process finds."""
    import logging

    import anndata as ad
    import numpy as np
    import scipy.sparse as sp

    import omicvae as ov

    logging.getLogger("omicvae").setLevel(logging.ERROR)
    rng = np.random.default_rng(0)
    x = sp.random(N_CELLS, N_GENES, density=density, format="csr", dtype=np.float32, random_state=0)
    x.data = (1 + rng.poisson(1.0, x.nnz)).astype(np.float32)
    if likelihood == "gaussian":
        x.data = np.log1p(x.data + rng.random(x.nnz)).astype(np.float32)
    if likelihood == "bernoulli":
        x.data[:] = 1
    adata = ad.AnnData(x)
    adata.obs["batch"] = np.where(np.arange(N_CELLS) % 2, "a", "b")
    ov.CVAE.setup_anndata(adata, batch_key="batch")
    model = ov.CVAE(adata, likelihood, **({"normalization": "layer"} if step == "autograd" else {}))
    model.train(1, progress_bar=False, objective={"schedule": "constant"})
    model.train(7, progress_bar=False, early_stopping=False)
    seconds = []
    for _ in range(6):
        started = time.perf_counter()
        model.get_latent_representation()
        seconds.append(time.perf_counter() - started)
    history = model.history
    return {
        "training": float(median(history["cells_per_second"].iloc[-6:])),
        "latents": N_CELLS / median(seconds[1:]),
        "elbo_validation": float(history["elbo_validation"].iloc[-1]),
    }


def run(source: Path, **given: object) -> dict:
    """Run a child that imports omicvae from ``source``."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [sys.executable, "-W", "ignore", __file__, "--child", json.dumps(given)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: dict = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    arguments = parser(__doc__, "two_revisions")
    arguments.add_argument("--before", type=Path, help="src folder of the other tree.")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--likelihoods", nargs="+", default=list(LIKELIHOODS))
    arguments.add_argument("--densities", type=float, nargs="+", default=[0.05, 0.17])
    arguments.add_argument("--step", choices=("explicit", "autograd"), default="explicit")
    options = arguments.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    sources = {"before": options.before.resolve(), "after": Path(__file__).parents[1] / "src"}
    runs, summary = [], []
    for likelihood in options.likelihoods:
        for density in options.densities:
            given = {"likelihood": likelihood, "density": density, "step": options.step}
            own = []
            for repeat in range(options.repeats):
                for side in sorted(sources, reverse=bool(repeat % 2)):
                    own.append({**given, "repeat": repeat, "side": side, **run(sources[side], **given)})
            runs += own
            row: dict = dict(given)
            for figure in ("training", "latents", "elbo_validation"):
                values = {side: median(r[figure] for r in own if r["side"] == side) for side in sources}
                row |= {f"{figure}_{side}": value for side, value in values.items()}
                row[f"{figure}_ratio"] = values["after"] / values["before"]
            summary.append(row)
            print(json.dumps(row), flush=True)
            write(options.name, runs, summary=summary)


if __name__ == "__main__":
    main()
