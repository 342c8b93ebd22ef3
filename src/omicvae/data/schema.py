"""What a model must know about its data to read other data the same way."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from omicvae._core import DataError
from omicvae.data.covariates import (
    CategoricalLevels,
    ContinuousScaling,
    listing,
    numeric_column,
    obs_column,
    size_factor_column,
)
from omicvae.data.keys import SetupKeys
from omicvae.data.matrix import finite_rows, get_matrix, iter_rows

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, slots=True)
class DataSchema:
    """Genes, keys, levels and scales; made at set-up, saved with the model.

    Attributes
    ----------
    gene_names
        Genes in the model's order.
    keys
        Layer and columns.
    categorical
        Levels of ``keys.categorical_keys``, in that order (batch first).
    continuous
        Scales of ``keys.continuous_covariate_keys``: of all cells at first, of the training cells after
        :meth:`fit_scaling`; their range is that of all cells.
    labels
        Levels of the label column, which may have missing values; None without labels.
    n_cells
        Cells at set-up.
    size_factors
        Lowest and highest size factor of these cells; None without.
    extended
        Whether the cells were mapped to a trained network, which is frozen but for the levels that they added.
    """

    gene_names: tuple[str, ...]
    keys: SetupKeys
    categorical: tuple[CategoricalLevels, ...]
    continuous: tuple[ContinuousScaling, ...]
    labels: CategoricalLevels | None
    n_cells: int
    size_factors: tuple[float, float] | None = None
    extended: bool = False

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return len(self.gene_names)

    @classmethod
    def register(cls, adata: "AnnData", keys: SetupKeys | None = None) -> "DataSchema":
        """Check ``adata`` and record what a model needs to know about it.

        Whether the values suit a likelihood is not asked here: set-up knows no likelihood.

        Raises
        ------
        DataError
            For no cells or genes, duplicate gene names, unknown columns or layer, NaN or infinite values
            anywhere, missing covariate values, size factors that are not positive or out of range.
        """
        keys = SetupKeys() if keys is None else keys
        _check_names(adata)
        categorical = tuple(CategoricalLevels.register(key, obs_column(adata, key)) for key in keys.categorical_keys)
        continuous = tuple(
            ContinuousScaling.fit(key, numeric_column(key, obs_column(adata, key)))
            for key in keys.continuous_covariate_keys
        )
        labels = None
        if keys.labels_key is not None:
            column = obs_column(adata, keys.labels_key)
            labels = CategoricalLevels.register(keys.labels_key, column, allow_missing=True)
        size_factors = None
        if keys.size_factor_key is not None:
            factors_N = size_factor_column(keys.size_factor_key, obs_column(adata, keys.size_factor_key))
            size_factors = (float(factors_N.min()), float(factors_N.max()))
        chunks = iter_rows(get_matrix(adata, keys.layer))
        for _ in finite_rows(chunks, obs_names=adata.obs_names, var_names=adata.var_names):
            pass  # reading to the end is the check
        genes = tuple(str(name) for name in adata.var_names)
        return cls(genes, keys, categorical, continuous, labels, int(adata.n_obs), size_factors)

    def fit_scaling(self, continuous_TV: np.ndarray) -> "DataSchema":
        """Return the schema with mean and SD of the training cells' continuous covariates, in the user's units."""
        fitted = (old.refit(continuous_TV[:, v]) for v, old in enumerate(self.continuous))
        return replace(self, continuous=tuple(fitted))

    def extended_by(self, adata: "AnnData") -> "DataSchema":
        """Return the schema with the further levels of the cells of ``adata``, which become its own cells.

        Genes, codes of known levels and scales stay; a label column that these cells lack is forgotten.
        """
        categorical = tuple(levels.extended(obs_column(adata, levels.key)) for levels in self.categorical)
        keys, labels = self.keys, None
        if keys.labels_key in adata.obs:
            labels = CategoricalLevels.register(str(keys.labels_key), adata.obs[keys.labels_key], allow_missing=True)
        else:
            keys = replace(keys, labels_key=None)
        n_cells = int(adata.n_obs)
        return replace(self, keys=keys, labels=labels, n_cells=n_cells, categorical=categorical, extended=True)

    @property
    def added(self) -> dict[str, tuple[Any, ...]]:
        """Covariate → levels that mapped cells added."""
        return {part.key: part.levels[-part.n_added :] for part in self.categorical if part.n_added}

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping of plain Python values that JSON can hold; levels keep their type."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DataSchema":
        """Inverse of :meth:`to_dict`."""
        labels = values["labels"]
        return cls(
            gene_names=tuple(values["gene_names"]),
            keys=SetupKeys(**values["keys"]),
            categorical=tuple(CategoricalLevels(**levels) for levels in values["categorical"]),
            continuous=tuple(ContinuousScaling(**scaling) for scaling in values["continuous"]),
            labels=None if labels is None else CategoricalLevels(**labels),
            n_cells=values["n_cells"],
            size_factors=tuple(values["size_factors"]) if values["size_factors"] else None,
            extended=values.get("extended", False),
        )


def _check_names(adata: "AnnData") -> None:
    if adata.n_obs == 0:
        raise DataError("adata has no cells (0 rows). Was a filter too strict?")
    if adata.n_vars == 0:
        raise DataError("adata has no genes (0 columns). Was a filter too strict?")
    repeated = adata.var_names[adata.var_names.duplicated()].unique()
    if len(repeated):
        raise DataError(
            f"{len(repeated)} gene names occur more than once in adata.var_names: {listing(repeated)}. Genes "
            f"are matched by name, so make them unique: adata.var_names_make_unique()."
        )
