"""List the data sets that need no download, or write one as an h5ad file."""

import argparse
from pathlib import Path

from omicvae.cli.shared import add

DESCRIPTIONS = {
    "pbmc68k_counts": "real counts of 700 blood cells × 765 genes, ten labelled cell types",
    "simulate_bulk": "bulk cohort, 5000 samples × 2000 genes: tissue, disease, batch, age; known truth",
    "simulate_counts": "single-cell counts, 500 cells × 200 genes: cell type, batch; known truth",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("name", nargs="?", choices=sorted(DESCRIPTIONS), help="data set to write; without it, list")
    add(parser, "--out", required=False, metavar="FILE", help="where to write it (default: NAME.h5ad)")
    add(parser, "--seed", help="seed of a simulation (default: 0)")


def run(options: argparse.Namespace) -> None:
    """List, or write the data set."""
    if options.name is None:
        width = max(map(len, DESCRIPTIONS))
        for name, description in DESCRIPTIONS.items():
            print(f"{name:<{width}}  {description}")
        return
    import omicvae as ov
    from omicvae._core.files import write_file

    make = getattr(ov.datasets, options.name)
    adata = make(seed=options.seed) if options.name.startswith("simulate_") else make()
    path = options.out or Path(f"{options.name}.h5ad")
    write_file(path, adata.write_h5ad)
    print(f"{path}: {adata.n_obs} × {adata.n_vars}, obs columns {', '.join(adata.obs.columns)}")
