"""What data say without a latent, from their values alone: for fits whose own library has no such model."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from anndata import AnnData

from omicvae._core import choose
from omicvae.data import CellStore, DataSchema, MatrixSummary, SetupKeys, check_support
from omicvae.diagnostics import Structure, base_measure
from omicvae.likelihoods import LIKELIHOODS
from omicvae.metrics.labels import Array, FloatArray, IntArray
from omicvae.metrics.linear import pca_scores, residuals
from omicvae.module import NullModel
from omicvae.readers.fit import Fit
from omicvae.training import (
    covariate_design,
    map_cells,
    null_log_likelihood,
    own_surroundings,
    unexplained_structure,
)

#: w/2 Σ_g (x_g − x̂_g)²: a Gaussian of variance 1/w without its constant
SQUARED_ERROR = "mse"
NULL_LIKELIHOODS = (*LIKELIHOODS, SQUARED_ERROR)
#: likelihood of data by what their values are
USUAL = {"counts": "nb", "binary": "bernoulli", "real": "gaussian"}
SIZE_FACTOR = "size factor"


def support_of(summary: MatrixSummary) -> str:
    """Say whether values are ``"binary"``, ``"counts"`` or ``"real"``."""
    if summary.non_binary is None:
        return "binary"
    return "counts" if summary.fractional is None and summary.negative is None else "real"


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Data of a fit as omicvae's own model without z takes them; made by :meth:`of`.

    ``likelihood`` is that of the fit, or where that is not known the usual one of such values; ``is_density`` whether
    squared errors come with the constant of a Gaussian.
    """

    store: CellStore
    likelihood: str
    precision: float
    is_density: bool

    @classmethod
    def of(cls, fit: Fit) -> Self | None:
        """Read the fit's data; None where it has none.

        Raises
        ------
        DataError
            Where values are not finite, or are none that the likelihood can have produced.
        """
        if fit.matrix is None:
            return None
        columns = {**fit.categorical, **fit.continuous}
        if fit.size_factors_N is not None:
            columns[SIZE_FACTOR] = fit.size_factors_N
        n_cells = fit.matrix.shape[0]
        names = np.arange(n_cells) if fit.cell_names_N is None else fit.cell_names_N
        adata = AnnData(fit.matrix, obs=pd.DataFrame(columns, index=pd.Index(names).astype(str)))
        keys = SetupKeys(
            categorical_covariate_keys=tuple(fit.categorical),
            continuous_covariate_keys=tuple(fit.continuous),
            size_factor_key=None if fit.size_factors_N is None else SIZE_FACTOR,
        )
        store = CellStore.build(adata, DataSchema.register(adata, keys))
        store = store.with_schema(store.schema.fit_scaling(store.continuous_NV[fit.train]))
        likelihood = fit.likelihood or USUAL[support_of(store.summary)]
        data = cls(store, choose("likelihood", likelihood, NULL_LIKELIHOODS), fit.precision, fit.besides_N is not None)
        check_support(store.summary, data.support)
        return data

    @property
    def support(self) -> str:
        """What kind of values the likelihood is of."""
        return "real" if self.likelihood == SQUARED_ERROR else LIKELIHOODS[self.likelihood].support

    @property
    def base_measure(self) -> str:
        """What −log p is a density of."""
        if self.likelihood == SQUARED_ERROR and not self.is_density:
            return f"squared errors of {self.store.n_genes} features, times {self.precision / 2:g}"
        return base_measure(self.support, self.store.n_genes)

    def null_model(self) -> NullModel:
        """Make the model without z; of squared errors it only says how data are seen."""
        schema = self.store.schema
        name = USUAL["real"] if self.likelihood == SQUARED_ERROR else self.likelihood
        with own_surroundings():
            likelihood = LIKELIHOODS[name](schema.n_genes, size_factor=schema.keys.size_factor_key is not None)
            levels, n_continuous = [len(part.levels) for part in schema.categorical], len(schema.continuous)
            return NullModel(likelihood, n_genes=schema.n_genes, n_levels=levels, n_continuous=n_continuous)

    def without_z(
        self, train: IntArray, judged: IntArray, seen: IntArray, seed: int
    ) -> tuple[FloatArray, FloatArray, Structure | None]:
        """Fit the best decoder without z on ``train``.

        Returns −log p(x | c) of the cells ``judged`` and of the cells ``seen``, nats, and what it cannot explain.
        """
        null, store = self.null_model(), self.store
        if self.likelihood == SQUARED_ERROR:
            null.initialise(store.moments(train))
            nll_W, nll_T = (self._squared_errors(train, rows) for rows in (judged, seen))
        else:
            nll_W = -null_log_likelihood(null, store, train, judged, seed=seed, device="cpu")
            nll_T = -map_cells(null, store, seen, lambda batch, start: null(batch))[0]
        return nll_W, nll_T, unexplained_structure(null, store, seed)

    def _squared_errors(self, train: IntArray, rows: IntArray) -> FloatArray:
        """w/2 Σ_g (x_g − x̂_g)² where x̂ is linear in the covariates, by least squares on the training cells."""
        design_NC = np.hstack([np.ones((self.store.n_cells, 1)), covariate_design(self.store)])
        effects_CG = np.linalg.pinv(design_NC[train]) @ self.store.csr(train)
        error_WG = self.store.csr(rows).toarray() - design_NC[rows] @ effects_CG
        return self.precision / 2 * np.einsum("wg,wg->w", error_WG, error_WG)

    def reference(self, n_latent: int, seed: int) -> Array:
        """PCA with as many dimensions as the latent, covariates taken out, (N, K): the yardstick of the probes."""
        scores_NK = pca_scores(self.store.log_normalised(support=self.support), n_latent, seed=seed)
        return residuals(scores_NK, covariate_design(self.store)).astype(np.float32)
