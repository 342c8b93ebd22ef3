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
from omicvae.model.scvi_registry import adopt
from omicvae.model.state import HasState, ModelState
from omicvae.training import Checkpoint, FitResult, Split
from omicvae.training.checkpoint import named

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
        tensors = {name: value.contiguous() for name, value in named("module", own.module.state_dict()).items()}
        if own.split is not None:
            tensors |= named("split", {part: torch.from_numpy(rows) for part, rows in asdict(own.split).items()})
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
            record = json.dumps({**_record(own), "weights": weights, "adata": data}, indent=1)
            write_atomically(folder / STATE, lambda path: path.write_text(record))
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
        saved, saved_adata = _read(Path(dir_path))
        record, adata = saved.state, saved_adata if adata is None else adata
        state = ModelState(ModelConfig.from_dict(record["config"]), DataSchema.from_dict(record["data"]))
        if adata is None:
            state.fingerprint = record["fingerprint"]  # so that a save of the model keeps its split
        else:
            state.attach(adata, state.cells(adata))
        state.module.load_state_dict(saved.part("module"))
        state.module.eval()
        state.fits = [FitResult.from_dict(fit) for fit in record["fits"]]
        state.objective = record["objective"]
        split = {part: rows.numpy() for part, rows in saved.part("split").items()}
        if split and state.fingerprint == record["fingerprint"]:  # row numbers mean something for these cells alone
            state.split = Split(**split)
        model: Self = adopt(cls.__new__(cls), state)
        return model


def _record(state: ModelState) -> dict[str, Any]:
    """Return what ``model.json`` holds beside the names of the files."""
    return {
        "schema_version": SCHEMA_VERSION,
        "omicvae_version": version("omicvae"),
        "fingerprint": state.fingerprint,
        "config": state.config.to_dict(),
        "data": state.schema.to_dict(),
        "objective": state.objective,
        "fits": [fit.to_dict() for fit in state.fits],
    }


def _read(folder: Path) -> tuple[Checkpoint, AnnData | None]:
    """Content of a model folder, with the data where they were saved."""
    if not (folder / STATE).exists():
        raise SavingError(f"{folder} holds no omicvae model: {STATE} is missing.")
    try:
        state = json.loads((folder / STATE).read_text())
        if state["schema_version"] > SCHEMA_VERSION:
            raise SavingError(
                f"The model in {folder} has format {state['schema_version']}, this omicvae reads up to "
                f"{SCHEMA_VERSION}. Update omicvae (the model was written by {state['omicvae_version']})."
            )
        saved = Checkpoint(load_file(folder / state["weights"]), state)
        return saved, read_h5ad(folder / state["adata"]) if state["adata"] else None
    except (ValueError, KeyError, FileNotFoundError, SafetensorError) as error:
        raise SavingError(f"The model in {folder} is damaged: {error!r}. Save it again from its source.") from error


def _files_of(folder: Path) -> set[str]:
    """Names of the files that the model in ``folder`` consists of, beside ``model.json``."""
    try:
        state = json.loads((folder / STATE).read_text())
        return {str(state[name]) for name in ("weights", "adata") if state.get(name)}
    except (FileNotFoundError, ValueError):
        return set()
