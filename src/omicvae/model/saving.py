"""Saving and loading: safetensors and JSON, written atomically, read without unpickling."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch
from anndata import AnnData, read_h5ad
from safetensors.torch import load as read_tensors
from safetensors.torch import save

from omicvae._core import SavingError
from omicvae._core.files import refused, write_atomically
from omicvae.data import DataSchema, Identity
from omicvae.data.minified import is_minified
from omicvae.model.config import ModelConfig
from omicvae.model.host import adopt
from omicvae.model.setup_record import check_anndata
from omicvae.model.state import HasState, ModelState
from omicvae.training import FitResult, Split

log = logging.getLogger("omicvae")

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
            Write the data beside the model as ``adata-<checksum>.h5ad``.

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
            weights = _weights_name(content)
            write_atomically(folder / weights, lambda path: path.write_bytes(content))
            data = None
            if adata is not None:
                with TemporaryDirectory(dir=folder, prefix=".") as workplace:
                    written = Path(workplace) / "adata.h5ad"
                    adata.to_memory().write_h5ad(written)
                    data = _data_name(written)
                    write_atomically(folder / data, written.replace)
            record = {
                "schema_version": SCHEMA_VERSION,
                "omicvae_version": version("omicvae"),
                "parts": own.parts,
                "config": own.config.to_dict(),
                "data": own.schema.to_dict(),
                "objective": own.objective,
                "fits": [fit.to_dict() for fit in own.fits],
                "weights": weights,
                "adata": data,
            }
            record["sha256"] = _record_sum(record)
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
            If there is no model, it is damaged (every file is compared with its checksum), or of a newer format.
        DataError
            If ``adata`` does not fit the model.
        """
        folder = Path(dir_path)
        record = _read_record(folder)
        with _explained(folder):
            state, saved = _restored(folder, record)
        adata = saved if adata is None else adata
        if adata is not None:
            _attach(state, adata)
        model: Self = adopt(cls.__new__(cls), state)
        return model


def _attach(state: ModelState, adata: AnnData) -> None:
    """Give a model that was read its data; other cells than those of its training leave its split unknown."""
    check_anndata(adata)
    saved, n_cells, identity = state.parts, state.schema.n_cells, Identity.of(adata, state.schema.keys)
    other = identity.differing(saved)
    # mapped cells may have lacked genes from the first
    lacking = "zero" if state.schema.extended and not other else "error"
    state.attach(adata, state.cells(adata, missing_genes=lacking), identity)
    if is_minified(adata):
        state.parts = {**saved, **identity.parts}
    if other:
        state.split = None  # row numbers mean something for those cells alone
        if adata.n_obs == n_cells:
            log.warning(
                "The data given differ from those that the model was made of in %s, and are taken as other cells: "
                "which of them trained is not known.",
                ", ".join(other),
            )


def _part(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _weights_name(content: bytes) -> str:
    """Name of a file with these weights: it holds their checksum."""
    return f"weights-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"


def _data_name(path: Path) -> str:
    """Name under which a model keeps these data: it holds their checksum."""
    with path.open("rb") as file:
        return f"adata-{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}.h5ad"


def _record_sum(record: Mapping[str, Any]) -> str:
    """Checksum of what ``model.json`` says beside the checksum."""
    rest = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest).encode()).hexdigest()


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn whatever damaged files raise, which depends on where the damage is, into a SavingError."""
    try:
        yield
    except SavingError:
        raise
    except Exception as error:
        if refused(error):
            raise SavingError(f"The model in {folder} could not be read: {error}. It may be intact.") from error
        raise SavingError(
            f"The model in {folder} is damaged or was changed by hand: {error!r}. Save it again from its source."
        ) from error


def _read_record(folder: Path) -> dict[str, Any]:
    """Return what ``model.json`` says, if that is as it was written."""
    if not (folder / STATE).exists():
        raise SavingError(f"{folder} holds no omicvae model: {STATE} is missing.")
    with _explained(folder):
        record: dict[str, Any] = json.loads((folder / STATE).read_text())
        if record["schema_version"] > SCHEMA_VERSION:
            raise SavingError(
                f"The model in {folder} has format {record['schema_version']}, this omicvae reads up to "
                f"{SCHEMA_VERSION}. Update omicvae (the model was written by {record['omicvae_version']})."
            )
        if record["sha256"] != _record_sum(record):
            raise ValueError(f"the checksum of {STATE} is another one")
    return record


def _restored(folder: Path, record: Mapping[str, Any]) -> tuple[ModelState, AnnData | None]:
    """Make the model of a record without data, and read the data that were saved with it."""
    content = (folder / record["weights"]).read_bytes()
    if _weights_name(content) != record["weights"]:
        raise ValueError(f"the checksum of {record['weights']} is another one")
    tensors = read_tensors(content)
    state = ModelState(ModelConfig.from_dict(record["config"]), DataSchema.from_dict(record["data"]))
    state.parts = record["parts"]  # so that a save of the model keeps its split
    state.module.load_state_dict(_part("module.", tensors))
    state.module.eval()
    state.fits = [FitResult.from_dict(fit) for fit in record["fits"]]
    state.objective = dict(record["objective"])
    split = {part: rows.numpy() for part, rows in _part("split.", tensors).items()}
    state.split = Split(**split) if split else None
    if not record["adata"]:
        return state, None
    data = folder / record["adata"]
    if _data_name(data) != data.name:
        raise ValueError(f"the checksum of {data.name} is another one")
    return state, read_h5ad(data)


def _files_of(folder: Path) -> set[str]:
    """Names of the files that the model in ``folder`` consists of, beside ``model.json``; none of a damaged one."""
    try:
        record = _read_record(folder)
        return {str(record[name]) for name in ("weights", "adata") if record[name]}
    except (SavingError, KeyError):
        return set()
