"""Time and memory of a diagnosis: 20,000 cells × 2000 genes at 5 and 17 % non-zero, with and without UMAP.

Each run is a process of its own: simulate, train (nb, a few epochs), diagnose. `first` is the first diagnosis of the
process without UMAP, `again` another one with another seed (what only the data decide is known by then), `umap` one
with UMAP whose compilation is done, `umap_first` one with its compilation. Memory: highest resident memory during
`first` and `umap` above that before it. Goals: 20 s, 1000 MB.
"""

import json
import logging
import time

from _common import parser, run_child, simulate, write
from memory import reset_peak, status

GOAL_SECONDS, GOAL_MB = 20.0, 1000.0


def measure(n_cells: int, n_genes: int, density: float, max_epochs: int) -> dict:
    """One process."""
    import omicvae as ov

    logging.getLogger("omicvae").setLevel(logging.ERROR)
    adata = simulate(n_cells, n_genes, density)
    ov.CVAE.setup_anndata(adata, batch_key="batch")
    model = ov.CVAE(adata)
    model.train(max_epochs, progress_bar=False)
    found: dict = {}
    for name, seed, umap in (("first", 0, False), ("again", 1, False), ("umap_first", 0, True), ("umap", 2, True)):
        reset, before = reset_peak(), status("VmRSS")
        started = time.perf_counter()
        diagnosis = model.diagnose(seed=seed, umap=umap)
        seconds = time.perf_counter() - started
        found[name] = {"seconds": round(seconds, 2), "mb": round(status("VmHWM") - before, 1), "reset": reset}
    return {**found, "verdict": diagnosis.verdict}


def main() -> None:
    made = parser(__doc__, "diagnosis")
    made.add_argument("--repeats", type=int, default=3)
    options = made.parse_args()
    if options.child:
        print(json.dumps(measure(**options.child)))
        return
    sizes = [(2000, 200)] if options.quick else [(20_000, 2000)]
    runs = [
        run_child(__file__, n_cells=n, n_genes=g, density=density, max_epochs=5)
        for n, g in sizes
        for density in (0.05, 0.17)
        for _ in range(1 if options.quick else options.repeats)
    ]
    path = write(options.name, runs, goals={"seconds": GOAL_SECONDS, "mb": GOAL_MB})
    print(path.read_text())


if __name__ == "__main__":
    main()
