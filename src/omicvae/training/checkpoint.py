"""Checkpoints from which a run can be resumed: one safetensors file each, with the numbers as JSON in its header."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from omicvae._core import SavingError, plain
from omicvae._core.files import refused, write_atomically

log = logging.getLogger("omicvae")

PATTERN = "epoch-*.safetensors"
KEPT = 2  # the newest and, should the disk damage it, the one before
FORMAT = 1

#: state of a run after an epoch: mappings and lists of tensors and of what JSON knows
Checkpoint = dict[str, Any]


def write_checkpoint(folder: Path, epoch: int, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically, then remove all but the newest two.

    Raises
    ------
    OSError
        If the disk cannot take it; the checkpoints before it are intact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    state = _to_json(checkpoint, tensors, "")
    text = json.dumps({"format": FORMAT, "state": state})
    content = save(tensors, metadata={"omicvae": text, "sha256": _checksum(text, tensors)})
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
            form, state = _read(path)
        except Exception as error:  # what damage raises depends on where it is
            if refused(error):
                raise SavingError(f"{path} could not be read: {error}. It may be intact.") from error
            damaged.append(f"{path.name}: {error!r}")
            continue
        if form > FORMAT:
            raise SavingError(f"{path} was written by a newer omicvae. Update omicvae to resume from it.")
        if damaged:
            log.warning("Damaged checkpoints are passed over for %s: %s.", path.name, "; ".join(damaged))
        return state
    raise SavingError(f"Every checkpoint in {folder} is damaged ({'; '.join(damaged)}). Start the run again.")


def _read(path: Path) -> tuple[int, Checkpoint]:
    """Return format and state, if they are as they were written."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    text = metadata["omicvae"]
    if metadata["sha256"] != _checksum(text, tensors):
        raise ValueError("its checksum is another one")
    header = json.loads(text)
    return int(header["format"]), _from_json(header["state"], tensors)


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state: its JSON, and every tensor's name, type, shape and bytes."""
    total = hashlib.sha256(text.encode())
    for name, value in sorted(tensors.items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _to_json(value: Any, tensors: dict[str, Tensor], path: str) -> Any:
    """Turn a state into JSON that names its tensors, which are put into ``tensors``; what JSON lacks becomes text."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().clone().contiguous()  # views of one block would be written as one
        return {"tensor": path}
    value = plain(value)
    if isinstance(value, Mapping):
        return {"items": [[str(key), _to_json(item, tensors, f"{path}/{key}")] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_to_json(item, tensors, f"{path}/{i}") for i, item in enumerate(value)]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _from_json(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Inverse of :func:`_to_json`."""
    if isinstance(value, dict) and "tensor" in value:
        return tensors[value["tensor"]]
    if isinstance(value, dict):
        return {key: _from_json(item, tensors) for key, item in value["items"]}
    return [_from_json(item, tensors) for item in value] if isinstance(value, list) else value
