"""Put fits side by side, whoever trained them: bounds with paired errors, rates, probes and verdicts."""

import argparse
from pathlib import Path
from typing import Any

from omicvae.cli.files import add_data_options, read_data
from omicvae.cli.shared import add, write_json

PICTURES = (".png", ".svg", ".pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.usage = (
        "omicvae compare RUN RUN ... [--data DATA] [--labels-key COLUMN] [--figure FILE] [--json FILE]\n"
        "a RUN is PATH or NAME=PATH"
    )
    run = "evidence file, as ov.write_evidence writes it; or folder of a saved model, with its cells in --data"
    parser.add_argument("runs", nargs="+", metavar="RUN", help=run)
    parser.add_argument("--data", type=Path, metavar="DATA", help="the cells that saved models were trained on")
    add_data_options(parser)
    add(parser, "--labels-key", help="of saved models: column of known classes, to probe")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the differences there: .png, .svg or .pdf")
    add(parser, "--json", help="write the table there as well")


def run(options: argparse.Namespace) -> None:
    """Read, compare, print."""
    import omicvae as ov
    from omicvae._core.errors import SettingError
    from omicvae._core.files import write_file

    figure = options.figure
    if figure is not None and figure.suffix not in PICTURES:
        raise SettingError(f"--figure takes a file that ends in {', '.join(PICTURES)}, got {str(figure)!r}.")
    runs: dict[str, Any] = {}
    for given in options.runs:
        name, path = _named(given, options.runs)
        if name in runs:
            raise SettingError(f"Two runs are called {name!r}; give one another name: NAME={path}.")
        runs[name] = _source(path, options)
    comparison = ov.compare(runs, options.labels_key)
    print(comparison)
    write_json(comparison.to_dict(), options.json)
    if figure is not None:
        drawn = ov.pl.compare(comparison).figure
        write_file(figure, lambda part: drawn.savefig(part, format=figure.suffix[1:]))
        print(f"Written: {figure}")


def _named(given: str, others: list[str]) -> tuple[str, Path]:
    """Split NAME=PATH; else the file's name without its ending, or the whole path where another file has that name."""
    if _has_name(given):
        name, _, path = given.partition("=")
        return name, Path(path)
    alike = [other for other in others if not _has_name(other) and Path(other).stem == Path(given).stem]
    return (given if len(alike) > 1 else Path(given).stem), Path(given)


def _has_name(given: str) -> bool:
    return "=" in given and not Path(given).exists()


def _source(path: Path, options: argparse.Namespace) -> Any:
    """Return the path of an evidence file, or a saved model with its cells."""
    import omicvae as ov
    from omicvae._core.errors import DataError

    if not path.is_dir():
        return path
    if options.data is None:
        raise DataError(f"{path} is a folder: name the file of the model's cells as --data DATA.")
    return ov.CVAE.load(str(path), adata=read_data(options))
