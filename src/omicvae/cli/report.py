"""Write the diagnosis of a saved model or of evidence, with figures, as one HTML file to send."""

import argparse
from pathlib import Path

from omicvae.cli.files import add_data_options, read_data
from omicvae.cli.shared import add, status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    add(parser, "model", metavar="MODEL | EVIDENCE", help="folder of a saved model; or evidence file (.safetensors)")
    add(parser, "data", nargs="?", help="with MODEL: the cells or samples that it was trained on")
    add(parser, "--out", required=False, default=Path("report.html"), metavar="HTML", help="default: report.html")
    add_data_options(parser)
    add(parser, "--labels-key", help="column of known classes, to probe and to colour by")
    add(parser, "--seed", default=None, help="of draws, folds and maps (default: the model's)")
    add(parser, "--fail-on")
    parser.add_argument("--no-umap", action="store_true", help="leave out the maps of the cells, which take longest")


def run(options: argparse.Namespace) -> int:
    """Load, diagnose, write."""
    import omicvae as ov
    from omicvae._core.errors import DataError

    umap, asked = not options.no_umap, {"labels_key": options.labels_key, "seed": options.seed}
    source: Path | ov.CVAE = options.model
    if options.data is not None:
        source = ov.CVAE.load(str(options.model), adata=read_data(options))
    elif options.model.is_dir():
        raise DataError(f"{options.model} is a folder: name the file of the model's cells as well.")
    diagnosis = ov.diagnose(source, **asked, umap=umap)
    if isinstance(source, ov.CVAE):
        path = source.report(options.out, diagnosis=diagnosis, **asked, umap=umap)
    else:
        path = ov.write_report(diagnosis, options.out, umap=umap)
    print(f"Verdict: {diagnosis.verdict}\n{diagnosis.headline}\nReport: {path}")
    return status(diagnosis, options.fail_on)
