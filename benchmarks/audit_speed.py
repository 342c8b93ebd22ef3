"""Time of an audit of a foreign fit: `SCVI` of scvi-tools on 20,000 cells × 2000 genes, 17 % non-zero, two threads.

Each run is a process of its own: simulate, train (few epochs: a fit's length does not change what an audit costs),
`ov.diagnose(model, umap=False)`, then once more with UMAP (its one-off compilation included). Seconds hold scvi-tools'
own inference; `cpu_seconds` are those of the process on all cores, beside `load`, that of the machine in the minute
before. Goal: 60 s without UMAP.
"""

import json
import logging
import os
import time
import warnings

from _common import parser, run_child, simulate, write

GOAL_SECONDS = 60.0


def measure(n_cells: int, n_genes: int, density: float, max_epochs: int) -> dict:
    """One process."""
    import scvi

    import omicvae as ov

    for name in ("omicvae", "lightning.pytorch", "scvi"):
        logging.getLogger(name).setLevel(logging.ERROR)
    adata = simulate(n_cells, n_genes, density)
    with warnings.catch_warnings(action="ignore"):
        scvi.model.SCVI.setup_anndata(adata, batch_key="batch")
        model = scvi.model.SCVI(adata, gene_likelihood="nb")
        started = time.perf_counter()
        model.train(max_epochs, train_size=0.9, accelerator="cpu", enable_progress_bar=False)
        found: dict = {"train_seconds_per_epoch": round((time.perf_counter() - started) / max_epochs, 2)}
        for name, umap in (("seconds", False), ("seconds_with_umap", True)):
            started, worked = time.perf_counter(), time.process_time()
            diagnosis = ov.diagnose(model, umap=umap)
            found[name] = round(time.perf_counter() - started, 2)
            found[f"cpu_{name}"] = round(time.process_time() - worked, 2)
    found["load"] = round(os.getloadavg()[0], 1)
    return {**found, "n_cells": n_cells, "n_genes": n_genes, "density": density, "verdict": diagnosis.verdict}


def main() -> None:
    made = parser(__doc__, "audit_speed")
    made.add_argument("--repeats", type=int, default=3)
    options = made.parse_args()
    if options.child:
        print(json.dumps(measure(**options.child)))
        return
    size = (2000, 200) if options.quick else (20_000, 2000)
    runs = [
        run_child(__file__, threads=2, n_cells=size[0], n_genes=size[1], density=0.17, max_epochs=2)
        for _ in range(1 if options.quick else options.repeats)
    ]
    path = write(options.name, runs, goals={"seconds": GOAL_SECONDS})
    print(path.read_text())


if __name__ == "__main__":
    main()
