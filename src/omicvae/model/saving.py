"""Saving and loading: safetensors and JSON, written atomically, read without unpickling."""

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import torch
from anndata import AnnData, read_h5ad
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from omicvae._core import SavingError
from omicvae._core.files import write_atomically
from omicvae.data import DataSchema
from omicvae.model.config import ModelConfig
from omicvae.model.host import adopt
from omicvae.model.state import HasState, ModelState
from omicvae.training import FitResult, Split

SCHEMA_VERSION = 1
STATE = "model.json"


class SavingMixin(HasState):
    """``save`` and ``load``. ``model.json`` is written last and names its weights file, so a save is all or nothing."""

    def save(self, dir_path: str | Path, *, overwrite: bool = False, save_anndata: bool = False) -> None:
        """Write the model to a folder.

        Parameters
        ----------
        dir_path
            Folder; it is made if it does not exist.
        overwrite
            Replace a model that is there. Until the new one is complete, the old one stays intact.
        save_anndata
            Write the data beside the model as ``adata.h5ad``.

        Raises
        ------
        SavingError
            If a model is there and ``overwrite`` is False, or the disk cannot take it.
        """
        folder, own = Path(dir_path), self.state
        if (folder / STATE).exists() and not overwrite:
            raise SavingError(f"{folder} holds a model already; pass overwrite=True to replace it, or another folder.")
        tensors = {f"module.{name}": value.contiguous() for name, value in own.module.state_dict().items()}
        if own.split is not None:
            tensors |= {f"split.{part}": torch.from_numpy(rows) for part, rows in asdict(own.split).items()}
        adata = own.own_adata() if save_anndata else None
        before = _files_of(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            content = save(tensors)
            weights = f"weights-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
            write_atomically(folder / weights, lambda path: path.write_bytes(content))
            data = None
            if adata is not None:
                data = f"adata-{own.fingerprint}.h5ad"
                in_memory = adata.to_memory()
                write_atomically(folder / data, lambda path: in_memory.write_h5ad(path))
            record = {
                "schema_version": SCHEMA_VERSION,
                "omicvae_version": version("omicvae"),
                "fingerprint": own.fingerprint,
                "config": own.config.to_dict(),
                "data": own.schema.to_dict(),
                "objective": own.objective,
                "fits": [fit.to_dict() for fit in own.fits],
                "weights": weights,
                "adata": data,
            }
            write_atomically(folder / STATE, lambda path: path.write_text(json.dumps(record, indent=1)))
        except OSError as error:
            raise SavingError(
                f"The model could not be saved to {folder}: {error}. A model saved there before is intact."
            ) from error
        for name in before - {weights, data}:
            (folder / name).unlink(missing_ok=True)

    @classmethod
    def load(cls, dir_path: str | Path, adata: AnnData | None = None) -> Self:
        """Read a model from a folder.

        Parameters
        ----------
        dir_path
            Folder written by ``save``.
        adata
            The model's cells, or others with the same genes and levels (matched by name). None takes the data
            saved with the model, if any; without data the model still takes other cells as ``adata=`` arguments.

        Raises
        ------
        SavingError
            If there is no model, or it is of a newer format.
        DataError
            If ``adata`` does not fit the model.
        """
        record, tensors, saved = _read(Path(dir_path))
        adata = saved if adata is None else adata
        state = ModelState(ModelConfig.from_dict(record["config"]), DataSchema.from_dict(record["data"]))
        if adata is None:
            state.fingerprint = record["fingerprint"]  # so that a save of the model keeps its split
        else:
            state.attach(adata, state.cells(adata))
        state.module.load_state_dict(_part("module.", tensors))
        state.module.eval()
        state.fits = [FitResult.from_dict(fit) for fit in record["fits"]]
        state.objective = record["objective"]
        split = {part: rows.numpy() for part, rows in _part("split.", tensors).items()}
        if split and state.fingerprint == record["fingerprint"]:  # row numbers mean something for these cells alone
            state.split = Split(**split)
        model: Self = adopt(cls.__new__(cls), state)
        return model


def _part(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], AnnData | None]:
    """State, weights and, where it was saved, data of a model folder."""
    if not (folder / STATE).exists():
        raise SavingError(f"{folder} holds no omicvae model: {STATE} is missing.")
    try:
        state = json.loads((folder / STATE).read_text())
        if state["schema_version"] > SCHEMA_VERSION:
            raise SavingError(
                f"The model in {folder} has format {state['schema_version']}, this omicvae reads up to "
                f"{SCHEMA_VERSION}. Update omicvae (the model was written by {state['omicvae_version']})."
            )
        tensors = load_file(folder / state["weights"])
        return state, tensors, read_h5ad(folder / state["adata"]) if state["adata"] else None
    except (ValueError, KeyError, FileNotFoundError, SafetensorError) as error:
        raise SavingError(f"The model in {folder} is damaged: {error!r}. Save it again from its source.") from error


def _files_of(folder: Path) -> set[str]:
    """Names of the files that the model in ``folder`` consists of, beside ``model.json``."""
    try:
        state = json.loads((folder / STATE).read_text())
        return {str(state[name]) for name in ("weights", "adata") if state.get(name)}
    except (FileNotFoundError, ValueError):
        return set()
