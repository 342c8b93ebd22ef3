"""Cells per second of training and of latent inference, omicvae beside the scvi-tools model of the same likelihood.

Synthetic counts of eight cell types in two batches, 20,000 cells × 2000 genes, of which 5 % or 17 % are not zero. nb,
zinb and poisson meet SCVI with the same likelihood; gaussian meets SCVI's normal on log-normalised data; bernoulli
meets PEAKVI on 0/1 data (`not_shared` in the results says how those two differ). Same network (one hidden layer of 128,
10 latent dimensions, covariates in the decoder only), batch size 128, 90 % of the cells to train on.

Training: cells of an epoch over its seconds, from the start of the epoch to its end, without validation; median over
the epochs but the first. Latents: all cells over the median of calls two to six of `get_latent_representation()`
(posterior means, each side's own batch size). Every run has a process of its own, the sides alternate within each
repeat. Nothing before `train()` counts: not imports, data, set-up nor construction (which is in the file). omicvae
trains in the precision of `--precision`, SCVI in float32.
"""

import itertools
import json
from dataclasses import asdict

from _common import SIDES, compare, parser, run_child, simulate, write

from omicvae.cli.bench import METRICS, summarise
from omicvae.model.speed import COMPARISONS, Run, measure

SETTINGS = ("likelihood", "density", "n_cells", "n_genes", "n_hidden", "n_latent", "batch_size")


def child(side: str, repeat: int, n_cells: int, n_genes: int, density: float, **run: object) -> dict:
    """Run one side once; ``run`` holds the fields of ``Run``."""
    return measure(side, simulate(n_cells, n_genes, density), Run(**run, seed=repeat))


def duel(settings: dict, repeats: int) -> list[dict]:
    """Run both sides in turn and show what they reached."""
    runs = []
    for repeat, side in itertools.product(range(repeats), SIDES):
        run = run_child(__file__, side=side, repeat=repeat, **settings)
        runs.append(run)
        reached = run.get("error") or ", ".join(f"{run[metric]:,.0f} {text}" for metric, text in METRICS.items())
        print(*(f"{name}={settings[name]}" for name in SETTINGS), f"repeat {repeat} {side}: {reached}", flush=True)
    return runs


def defaults(quick: bool, accelerator: str, precision: str = "auto") -> dict:
    """Return the base case: 20,000 × 2000, 5 % not zero, nb."""
    run = asdict(Run(epochs=2 if quick else 4, accelerator=accelerator, precision=precision))
    del run["seed"]  # is the number of the repeat
    sizes = {"n_cells": 600, "n_genes": 200} if quick else {"n_cells": 20_000, "n_genes": 2000}
    return {**sizes, "density": 0.05, **run}


def main() -> None:
    arguments = parser(__doc__, "throughput")
    arguments.add_argument("--likelihoods", nargs="+", choices=COMPARISONS, default=list(COMPARISONS))
    arguments.add_argument("--densities", type=float, nargs="+", default=[0.05, 0.17])
    arguments.add_argument("--cells", type=int)
    arguments.add_argument("--genes", type=int)
    arguments.add_argument("--epochs", type=int)
    arguments.add_argument("--repeats", type=int)
    arguments.add_argument("--precision", default="auto", help="of omicvae")
    options = arguments.parse_args()
    if options.child:
        print(json.dumps(child(**options.child)))
        return
    base = defaults(options.quick, options.accelerator, options.precision)
    asked = {"n_cells": options.cells, "n_genes": options.genes, "epochs": options.epochs}
    base |= {name: value for name, value in asked.items() if value is not None}
    runs = []
    for density, likelihood in itertools.product(options.densities, options.likelihoods):
        settings = {**base, "density": density, "likelihood": likelihood}
        runs += duel(settings, options.repeats or (1 if options.quick else 3))
        rows = compare(runs, SETTINGS, summarise)
        print(json.dumps(rows[-1]), flush=True)
        differs = {name: comparison.differs for name, comparison in COMPARISONS.items() if comparison.differs}
        write(options.name, runs, accelerator=options.accelerator, summary=rows, not_shared=differs)


if __name__ == "__main__":
    main()
