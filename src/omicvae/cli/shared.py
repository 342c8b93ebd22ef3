"""What the verbs share: options, the names of the likelihoods, and the files that they take and leave."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omicvae.diagnostics import BaseDiagnosis

OUT = "where the data go with their latents (.h5ad, .zarr), or the latents alone (.csv, .tsv, .parquet)"
FAIL_ON = "exit with status 3 for these verdicts, such as collapsed,undertrained; unsound for all that is to be mended"
#: suffix of evidence files
EVIDENCE = ".safetensors"
#: exit status of a verdict that was not to be
UNWANTED = 3


def verdicts(text: str) -> tuple[str, ...]:
    """Split names of verdicts; what is none is refused."""
    names = tuple(text.split(","))
    rules = (Path(__file__).parents[1] / "diagnostics" / "verdict.py").read_text()
    known = [*re.findall(r'Rule\(\s*"(\w+)"', rules), "unsound"]
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no verdict; there are {', '.join(known)}.")
    return names


def status(diagnosis: "BaseDiagnosis", unwanted: tuple[str, ...]) -> int:
    """Exit status of a verdict, 3 with a line on standard error where it was not to be."""
    found = {diagnosis.verdict} | (set() if diagnosis.sound else {"unsound"})
    if found.isdisjoint(unwanted):
        return 0
    print(
        f"omicvae: the verdict is {diagnosis.verdict}, which --fail-on {','.join(unwanted)} refuses.", file=sys.stderr
    )
    return UNWANTED


OPTIONS: dict[str, dict[str, Any]] = {
    "model": {"type": Path, "metavar": "MODEL", "help": "folder of a saved model"},
    "data": {"type": Path, "metavar": "DATA", "help": "cells or samples; genes are matched by name"},
    "--out": {"type": Path, "required": True, "metavar": "FILE", "help": OUT},
    "--fail-on": {"type": verdicts, "default": (), "metavar": "VERDICTS", "help": FAIL_ON},
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


def write_json(values: dict[str, Any], path: Path | None) -> None:
    """Write what was found and say so; None writes nothing."""
    from omicvae._core.files import write_text

    if path is not None:
        write_text(json.dumps(values, indent=2), path)
        print(f"Written: {path}")
