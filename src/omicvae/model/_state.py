"""What every part of ``CVAE`` may rely on: the attributes of a model."""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scvi.model.base import BaseModelClass
from torch import Tensor

from omicvae._core import NotSupportedError
from omicvae.data import CellStore, DataSchema, fingerprint
from omicvae.model._background import Background
from omicvae.model._build import ModelConfig, build_module
from omicvae.model._host import make_manager
from omicvae.model._setup import own_memory
from omicvae.module import ConditionalVAE
from omicvae.training import FitResult, history_frame


class ModelState:
    """Attributes of a model; the parts of ``CVAE`` derive from it.

    Attributes
    ----------
    config, schema
        What defines the network, and what defines the data.
    module
        The network.
    fits
        One result per call of ``train``.
    objective
        Settings of the last objective.
    train_indices, validation_indices
        Rows of the model's own cells.
    """

    config: ModelConfig
    schema: DataSchema
    module: ConditionalVAE
    fits: list[FitResult]
    objective: dict[str, Any]
    train_indices: NDArray[np.int64]
    validation_indices: NDArray[np.int64]
    adata: AnnData | None
    is_trained_: bool
    _store: CellStore | None
    _fingerprint: str | None
    _knows_split: bool
    _moments: dict[str, Tensor] | None
    _background: Background

    @property
    def history(self) -> pd.DataFrame:
        """A row per epoch over all runs; losses in nats per cell, ``elbo_validation`` higher is better."""
        return pd.concat([fit.history for fit in self.fits]) if self.fits else history_frame([])

    def _assemble(self, config: ModelConfig, schema: DataSchema) -> None:
        """Make everything that needs no data: shared by construction and loading."""
        self.config = config
        self.schema = schema
        self._start_again()
        self._store = None
        self._fingerprint = None

    def _start_again(self) -> None:
        """Make new weights and forget all training."""
        self.module = build_module(self.config, self.schema)
        self.fits = []
        self._moments = None
        self._knows_split = False

    def _attach(self, adata: AnnData, store: CellStore) -> None:
        """Make ``adata`` the model's own data and register it with scvi-tools."""
        own_memory(adata)
        manager = make_manager(adata, self.schema, type(self).__name__)
        type(self).register_manager(manager)  # type: ignore[attr-defined]  # of scvi-tools' base class
        BaseModelClass.__init__(self, adata)
        self._store = store
        self._background = Background()
        self._fingerprint = fingerprint(adata, self.schema.keys.layer)

    def _own_adata(self) -> AnnData:
        """Return the model's own data, or say that it has none."""
        if self.adata is None:
            raise NotSupportedError(
                "This model was loaded without data: pass adata=, or load it with CVAE.load(path, adata=adata)."
            )
        return self.adata

    def _require_trained(self, what: str) -> None:
        if not self.fits:
            raise NotSupportedError(f"{what} needs a trained model; call train() first.")
