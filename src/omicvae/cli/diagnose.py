"""Tell whether the latent space of a saved model or in a file of evidence is alive, or what a log proves."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from omicvae.cli.files import add_data_options, data_words, read_data
from omicvae.cli.remedies import print_diagnosis
from omicvae.cli.shared import EVIDENCE, add, status, write_json

if TYPE_CHECKING:
    from omicvae import Diagnosis, HistoryDiagnosis


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.usage = (
        "omicvae diagnose MODEL DATA [--labels-key COLUMN] | EVIDENCE | LOG [--kl-weight WEIGHT]  [--json FILE]"
    )
    source = (
        "folder of a saved model; evidence file (.safetensors) of anybody's; or loss curves alone: CSV, JSON, "
        "TensorBoard events, log text"
    )
    parser.add_argument("source", type=Path, metavar="MODEL | EVIDENCE | LOG", help=source)
    add(parser, "data", nargs="?", help="with MODEL: the cells or samples that it was trained on")
    add_data_options(parser)
    add(parser, "--labels-key", help="with MODEL: column of known classes, to probe")
    parser.add_argument("--kl-weight", type=float, metavar="WEIGHT", help="with LOG: β, if the log has none")
    add(parser, "--json", help="write verdict, evidence and remedies there as well")
    add(parser, "--fail-on")


def run(options: argparse.Namespace) -> int:
    """Load, diagnose, print."""
    import omicvae as ov
    from omicvae._core.errors import DataError, SettingError

    diagnosis: Diagnosis | HistoryDiagnosis
    if options.data is None:
        if options.labels_key is not None:
            raise SettingError(
                "--labels-key is for MODEL DATA; evidence has its own, and curves alone have no cells to label."
            )
        if (options.source / "model.json").exists():
            raise DataError(f"{options.source} is a saved model: name the file of its cells as well.")
    if options.kl_weight is not None and (options.data is not None or options.source.suffix == EVIDENCE):
        raise SettingError("--kl-weight is for a LOG; a saved model and evidence know the weight of their KL.")
    if options.data is None and options.source.suffix == EVIDENCE:
        diagnosis = ov.diagnose(options.source)
        print(diagnosis)  # remedies as whoever trained it types them
    elif options.data is None:
        diagnosis = ov.diagnose_history(options.source, kl_weight=options.kl_weight)
        print_diagnosis(diagnosis)
    else:
        model = ov.CVAE.load(str(options.source), adata=read_data(options))
        diagnosis = model.diagnose(labels_key=options.labels_key)
        print_diagnosis(diagnosis, model, data=data_words(options), folder=options.source)
    write_json(diagnosis.to_dict(), options.json)
    return status(diagnosis, options.fail_on)
