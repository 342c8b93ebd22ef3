"""Write the diagnosis of a saved model, with figures, as one HTML file to send."""

import argparse
from pathlib import Path

from omicvae.cli.files import add_data_options, read_data
from omicvae.cli.shared import add, status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    add(parser, "model")
    add(parser, "data", help="the cells or samples that it was trained on")
    add(parser, "--out", required=False, default=Path("report.html"), metavar="HTML", help="default: report.html")
    add_data_options(parser)
    add(parser, "--labels-key", help="column of known classes, to probe and to colour by")
    add(parser, "--seed", default=None, help="of draws, folds and maps (default: the model's)")
    add(parser, "--fail-on")
    parser.add_argument("--no-umap", action="store_true", help="leave out the maps of the cells, which take longest")


def run(options: argparse.Namespace) -> int:
    """Load, diagnose, write."""
    import omicvae as ov

    model = ov.CVAE.load(str(options.model), adata=read_data(options))
    umap = not options.no_umap
    diagnosis = model.diagnose(options.labels_key, seed=options.seed, umap=umap)
    path = model.report(options.out, diagnosis=diagnosis, labels_key=options.labels_key, seed=options.seed, umap=umap)
    print(f"Verdict: {diagnosis.verdict}\n{diagnosis.headline}\nReport: {path}")
    return status(diagnosis, options.fail_on)
