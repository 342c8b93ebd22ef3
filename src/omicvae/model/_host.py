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

from omicvae.data import CategoricalLevels, DataSchema


class MatrixField(BaseAnnDataField):
    """Where the data matrix is."""

    registry_key = REGISTRY_KEYS.X_KEY
    attr_name = property(lambda self: "X" if self.attr_key is None else "layers")
    attr_key = None
    is_empty = False

    def __init__(self, schema: DataSchema) -> None:
        self.attr_key = schema.keys.layer
        self.gene_names = np.asarray(schema.gene_names)

    def validate_field(self, adata: AnnData) -> None:
        """Nothing to add: the schema has been registered."""

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """State that scvi-tools reads."""
        return {"n_obs": adata.n_obs, "n_vars": len(self.gene_names), "column_names": self.gene_names}

    def transfer_field(self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any) -> dict[str, Any]:
        """Give the same state for another AnnData."""
        return self.register_field(adata_target)

    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        """Give the sizes."""
        return {"n_vars": state_registry["n_vars"], "n_cells": state_registry["n_obs"]}

    def view_state_registry(self, state_registry: dict[str, Any]) -> None:
        """Nothing to show."""


class LevelsField(BaseAnnDataField):
    """Where a categorical column is, and its levels."""

    registry_key = ""
    attr_name = "obs"
    attr_key = None
    is_empty = False

    def __init__(self, registry_key: str, levels: CategoricalLevels | None) -> None:
        self.registry_key = registry_key
        self.attr_key = None if levels is None else levels.key
        self.is_empty = levels is None
        self.levels = np.asarray([0] if levels is None else levels.levels)

    def validate_field(self, adata: AnnData) -> None:
        """Nothing to add: the schema has been registered."""

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """State that scvi-tools reads."""
        return {"categorical_mapping": self.levels, "original_key": self.attr_key}

    def transfer_field(self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any) -> dict[str, Any]:
        """Give the same state for another AnnData."""
        return self.register_field(adata_target)

    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        """Give the number of levels."""
        return {f"n_{self.registry_key}": len(self.levels)}

    def view_state_registry(self, state_registry: dict[str, Any]) -> None:
        """Nothing to show."""


def make_manager(adata: AnnData, schema: DataSchema, model_name: str) -> AnnDataManager:
    """Register ``adata`` with scvi-tools under the keys of ``schema``."""
    batch = schema.categorical[0] if schema.keys.batch_key is not None else None
    manager = AnnDataManager(
        fields=[
            MatrixField(schema),
            LevelsField(REGISTRY_KEYS.BATCH_KEY, batch),
            LevelsField(REGISTRY_KEYS.LABELS_KEY, schema.labels),
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
