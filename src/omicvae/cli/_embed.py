"""Write the latents of an h5ad file under a saved model."""

import argparse
from pathlib import Path

HELP = "write the latents of an h5ad file under a saved model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of a saved model")
    parser.add_argument("data", type=Path, metavar="H5AD", help="cells or samples; genes are matched by name")
    parser.add_argument("--out", type=Path, required=True, metavar="H5AD", help="where the data go with their latents")
    parser.add_argument(
        "--unseen", default="error", metavar="LEVEL", help="known level that stands in for unseen ones (default: error)"
    )
    parser.add_argument(
        "--missing-genes",
        default="error",
        choices=("error", "zero"),
        help="zero fills a limited share of missing genes",
    )
    parser.add_argument("--key", help="name in obsm (default: X_omicvae)")


def run(options: argparse.Namespace) -> None:
    """Load, encode, write."""
    import omicvae as ov
    from omicvae._core import keys
    from omicvae.cli._files import read_h5ad, write_h5ad

    adata = read_h5ad(options.data)
    key = options.key or keys.LATENT
    ov.CVAE.load(options.model).write_latent(key, adata, unseen=options.unseen, missing_genes=options.missing_genes)
    write_h5ad(adata, options.out)
    print(f"{options.out}: obsm[{key!r}], {adata.n_obs} × {adata.obsm[key].shape[1]}")
