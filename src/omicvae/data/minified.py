"""Minified cells: an AnnData whose cells are known by their posterior and library alone."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from omicvae._core import WITHOUT_DATA, DataError, NotSupportedError, keys
from omicvae.data.covariates import numeric_column, obs_column
from omicvae.data.identity import is_minified
from omicvae.data.schema import DataSchema
from omicvae.data.store import CellStore, cell_covariates

if TYPE_CHECKING:
    from anndata import AnnData

_PLACES = (keys.POSTERIOR_MEAN, keys.POSTERIOR_VARIANCE)


def require_data(adata: "AnnData | None", what: str) -> None:
    """Raise a NotSupportedError where ``what`` would read data of minified cells."""
    if adata is not None and is_minified(adata):
        raise NotSupportedError(f"{what} reads data. {WITHOUT_DATA}")


def weights_sum(module: nn.Module) -> str:
    """Checksum of a network: latents are those of one."""
    checksum = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        checksum.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return checksum.hexdigest()[:16]


def minified_store(adata: "AnnData", schema: DataSchema, module: nn.Module) -> CellStore:
    """Store minified cells of this network.

    Raises
    ------
    DataError
        If their latents are of another one, or missing.
    """
    if adata.uns.get(keys.UNS, {}).get(keys.MINIFIED) != weights_sum(module):
        raise DataError(
            "This AnnData is minified: it holds latents in the place of data, and not of this model as it is now. Pass "
            "the full data, or give the minified ones to the model that made them."
        )
    if absent := [name for name in _PLACES if name not in adata.obsm]:
        raise DataError(f"This AnnData is minified, and its obsm lacks {absent}; take it as minify_adata() made it.")
    mean_NK, variance_NK = (np.asarray(adata.obsm[name], np.float32) for name in _PLACES)
    return CellStore.of_points(
        schema,
        *cell_covariates(adata, schema),
        numeric_column(keys.LIBRARY, obs_column(adata, keys.LIBRARY)),
        (mean_NK, np.log(variance_NK)),
    )
