"""Command line: each verb is a thin layer over the Python API.

Nothing heavy is imported before a verb runs, so ``omicvae --help`` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence

import omicvae
from omicvae.cli import bench, compare, datasets, demo, diagnose, embed, report, train

VERBS = {
    "demo": demo,
    "train": train,
    "embed": embed,
    "diagnose": diagnose,
    "report": report,
    "compare": compare,
    "datasets": datasets,
    "bench": bench,
}

# the conventional exit statuses of a misuse, of Ctrl-C and of output that nobody reads
MISUSE, INTERRUPTED, BROKEN_PIPE = 2, 130, 141


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; each sets ``run``, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(
        prog="omicvae",
        description="Conditional VAEs for single-cell and bulk omics and a verdict on each fit.",
        epilog="omicvae VERB --help describes a verb. Start with: omicvae demo",
    )
    parser.add_argument("--version", action="version", version=f"omicvae {omicvae.__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, verb in VERBS.items():
        says = (verb.__doc__ or "").partition("\n")[0]
        sub = verbs.add_parser(name, help=f"{says[0].lower()}{says[1:-1]}", description=says)
        verb.add_arguments(sub)
        sub.set_defaults(run=verb.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 is success; 2 an error that omicvae explains on standard error in one message (argparse exits with 2 by
    itself where the command cannot be read); 3 a verdict that ``--fail-on`` refuses; 130 an interrupt by Ctrl-C; 141
    where the reader of its output has gone, as ``head`` does.
    """
    try:
        try:
            return run(arguments)
        finally:
            sys.stdout.flush()  # here, where it can be caught
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at Python's exit
        return BROKEN_PIPE


def run(arguments: Sequence[str] | None) -> int:
    """Parse, run the verb and explain what goes wrong; return the exit status."""
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        print("omicvae: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        # imported late, because the package of the error classes imports torch
        from omicvae._core.errors import OmicVAEError

        if not isinstance(error, OmicVAEError):
            raise
        print(f"omicvae: error: {error}", file=sys.stderr)
        return MISUSE
