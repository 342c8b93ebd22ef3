"""Speed of training and of latents over one size at a time: cells, genes, latent, hidden, density, batch size.

Measured as in `throughput.py` (same child), around its base case: 20,000 cells × 2000 genes, 5 % not zero, nb, hidden
128, latent 10, batch size 128. The base case is run once and stands in every series.
"""

from _common import compare, parser, write
from throughput import SETTINGS, defaults, duel

from omicvae.cli.bench import summarise

SERIES = {
    "n_cells": (2000, 20_000, 100_000),
    "n_genes": (500, 2000, 10_000),
    "n_latent": (10, 50),
    "n_hidden": (64, 128, 512),
    "density": (0.02, 0.05, 0.17, 0.5),
    "batch_size": (64, 128, 512),
}
QUICK = {"n_latent": (10, 50), "batch_size": (64, 128)}


def main() -> None:
    arguments = parser(__doc__, "scaling")
    arguments.add_argument("--series", nargs="+", choices=SERIES, help="default: all")
    arguments.add_argument("--repeats", type=int, default=2)
    arguments.add_argument("--precision", default="auto", help="of omicvae")
    options = arguments.parse_args()
    base = defaults(options.quick, options.accelerator, options.precision)
    series = QUICK if options.quick else SERIES
    cases = [base]
    for name in options.series or series:
        cases += [{**base, name: value} for value in series[name] if value != base[name]]
    runs = []
    for case in cases:
        runs += duel(case, 1 if options.quick else options.repeats)
        write(options.name, runs, accelerator=options.accelerator, summary=compare(runs, SETTINGS, summarise))


if __name__ == "__main__":
    main()
