"""What the verbs share: options, the names of the likelihoods, and the files that they take and leave."""

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anndata import AnnData

OPTIONS: dict[str, dict[str, Any]] = {
    "model": {"type": Path, "metavar": "MODEL", "help": "folder of a saved model"},
    "data": {"type": Path, "metavar": "H5AD", "help": "cells or samples; genes are matched by name"},
    "--out": {"type": Path, "required": True, "metavar": "H5AD", "help": "where the data go with their latents"},
    "--labels-key": {"metavar": "COLUMN", "help": "column of known classes: for the diagnosis, never for the network"},
    "--likelihood": {"default": "nb", "metavar": "NAME"},
    "--seed": {"type": int, "default": 0, "help": "default: 0"},
    "--json": {"type": Path, "metavar": "FILE", "help": "write all that was found there as well"},
}


def add(parser: "argparse._ActionsContainer", name: str, **changes: Any) -> None:
    """Declare an option of the table, with what the verb has of its own."""
    parser.add_argument(name, **{**OPTIONS[name], **changes})


def likelihood_names() -> str:
    """List the table of likelihoods from its files: importing them loads torch, and help is to answer at once."""
    files = (Path(__file__).parents[1] / "likelihoods").glob("*.py")
    names = re.findall(r'^    name: ClassVar\[str\] = "(\w+)"', "\n".join(map(Path.read_text, files)), re.MULTILINE)
    return ", ".join(sorted(names))


def read_h5ad(path: Path) -> "AnnData":
    """Read an h5ad file; a DataError names one that does not exist or cannot be read."""
    import anndata

    from omicvae._core.errors import DataError

    if not path.is_file():
        raise DataError(f"There is no file {str(path)!r}.")
    try:
        return anndata.read_h5ad(path)
    # what a damaged file raises depends on where the damage is
    except Exception as error:
        raise DataError(f"{str(path)!r} cannot be read as an h5ad file: {error}") from error


def write_json(values: dict[str, Any], path: Path | None) -> None:
    """Write what was found and say so; None writes nothing."""
    from omicvae._core.files import write_text

    if path is not None:
        write_text(json.dumps(values, indent=2), path)
        print(f"Written: {path}")
