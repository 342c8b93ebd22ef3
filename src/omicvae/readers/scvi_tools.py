"""Fits of scvi-tools: what its models say of their own cells, through their own ``inference`` and ``generative``."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from omicvae._core import NotSupportedError
from omicvae._core.noise import DrawingFrom
from omicvae.metrics.labels import Array, IntArray
from omicvae.readers.curves import history_of
from omicvae.readers.fit import Fit
from omicvae.readers.scvi_modules import MODULES, Module, Tensors

#: numbers in a minibatch
BATCH_ENTRIES = 2**20
DEPTH = "log depth"
#: what remedies change of a network
NETWORK = ("n_latent", "n_hidden", "dropout_rate")


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A model's own cells in minibatches, as its own loader gives them, on its device, at inference."""

    model: Any
    reader: Module

    def map(self, rows: IntArray, function: Callable[[Tensors, slice], Tensors]) -> dict[str, Array]:
        """Join what ``function(tensors, position)`` returns, along the cells."""
        module, parts = self.model.module, []
        size = int(np.clip(BATCH_ENTRIES // self.model.summary_stats.n_vars, 64, 4096))
        loader = self.model._make_data_loader(self.model.adata, indices=rows, batch_size=size)
        training = module.training
        module.eval()
        try:
            # what modules draw of their own accord comes from no generator of the caller's
            with DrawingFrom(torch.Generator(module.device).manual_seed(0)), torch.inference_mode():
                for number, tensors in enumerate(loader):
                    tensors = {name: value.to(module.device) for name, value in tensors.items()}
                    outputs = function(tensors, slice(number * size, number * size + len(tensors["X"])))
                    parts.append({name: value.cpu().numpy() for name, value in outputs.items()})
        finally:
            module.train(training)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def encoded(self) -> dict[str, Array]:
        """Posterior mean and SD of all cells, and what else of inference the decoder needs."""

        def encode(tensors: Tensors, position: slice) -> Tensors:
            inference = self.model.module.inference(**self.model.module._get_inference_input(tensors))
            posterior = inference["qz"]
            return {"mean": posterior.loc, "sd": posterior.scale, **self.reader.kept(inference, tensors)}

        return self.map(np.arange(self.model.adata.n_obs), encode)

    def at(
        self, read: Callable[[Tensor, Tensors, Tensors], Tensor], encoded: Mapping[str, Array]
    ) -> Callable[[Array, IntArray], Array]:
        """Make a function of z and row numbers of what is read at z, with what inference said of these cells."""
        device = self.model.module.device

        def values(z_WK: Array, rows: IntArray) -> Array:
            def one(tensors: Tensors, position: slice) -> Tensors:
                kept = {name: torch.from_numpy(array[rows[position]]).to(device) for name, array in encoded.items()}
                z_BK = torch.from_numpy(np.asarray(z_WK[position], dtype=np.float32)).to(device)
                return {"value": read(z_BK, kept, tensors).double()}

            return self.map(rows, one)["value"]

        return values


def is_scvi_model(source: object) -> bool:
    """Whether it is a model of scvi-tools, without loading it."""
    return any(base.__module__.startswith("scvi.") for base in type(source).__mro__)


def read_model(model: Any) -> Fit:
    """Read a trained scvi-tools model with its own cells.

    Raises
    ------
    NotSupportedError
        For models without a z and a decoder, untrained ones, those without their data, and minified data.
    """
    reader = _reader(model)
    cells = Cells(model, reader)
    encoded = cells.encoded()
    manager = model.adata_manager
    matrix = reader.data(manager.get_from_registry("X"))
    continuous = dict(_continuous(manager))
    if "depth" in encoded:
        continuous[DEPTH] = np.log(np.maximum(np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel(), 1.0))
    sized = getattr(model.module, "use_size_factor_key", False)
    train, validation = _split(model)
    history, kl_unit = history_of(model.history) if model.history else pd.DataFrame(), reader.kl_unit()
    if kl_unit != 1:  # then totals are in no unit of ours
        history = history.drop(columns=["loss_train", "loss_validation"], errors="ignore")
    return Fit(
        origin=", ".join(filter(None, [f"scvi-tools {type(model).__name__}", reader.part])),
        encode=lambda: (encoded["mean"], encoded["sd"]),
        nll=cells.at(reader.nll, encoded),
        kl=None if reader.kl is None else cells.at(reader.kl, encoded),
        train=train,
        validation=validation,
        matrix=matrix,
        likelihood=reader.likelihood,
        size_factors_N=np.asarray(manager.get_from_registry("size_factor"), np.float64).ravel() if sized else None,
        besides_N=encoded.get("besides"),
        categorical=dict(_categorical(manager)),
        continuous=continuous,
        conditioned=_conditioned(model),
        history=history,
        history_in_nats=True,
        cell_names_N=np.asarray(model.adata.obs_names, dtype=object),
        words="scvi-tools",
        run=_run(model, kl_unit, len(history)),
    )


def labels_set_up(model: Any) -> tuple[str | None, Any]:
    """Return the column that the model was set up with as labels, and what stands there for none; None without."""
    if "labels" not in model.adata_manager.data_registry:
        return None, None
    registry = model.adata_manager.get_state_registry("labels")
    key = registry.get("original_key")
    return (None, None) if str(key).startswith("_scvi") else (key, registry.get("unlabeled_category"))


def _run(model: Any, kl_unit: float, n_epochs: int) -> dict[str, Any]:
    """Return what remedies in scvi-tools' words build on."""
    signature, made_of = inspect.signature(type(model).__init__).parameters, model.init_params_
    given = {**made_of["non_kwargs"], **{k: v for part in made_of["kwargs"].values() for k, v in part.items()}}
    of_module = inspect.signature(type(model.module).__init__).parameters
    usual = {name: parameter.default for name, parameter in signature.items()}
    folder, public = type(model).__module__.split("._")[0].split(".")[:2], type(model).__name__
    return {
        "model": ".".join([*folder, public]),
        "arguments": {k: v for k, v in given.items() if isinstance(v, str | bool | int | float) and v != usual.get(k)},
        "accepted": [name for name in NETWORK if name in {*signature, *of_module}],
        "direct": [k for k in ("n_epochs_kl_warmup", "lr") if k in inspect.signature(type(model).train).parameters],
        "kl_unit": kl_unit,
        "n_epochs": n_epochs,
        "n_cells": int(model.adata.n_obs),
    }


def _reader(model: Any) -> Module:
    name = type(model).__name__
    ancestors = [base.__name__ for base in type(getattr(model, "module", None)).__mro__]
    found = next((MODULES[ancestor] for ancestor in ancestors if ancestor in MODULES), None)
    if found is None:
        known = ", ".join(reader.models for reader in MODULES.values())
        raise NotSupportedError(
            f"{name} is no model that can be read; {known} are. For others give its encoder and its reconstruction "
            "to ov.audit(encode=..., nll=..., x=...)."
        )
    if model.adata is None:
        raise NotSupportedError(f"This {name} has no data: load it with {name}.load(path, adata=adata).")
    if getattr(model, "minified_data_type", None) is not None:
        raise NotSupportedError(
            f"The data of this {name} are minified, without the counts that its reconstruction is judged by. Load the "
            f"model with the cells as they were: {name}.load(path, adata=adata)."
        )
    if not model.is_trained:
        raise NotSupportedError(f"This {name} is not trained; call train() first.")
    return found(model.module)


def _split(model: Any) -> tuple[IntArray, IntArray]:
    """Training and validation rows; all cells train where they are not known."""
    rows = [getattr(model, f"{part}_indices", None) for part in ("train", "validation")]
    train, validation = (np.empty(0, np.int64) if r is None else np.sort(np.asarray(r, np.int64)) for r in rows)
    if not len(train) or max(train.max(), validation.max(initial=0)) >= model.adata.n_obs:
        return np.arange(model.adata.n_obs), np.empty(0, np.int64)
    return train, validation


def _categorical(manager: Any) -> Iterator[tuple[str, Array]]:
    """Names and levels of the covariates that the decoder is given; a batch of one level is none."""
    batch = manager.get_state_registry("batch")
    if len(batch["categorical_mapping"]) > 1:
        codes_N = np.asarray(manager.get_from_registry("batch")).ravel().astype(np.int64)
        yield str(batch["original_key"]), np.asarray(batch["categorical_mapping"], dtype=object)[codes_N]
    if "extra_categorical_covs" in manager.data_registry:
        codes = manager.get_from_registry("extra_categorical_covs")
        for key, levels in manager.get_state_registry("extra_categorical_covs")["mappings"].items():
            yield str(key), np.asarray(levels, dtype=object)[codes[key].to_numpy().astype(np.int64)]


def _continuous(manager: Any) -> Iterator[tuple[str, Array]]:
    if "extra_continuous_covs" in manager.data_registry:
        for key, values_N in manager.get_from_registry("extra_continuous_covs").items():
            yield str(key), values_N.to_numpy(dtype=np.float64)


def _conditioned(model: Any) -> tuple[str, ...]:
    """Return the labels that the model was given: SCANVI's, and those that a dispersion depends on."""
    module, key = model.module, labels_set_up(model)[0]
    per_label = "gene-label" in (getattr(module, "dispersion", None), getattr(module, "gene_dispersion", None))
    return (key,) if key is not None and (per_label or hasattr(module, "classifier")) else ()
