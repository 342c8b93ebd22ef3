"""Write the latents of an h5ad file under a saved model."""

import argparse

from omicvae.cli.shared import add, read_h5ad


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    for name in ("model", "data", "--out"):
        add(parser, name)
    unseen = "known level that stands in for unseen ones (default: error)"
    parser.add_argument("--unseen", default="error", metavar="LEVEL", help=unseen)
    missing = "zero fills a limited share of missing genes"
    parser.add_argument("--missing-genes", default="error", choices=("error", "zero"), help=missing)
    parser.add_argument("--key", help="name in obsm (default: X_omicvae)")


def run(options: argparse.Namespace) -> None:
    """Load, encode, write."""
    import omicvae as ov
    from omicvae._core import keys
    from omicvae._core.files import write_file

    adata = read_h5ad(options.data)
    key = options.key or keys.LATENT
    ov.CVAE.load(options.model).write_latent(key, adata, unseen=options.unseen, missing_genes=options.missing_genes)
    write_file(options.out, adata.write_h5ad)
    print(f"{options.out}: obsm[{key!r}], {adata.n_obs} × {adata.obsm[key].shape[1]}")
