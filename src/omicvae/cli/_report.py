"""Write the diagnosis of a saved model, with figures, as one HTML file to send."""

import argparse
from pathlib import Path

HELP = "write the diagnosis of a saved model, with figures, as one HTML file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of a saved model")
    parser.add_argument("data", type=Path, metavar="H5AD", help="the cells or samples that it was trained on")
    parser.add_argument("--out", type=Path, default=Path("report.html"), metavar="HTML", help="default: report.html")
    parser.add_argument("--labels-key", metavar="COLUMN", help="column of known classes, to probe and to colour by")
    parser.add_argument("--seed", type=int, help="of draws, folds and maps (default: the model's)")
    parser.add_argument("--no-umap", action="store_true", help="leave out the maps of the cells, which take longest")


def run(options: argparse.Namespace) -> None:
    """Load, diagnose, write."""
    import omicvae as ov
    from omicvae.cli._files import read_h5ad

    model = ov.CVAE.load(str(options.model), adata=read_h5ad(options.data))
    umap = not options.no_umap
    diagnosis = model.diagnose(options.labels_key, seed=options.seed, umap=umap)
    path = model.report(options.out, diagnosis=diagnosis, labels_key=options.labels_key, seed=options.seed, umap=umap)
    print(f"Verdict: {diagnosis.verdict}\n{diagnosis.headline}\nReport: {path}")
