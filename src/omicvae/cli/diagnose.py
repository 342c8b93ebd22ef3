"""Tell whether the latent space of a saved model is alive on a file, or what the log of any program proves."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omicvae.cli.files import add_data_options, data_words, read_data
from omicvae.cli.remedies import print_diagnosis
from omicvae.cli.shared import add, status, write_json

if TYPE_CHECKING:
    from omicvae import Diagnosis, HistoryDiagnosis


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.usage = "omicvae diagnose MODEL DATA [--labels-key COLUMN] | LOG [--kl-weight WEIGHT]  [--json FILE]"
    source = "folder of a saved model; or loss curves alone: CSV, JSON, TensorBoard events, log text"
    parser.add_argument("source", type=Path, metavar="MODEL | LOG", help=source)
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
    known: dict[str, Any] = {}
    if options.data is None:
        if options.labels_key is not None:
            raise SettingError("--labels-key is for MODEL DATA; curves alone have no cells to label.")
        if (options.source / "model.json").exists():
            raise DataError(f"{options.source} is a saved model: name the file of its cells as well.")
        diagnosis = ov.diagnose_history(options.source, kl_weight=options.kl_weight)
    else:
        if options.kl_weight is not None:
            raise SettingError("--kl-weight is for a LOG; a saved model knows the weight of its KL.")
        model = ov.CVAE.load(str(options.source), adata=read_data(options))
        diagnosis = model.diagnose(labels_key=options.labels_key)
        known = {"model": model, "data": data_words(options), "folder": options.source}
    print_diagnosis(diagnosis, **known)
    write_json(diagnosis.to_dict(), options.json)
    return status(diagnosis, options.fail_on)
