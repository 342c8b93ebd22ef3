"""The one place where omicvae meets scvi-tools' registry of AnnData objects."""

from typing import Any

import numpy as np
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.data import AnnDataManager
from scvi.data._manager import AnnDataManagerValidationCheck
from scvi.data.fields import BaseAnnDataField
from scvi.model.base import BaseModelClass

from omicvae.data import CategoricalLevels, DataSchema
from omicvae.model.state import ModelState


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


def _make_manager(adata: AnnData, schema: DataSchema, model_name: str) -> AnnDataManager:
    """Register ``adata`` with scvi-tools under the keys of ``schema``."""
    layer, genes = schema.keys.layer, np.asarray(schema.gene_names)
    sizes = {"n_vars": len(genes), "n_cells": adata.n_obs}
    told = {"n_obs": adata.n_obs, "n_vars": len(genes), "column_names": genes}
    manager = AnnDataManager(
        fields=[
            _Place(REGISTRY_KEYS.X_KEY, ("X" if layer is None else "layers", layer), told, sizes),
            _levels(REGISTRY_KEYS.BATCH_KEY, schema.categorical[0] if schema.keys.batch_key is not None else None),
            _levels(REGISTRY_KEYS.LABELS_KEY, schema.labels),
        ],
        setup_method_args={
            "model_name": model_name,
            "setup_method_name": "setup_anndata",
            "setup_args": schema.keys.to_dict(),
        },
        validation_checks=AnnDataManagerValidationCheck(check_if_view=False),
    )
    manager.register_fields(adata)
    return manager


def adopt(model: Any, state: ModelState) -> Any:
    """Give ``model``, a ``CVAE``, its state; register it, and the data where it has any, with scvi-tools; return it."""
    model.state = state
    if state.adata is None:
        BaseModelClass.__init__(model, registry={"field_registries": {}})
    else:
        type(model).register_manager(_make_manager(state.adata, state.schema, type(model).__name__))
        BaseModelClass.__init__(model, state.adata)
    model.is_trained_ = bool(state.fits)
    return model
