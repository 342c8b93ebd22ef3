"""Tell whether the latent space of a saved model is alive on an h5ad file."""

import argparse
import json
from pathlib import Path

HELP = "tell whether the latent space of a saved model is alive"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of a saved model")
    parser.add_argument("data", type=Path, metavar="H5AD", help="the cells or samples that it was trained on")
    parser.add_argument("--labels-key", metavar="COLUMN", help="obs column with known classes, for the probes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write verdict, evidence and remedies there as well")


def run(options: argparse.Namespace) -> None:
    """Load, diagnose, print."""
    import omicvae as ov
    from omicvae.cli._files import read_h5ad, write_text

    adata = read_h5ad(options.data)
    model = ov.CVAE.load(str(options.model), adata=adata)
    diagnosis = model.diagnose(labels_key=options.labels_key)
    print(diagnosis)
    if options.json is not None:
        write_text(json.dumps(diagnosis.to_dict(), indent=2), options.json)
        print(f"Written: {options.json}")
