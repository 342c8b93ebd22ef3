"""Saving and loading: safetensors and JSON, written atomically, read without unpickling."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import pandas as pd
import torch
from anndata import AnnData, read_h5ad
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from scvi.model.base import BaseModelClass

from omicvae._core import SavingError
from omicvae._core.files import write_atomically
from omicvae.data import CellStore, DataSchema, check_support
from omicvae.model._build import ModelConfig
from omicvae.model._state import ModelState
from omicvae.training import FitResult

SCHEMA_VERSION = 1
STATE = "model.json"


class SavingMixin(ModelState):
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
        folder = Path(dir_path)
        if (folder / STATE).exists() and not overwrite:
            raise SavingError(f"{folder} holds a model already; pass overwrite=True to replace it, or another folder.")
        tensors = {f"module.{name}": value.contiguous() for name, value in self.module.state_dict().items()}
        if self._knows_split:
            tensors["split.train"] = torch.from_numpy(self.train_indices)
            tensors["split.validation"] = torch.from_numpy(self.validation_indices)
        adata = self._own_adata() if save_anndata else None
        before = _files_of(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            content = save(tensors)
            weights = f"weights-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
            write_atomically(folder / weights, lambda path: path.write_bytes(content))
            data = None
            if adata is not None:
                data = f"adata-{self._fingerprint}.h5ad"
                in_memory = adata.to_memory()
                write_atomically(folder / data, lambda path: in_memory.write_h5ad(path))
            state = json.dumps({**self._state(), "weights": weights, "adata": data}, indent=1)
            write_atomically(folder / STATE, lambda path: path.write_text(state))
        except OSError as error:
            raise SavingError(
                f"The model could not be saved to {folder}: {error}. A model saved there before is intact."
            ) from error
        for name in before - {weights, data}:
            (folder / name).unlink(missing_ok=True)

    def _state(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "omicvae_version": version("omicvae"),
            "fingerprint": self._fingerprint,
            "config": self.config.to_dict(),
            "data": self.schema.to_dict(),
            "objective": self.objective if self.fits else None,
            "fits": [_fit_to_dict(fit) for fit in self.fits],
        }

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
        state, tensors, saved = _read(Path(dir_path))
        model = cls.__new__(cls)
        model._assemble(ModelConfig.from_dict(state["config"]), DataSchema.from_dict(state["data"]))
        adata = saved if adata is None else adata
        if adata is None:
            BaseModelClass.__init__(model, registry={"field_registries": {}})
            model._fingerprint = state["fingerprint"]  # so that a save of the model keeps its split
        else:
            store = CellStore.build(adata, model.schema)
            check_support(store.audit, model.module.likelihood.support)
            model._attach(adata, store)
        prefix = "module."
        model.module.load_state_dict(
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        )
        model.module.eval()
        model.fits = [_fit_from_dict(fit) for fit in state["fits"]]
        if model.fits:
            model.objective = state["objective"]
            model.is_trained_ = True
            # row numbers mean something for the cells of the training only
            if "split.train" in tensors and model._fingerprint == state["fingerprint"]:
                model.train_indices = tensors["split.train"].numpy()
                model.validation_indices = tensors["split.validation"].numpy()
                model._knows_split = True
        return model


def _fit_to_dict(fit: FitResult) -> dict[str, Any]:
    state = {name: getattr(fit, name) for name in FitResult.__slots__ if name != "history"}
    return {**state, "history": json.loads(fit.history.to_json(orient="split", double_precision=15))}


def _fit_from_dict(state: dict[str, Any]) -> FitResult:
    table = state.pop("history")
    index = pd.RangeIndex(table["index"][0], table["index"][-1] + 1, name="epoch") if table["index"] else None
    return FitResult(history=pd.DataFrame(table["data"], index, table["columns"], dtype=float), **state)


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
