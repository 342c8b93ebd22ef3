"""Checkpoints from which a run can be resumed: one safetensors file each, with the numbers as JSON in its header."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from omicvae._core import SavingError
from omicvae._core.files import write_atomically

PATTERN = "epoch-*.safetensors"
KEPT = 2  # the newest and, should the disk damage it, the one before
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State of a run after an epoch.

    Attributes
    ----------
    tensors
        Weights, moments and whatever else has many numbers, by name.
    state
        Everything else, JSON-able.
    """

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with ``prefix`` and a dot, without it."""
        start = f"{prefix}."
        return {name[len(start) :]: value for name, value in self.tensors.items() if name.startswith(start)}


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put ``prefix`` and a dot before all names."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def write_checkpoint(folder: Path, epoch: int, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically, then remove all but the newest two.

    Raises
    ------
    OSError
        If the disk cannot take it; the checkpoints before it are intact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # views of one block of memory would be written as one
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in checkpoint.tensors.items()}
    content = save(tensors, metadata={"omicvae": json.dumps({"format": FORMAT, **checkpoint.state})})
    write_atomically(folder / f"epoch-{epoch:06d}.safetensors", lambda path: path.write_bytes(content))
    for old in sorted(folder.glob(PATTERN))[:-KEPT]:
        old.unlink(missing_ok=True)


def has_checkpoint(folder: Path) -> bool:
    """Whether there is any checkpoint in ``folder``."""
    return any(folder.glob(PATTERN))


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read the newest checkpoint; one that the disk has damaged is passed over for the one before.

    Raises
    ------
    SavingError
        If there is none that can be read.
    """
    paths = sorted(folder.glob(PATTERN), reverse=True)
    if not paths:
        raise SavingError(f"{folder} holds no checkpoint to resume from ({PATTERN}).")
    damaged = []
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                state = json.loads((file.metadata() or {})["omicvae"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            damaged.append(f"{path.name}: {error!r}")
            continue
        if state.pop("format") > FORMAT:
            raise SavingError(f"{path} was written by a newer omicvae. Update omicvae to resume from it.")
        return Checkpoint(tensors, state)
    raise SavingError(f"Every checkpoint in {folder} is damaged ({'; '.join(damaged)}). Start the run again.")


def to_json(value: Any) -> Any:
    """Turn a callback's state into JSON, tensors marked."""
    if isinstance(value, Tensor):
        return {"tensor": value.tolist(), "dtype": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, Mapping):
        return {"items": [[str(key), to_json(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def from_json(value: Any) -> Any:
    """Inverse of :func:`to_json`."""
    if isinstance(value, dict) and "tensor" in value:
        return torch.tensor(value["tensor"], dtype=getattr(torch, value["dtype"]))
    if isinstance(value, dict):
        return {key: from_json(item) for key, item in value["items"]}
    return [from_json(item) for item in value] if isinstance(value, list) else value
