"""Memory: bytes per non-zero of omicvae's store, and the peak of a whole session on 200,000 cells, both sides.

Store: `nbytes` of the model's `CellStore` over its non-zeros, for counts, log-normalised and 0/1 values.

Peak: resident memory of a process that imports everything, reads a CSR matrix (200,000 cells × 2000 genes, 5 % not
zero, float32 with int32 indices, made by another process), sets up, constructs (nb), trains one epoch and embeds all
cells; highest value above the memory after the imports, so that the matrix itself counts. The peak of each stage is
taken by itself (Linux: `VmHWM`, set back through `/proc/self/clear_refs`; `reset: false` where that is not permitted,
and then a stage has the highest value so far). `after_first_use` is what a first training of 300 cells adds, such as
late imports. Goal: at most 1.5 × the matrix + 150 MB above the imports. On a GPU the peak of its memory is in the file.
"""

import json
import tempfile
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from _common import SIDES, parser, run_child, simulate, write

GOAL_FACTOR, GOAL_MB = 1.5, 150
MB = 1e6
PARTS = ("data", "indices", "indptr")


def status(field: str) -> float:
    """Return a field of this process's status in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / MB for line in lines if line.startswith(f"{field}:"))


def reset_peak() -> bool:
    """Set the highest resident memory back to the present; False where that is not permitted."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def make(path: str, n_cells: int, n_genes: int, density: float) -> dict:
    """Write the parts of a CSR matrix and the batches."""
    adata = simulate(n_cells, n_genes, density)
    for part in PARTS:
        np.save(Path(path) / part, getattr(adata.X, part))
    np.save(Path(path) / "batch", adata.obs["batch"].cat.codes.to_numpy())
    return {"nonzero": int(adata.X.nnz)}


def read(path: str, n_genes: int) -> ad.AnnData:
    """Read them without a copy."""
    arrays = [np.load(Path(path) / f"{part}.npy") for part in PARTS]
    counts_NG = sp.csr_matrix(tuple(arrays), shape=(len(arrays[2]) - 1, n_genes), copy=False)
    batch = pd.Categorical.from_codes(np.load(Path(path) / "batch.npy"), ["a", "b"])
    obs = pd.DataFrame({"batch": batch}, index=np.arange(len(batch)).astype(str))
    return ad.AnnData(counts_NG, obs=obs)


def measure_peak(side: str, path: str, n_genes: int, accelerator: str, n_cells: int) -> dict:
    """Run one side and return the memory of each stage in MB."""
    import scvi  # noqa: F401
    import torch

    import omicvae as ov
    from omicvae.model import speed

    _ = ov.CVAE
    run = speed.Run(epochs=1, accelerator=accelerator)
    imports = status("VmRSS")
    speed.measure(side, simulate(300, 50, 0.2), run)
    stages = {"after_first_use": status("VmRSS") - imports}
    reset = reset_peak()

    def stage(name: str, result):
        stages[name] = status("VmHWM") - imports
        reset_peak()
        return result

    adata = stage("read", read(path, n_genes))
    matrix = sum(getattr(adata.X, part).nbytes for part in PARTS) / MB
    model, arguments = stage("construct", speed.SIDES[side](adata, run))
    stage("train", model.train(max_epochs=1, train_size=0.9, accelerator=accelerator, **arguments))
    stage("latent", model.get_latent_representation())
    peak = max(stages.values())
    gpu = {"gpu_peak": torch.cuda.max_memory_allocated() / MB} if accelerator == "gpu" else {}
    return {
        "matrix": matrix,
        "imports": imports,
        "reset": reset,
        "stages": stages,
        "peak_above_imports": peak,
        "peak_above_first_use": peak - stages["after_first_use"],
        "goal": GOAL_FACTOR * matrix + GOAL_MB,
        "within_goal": peak <= GOAL_FACTOR * matrix + GOAL_MB,
        **gpu,
    }


def measure_store(likelihood: str, density: float, n_cells: int, n_genes: int) -> dict:
    """Bytes per non-zero of the store and of the CSR matrix it was built from."""
    from omicvae.data import CellStore, DataSchema, SetupKeys
    from omicvae.model.speed import COMPARISONS

    adata = simulate(n_cells, n_genes, density)
    adata.X = COMPARISONS[likelihood].values(adata.X)
    store = CellStore.build(adata, DataSchema.register(adata, SetupKeys(batch_key="batch")))
    given = sum(getattr(adata.X, part).nbytes for part in PARTS)
    return {"store_bytes": store.nbytes / len(store.values), "matrix_bytes": given / len(store.values)}


def summarise(runs: list[dict]) -> dict:
    """Peaks of both sides and their ratio; None where a run is missing or failed."""
    peaks = {side: None for side in SIDES}
    peaks |= {run["side"]: run.get("peak_above_imports") for run in runs if run["task"] == "peak"}
    return {**peaks, "ratio": peaks["scvi"] / peaks["omicvae"] if all(peaks.values()) else None}


TASKS = {"make": make, "peak": measure_peak, "store": measure_store}


def child(task: str, **arguments: object) -> dict:
    """Run one of ``TASKS``."""
    warnings.simplefilter("ignore")
    return TASKS[task](**arguments)


def main() -> None:
    arguments = parser(__doc__, "memory")
    arguments.add_argument("--cells", type=int, default=200_000)
    arguments.add_argument("--genes", type=int, default=2000)
    arguments.add_argument("--density", type=float, default=0.05)
    options = arguments.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    if options.quick:
        options.cells, options.genes = 2000, 200
    runs = []

    def run(**task: object) -> None:
        done = run_child(__file__, **task)
        runs.append({name: value for name, value in done.items() if name != "path"})
        print(json.dumps(runs[-1]), flush=True)
        write(options.name, runs, accelerator=options.accelerator, summary=summarise(runs))

    for likelihood, density in (("nb", 0.05), ("nb", 0.17), ("gaussian", 0.05), ("bernoulli", 0.05)):
        sizes = {"n_cells": min(options.cells, 20_000), "n_genes": options.genes}
        run(task="store", likelihood=likelihood, density=density, **sizes)
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"path": folder, "n_cells": options.cells, "n_genes": options.genes}
        run(task="make", **sizes, density=options.density)
        for side in SIDES:
            run(task="peak", side=side, **sizes, accelerator=options.accelerator)


if __name__ == "__main__":
    main()
