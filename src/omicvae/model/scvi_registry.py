"""The one place where omicvae meets scvi-tools' registry of AnnData objects.

scvi-tools wants an ``AnnDataManager`` for each AnnData. The fields here tell it where things are; unlike
scvi-tools' own they write nothing into ``obs`` and convert nothing, because omicvae encodes data by name itself.
"""

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


class _Field(BaseAnnDataField):
    """A place in an AnnData that scvi-tools is told of, with nothing to validate or to show."""

    registry_key = attr_name = ""
    attr_key: str | None = None
    is_empty = False

    def validate_field(self, adata: AnnData) -> None:
        """Nothing to add: the schema has been registered."""

    def transfer_field(self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any) -> dict[str, Any]:
        """Give the same state for another AnnData."""
        state: dict[str, Any] = self.register_field(adata_target)
        return state

    def view_state_registry(self, state_registry: dict[str, Any]) -> None:
        """Nothing to show."""


class _MatrixField(_Field):
    """Where the data matrix is."""

    registry_key = REGISTRY_KEYS.X_KEY

    def __init__(self, schema: DataSchema) -> None:
        self.attr_key = schema.keys.layer
        self.attr_name = "X" if self.attr_key is None else "layers"
        self.gene_names = np.asarray(schema.gene_names)

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """State that scvi-tools reads."""
        return {"n_obs": adata.n_obs, "n_vars": len(self.gene_names), "column_names": self.gene_names}

    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        """Give the sizes."""
        return {"n_vars": state_registry["n_vars"], "n_cells": state_registry["n_obs"]}


class _LevelsField(_Field):
    """Where a categorical column is, and its levels."""

    attr_name = "obs"

    def __init__(self, registry_key: str, levels: CategoricalLevels | None) -> None:
        self.registry_key = registry_key
        self.attr_key = None if levels is None else levels.key
        self.is_empty = levels is None
        self.levels = np.asarray([0] if levels is None else levels.levels)

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """State that scvi-tools reads."""
        return {"categorical_mapping": self.levels, "original_key": self.attr_key}

    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        """Give the number of levels."""
        return {f"n_{self.registry_key}": len(self.levels)}


def _make_manager(adata: AnnData, schema: DataSchema, model_name: str) -> AnnDataManager:
    """Register ``adata`` with scvi-tools under the keys of ``schema``."""
    batch = schema.categorical[0] if schema.keys.batch_key is not None else None
    manager = AnnDataManager(
        fields=[
            _MatrixField(schema),
            _LevelsField(REGISTRY_KEYS.BATCH_KEY, batch),
            _LevelsField(REGISTRY_KEYS.LABELS_KEY, schema.labels),
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


def adopt(model: Any, state: ModelState) -> None:
    """Give ``model``, a ``CVAE``, its state and register it, and the data where it has any, with scvi-tools."""
    model.state = state
    if state.adata is None:
        BaseModelClass.__init__(model, registry={"field_registries": {}})
    else:
        type(model).register_manager(_make_manager(state.adata, state.schema, type(model).__name__))
        BaseModelClass.__init__(model, state.adata)
    model.is_trained_ = bool(state.fits)
