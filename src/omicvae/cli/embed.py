"""Write the latents of a file under a saved model."""

import argparse

from omicvae.cli.files import add_data_options, check_writable, read_data, write_data
from omicvae.cli.shared import add


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    for name in ("model", "data", "--out"):
        add(parser, name)
    add_data_options(parser)
    unseen = "known level that stands in for unseen ones (default: error)"
    parser.add_argument("--unseen", default="error", metavar="LEVEL", help=unseen)
    missing = "zero fills a limited share of missing genes"
    parser.add_argument("--missing-genes", default="error", choices=("error", "zero"), help=missing)
    parser.add_argument("--key", help="name in obsm (default: X_omicvae)")


def run(options: argparse.Namespace) -> None:
    """Load, encode, write."""
    import omicvae as ov
    from omicvae._core import keys

    check_writable(options.out)
    adata = read_data(options)
    key = options.key or keys.LATENT
    ov.CVAE.load(options.model).write_latent(key, adata, unseen=options.unseen, missing_genes=options.missing_genes)
    print(write_data(adata, options.out, key))
