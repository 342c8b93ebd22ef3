"""The one place where omicvae meets scvi-tools: what its registry is told, and which of its methods are refused."""

import weakref
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.data import AnnDataManager
from scvi.data._manager import AnnDataManagerValidationCheck
from scvi.data.fields import BaseAnnDataField
from scvi.model.base import BaseModelClass

from omicvae._core import NotSupportedError
from omicvae.data import CategoricalLevels
from omicvae.model.state import ModelState

#: methods of scvi-tools' mixins that would give wrong answers here: why, and what to use
REASONS = {
    "get_importance_weights": "it assumes a mean of library × softmax and an N(0, I) prior; use get_marginal_ll()",
    "get_feature_correlation_matrix": "it assumes gamma-Poisson sampling; sample with posterior_predictive_sample()",
    "get_latent_library_size": "omicvae uses the observed library; there is no latent one",
    "get_aggregated_posterior": "it assumes scvi-tools' modules; get_latent_representation(return_dist=True) gives "
    "the components",
    "differential_abundance": "it assumes scvi-tools' modules; test on get_latent_representation() instead",
    "prepare_query_anndata": "load_query_data() matches genes by name; pass it missing_genes='zero' where some "
    "are missing",
    "prepare_query_mudata": "omicvae models AnnData",
    "convert_legacy_save": "omicvae's saves have their own format, without pickles",
    "load_registry": "omicvae's saves have their own format; read model.json",
    "view_registry": "scvi-tools 1.4 looks there for what it no longer keeps; read model.schema and model.config",
    "view_setup_args": "omicvae's saves have their own format; read model.json",
}


class _Place(BaseAnnDataField):
    """A place in an AnnData, and what scvi-tools is told of it.

    Unlike scvi-tools' own fields it writes nothing into ``obs`` and converts nothing: omicvae encodes by name itself.
    """

    registry_key = attr_name = ""
    attr_key: str | None = None
    is_empty = False

    def __init__(
        self, registry_key: str, place: tuple[str, str | None], told: dict[str, Any], sizes: dict[str, int]
    ) -> None:
        self.registry_key, (self.attr_name, self.attr_key) = registry_key, place
        self.is_empty = place == ("obs", None)
        self.told, self.sizes = told, sizes

    def validate_field(self, adata: AnnData) -> None:
        """Nothing to add: the schema has been registered."""

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """State that scvi-tools reads."""
        return self.told

    def transfer_field(self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any) -> dict[str, Any]:
        """Give the same state for another AnnData."""
        return self.told

    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        """Give the sizes."""
        return self.sizes

    def view_state_registry(self, state_registry: dict[str, Any]) -> None:
        """Nothing to show."""


def _levels(registry_key: str, levels: CategoricalLevels | None) -> _Place:
    key, names = (None, np.asarray([0])) if levels is None else (levels.key, np.asarray(levels.levels))
    told = {"categorical_mapping": names, "original_key": key}
    return _Place(registry_key, ("obs", key), told, {f"n_{registry_key}": len(names)})


#: model → what takes it out of the tables of scvi-tools' classes again
_registered: "weakref.WeakKeyDictionary[Any, Callable[[], Any]]" = weakref.WeakKeyDictionary()


def adopt(model: Any, state: ModelState) -> Any:
    """Give ``model``, a ``CVAE``, its state; register it, and the data where it has any, with scvi-tools; return it."""
    model.state, kind, adata, schema = state, type(model), state.adata, state.schema
    _registered.pop(model, lambda: None)()  # with other data
    if adata is None:
        BaseModelClass.__init__(model, registry={"field_registries": {}})
    else:
        layer, genes, batch_key = schema.keys.layer, np.asarray(schema.gene_names), schema.keys.batch_key
        sizes = {"n_vars": len(genes), "n_cells": adata.n_obs}
        told = {"n_obs": adata.n_obs, "n_vars": len(genes), "column_names": genes}
        set_up = {"setup_method_name": "setup_anndata", "setup_args": schema.keys.to_dict()}
        manager = AnnDataManager(
            fields=[
                _Place(REGISTRY_KEYS.X_KEY, ("X" if layer is None else "layers", layer), told, sizes),
                _levels(REGISTRY_KEYS.BATCH_KEY, None if batch_key is None else schema.categorical[0]),
                _levels(REGISTRY_KEYS.LABELS_KEY, schema.labels),
            ],
            setup_method_args={"model_name": kind.__name__, **set_up},
            validation_checks=AnnDataManagerValidationCheck(check_if_view=False),
        )
        manager.register_fields(adata)
        kind.register_manager(manager)
        BaseModelClass.__init__(model, adata)
        _registered[model] = weakref.finalize(model, _forget, kind, model.id, manager)
    model.is_trained_ = bool(state.fits)
    return model


def _forget(kind: Any, model_id: str, manager: AnnDataManager) -> None:
    """Take a model that is gone out of the class's tables, which would hold its AnnData for ever."""
    kind._per_instance_manager_store.pop(model_id, None)
    known = kind._setup_adata_manager_store
    if known.get(manager.adata_uuid) is manager:
        del known[manager.adata_uuid]


def _refusal(name: str, reason: str) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotSupportedError(f"CVAE.{name}() is not offered: {reason}.")

    refuse.__name__ = name
    refuse.__doc__ = f"Not offered: {reason}."
    return refuse


class RefusalsMixin:
    """Refuses the methods in ``REASONS``, and another AnnData in the place of the model's own."""

    @property
    def adata(self) -> AnnData | None:
        """The model's own cells."""
        own: AnnData | None = self.state.adata  # type: ignore[attr-defined]
        return own

    @adata.setter
    def adata(self, adata: AnnData) -> NoReturn:
        raise NotSupportedError(
            "model.adata cannot be set: pass other cells as adata=, or load a saved model with them, "
            "CVAE.load(path, adata=adata)."
        )


for _name, _reason in REASONS.items():
    setattr(RefusalsMixin, _name, _refusal(_name, _reason))
