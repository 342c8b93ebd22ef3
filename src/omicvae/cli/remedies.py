"""A diagnosis on the command line: its remedies as commands."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omicvae import CVAE
    from omicvae.diagnostics import BaseDiagnosis, Remedy

WIDTH = 106


def print_diagnosis(
    diagnosis: "BaseDiagnosis",
    model: "CVAE | None" = None,
    *,
    data: Sequence[str] = ("DATA",),
    out: Any = "OUT",
    folder: Any = "MODEL",
) -> None:
    """Print a diagnosis whose remedies are to be typed in a shell; names in capitals are for the reader to fill in.

    Parameters
    ----------
    model, data, out, folder
        The model, where there is one, the words that name its cells, where they go with their latents, and where the
        model is.
    """
    own, keys, numbers = {}, {}, count(1)
    if model is not None:
        from omicvae.model.own_settings import own_settings

        own, keys = dict(own_settings(model.state).model), model.schema.keys.to_dict()

    def lines(remedy: "Remedy") -> list[str]:
        words = ["omicvae", "train", *data, "--out", str(out), "--model"]
        if remedy.goes_on:
            return _wrapped([*words, str(folder), "--go-on", *_settings(remedy, {})])
        named = (_option(f"--{name.replace('_', '-')}", value) for name, value in keys.items() if value)
        # no remedy's model takes the folder of another's
        target = folder if model is None else f"{folder}_remedy_{next(numbers)}"
        words += [target, *(word for option in named for word in option)]
        return _wrapped([*map(str, words), *_settings(remedy, remedy.model or own)])

    print(diagnosis.text(lines))


def _settings(remedy: "Remedy", network: Mapping[str, Any]) -> Iterator[str]:
    """Options of ``omicvae train`` for all that a remedy sets: a model and its run may each have a seed."""
    arguments = {name: value for name, value in remedy.arguments.items() if name != "fresh"}
    for option, settings in {"--network": network, "--training": arguments, "--objective": remedy.settings}.items():
        yield from (option, *(f"{name}={_plain(value)}" for name, value in settings.items())) if settings else ()


def _option(name: str, value: Any) -> list[str]:
    return [name] if value is True else [name, *([value] if isinstance(value, str) else value)]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _wrapped(words: list[str]) -> list[str]:
    """Lines of a command, broken between words, with the backslash that a shell needs there."""
    from omicvae.diagnostics.base_diagnosis import filled

    lines = filled((f"{shlex.quote(word)} " for word in words), WIDTH - 2)
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]
