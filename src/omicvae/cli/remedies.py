"""A diagnosis on the command line: its remedies as commands."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omicvae import CVAE
    from omicvae.diagnostics import BaseDiagnosis, Remedy

#: settings that have an option of their own; the others follow --objective, --training and --network
OPTIONS = {
    **{"likelihood": "--likelihood", "n_latent": "--n-latent", "seed": "--seed"},
    **{"max_epochs": "--max-epochs", "resume_from": "--resume-from"},
}
WIDTH, INDENT = 106, 4


def print_diagnosis(
    diagnosis: "BaseDiagnosis",
    model: "CVAE | None" = None,
    *,
    data: Any = "DATA",
    out: Any = "OUT",
    folder: Any = "MODEL",
) -> None:
    """Print a diagnosis whose remedies are to be typed in a shell; names in capitals are for the reader to fill in.

    Parameters
    ----------
    model, data, out, folder
        The model, where there is one, its cells, where they go with their latents, and where the model is.
    """
    own, keys = {}, {}
    if model is not None:
        from omicvae.model.own_settings import own_settings

        own, keys = dict(own_settings(model.state).model), model.schema.keys.to_dict()

    def lines(remedy: "Remedy") -> list[str]:
        words = ["omicvae", "train", str(data), "--out", str(out), "--model"]
        if remedy.goes_on:
            return _wrapped([*words, str(folder), "--go-on", *_settings(remedy, {})])
        named = (_option(f"--{name.replace('_', '-')}", value) for name, value in keys.items() if value)
        words += [folder if model is None else f"{folder}_remedy", *(word for option in named for word in option)]
        return _wrapped([*map(str, words), *_settings(remedy, remedy.model or own)])

    print(diagnosis.text(lines))


def _settings(remedy: "Remedy", network: Mapping[str, Any]) -> Iterator[str]:
    """Options of ``omicvae train`` for all that a remedy sets."""
    arguments = {name: value for name, value in remedy.arguments.items() if name != "fresh"}
    further: dict[str, list[str]] = {"--network": [], "--training": [], "--objective": []}
    for group, settings in zip(further, (network, arguments, remedy.settings), strict=True):
        for name, value in settings.items():
            if name in OPTIONS and group != "--objective":
                yield from (OPTIONS[name], _plain(value))
            else:
                further[group].append(f"{name}={_plain(value)}")
    for group, values in further.items():
        yield from (group, *values) if values else ()


def _option(name: str, value: Any) -> list[str]:
    return [name, *([value] if isinstance(value, str) else value)]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _wrapped(words: list[str]) -> list[str]:
    """Lines of a command, broken between words, with the backslash that a shell needs there."""
    lines = [""]
    for word in map(shlex.quote, words):
        if lines[-1] and len(lines[-1]) + len(word) > WIDTH - 2:
            lines.append(" " * INDENT)
        lines[-1] += word if not lines[-1].strip() else f" {word}"
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]
