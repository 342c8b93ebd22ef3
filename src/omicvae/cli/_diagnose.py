"""Tell whether the latent space of a saved model is alive on an h5ad file, or what the log of any program proves."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omicvae import Diagnosis, HistoryDiagnosis

HELP = "tell whether the latent space of a saved model is alive, or what a log of any program proves"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.usage = "omicvae diagnose MODEL H5AD [--labels-key COLUMN] | LOG [--kl-weight WEIGHT]  [--json FILE]"
    parser.add_argument(
        "source",
        type=Path,
        metavar="MODEL | LOG",
        help="folder of a saved model; or loss curves alone: CSV, JSON, TensorBoard events, log text",
    )
    parser.add_argument(
        "data", type=Path, nargs="?", metavar="H5AD", help="with MODEL: the cells or samples that it was trained on"
    )
    parser.add_argument("--labels-key", metavar="COLUMN", help="with MODEL: column of known classes, to probe")
    parser.add_argument("--kl-weight", type=float, metavar="WEIGHT", help="with LOG: β, if the log has none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write verdict, evidence and remedies there as well")


def run(options: argparse.Namespace) -> None:
    """Load, diagnose, print."""
    from omicvae._core.files import write_text

    diagnosis = _of_log(options) if options.data is None else _of_model(options)
    print(diagnosis)
    if options.json is not None:
        write_text(json.dumps(diagnosis.to_dict(), indent=2), options.json)
        print(f"Written: {options.json}")


def _of_model(options: argparse.Namespace) -> "Diagnosis":
    import omicvae as ov
    from omicvae._core.errors import SettingError
    from omicvae.cli._files import read_h5ad

    if options.kl_weight is not None:
        raise SettingError("--kl-weight is for a LOG; a saved model knows the weight of its KL.")
    adata = read_h5ad(options.data)
    model = ov.CVAE.load(str(options.source), adata=adata)
    return model.diagnose(labels_key=options.labels_key)


def _of_log(options: argparse.Namespace) -> "HistoryDiagnosis":
    import omicvae as ov
    from omicvae._core.errors import DataError, SettingError

    if options.labels_key is not None:
        raise SettingError("--labels-key is for MODEL H5AD; curves alone have no cells to label.")
    if (options.source / "model.json").exists():
        raise DataError(f"{options.source} is a saved model: name the file of its cells as well.")
    return ov.diagnose_history(options.source, kl_weight=options.kl_weight)
