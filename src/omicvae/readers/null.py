"""What data say without a latent, from their values alone: for fits whose own library has no such model."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from omicvae._core import choose
from omicvae.data import USUAL, CellStore, DataSchema, SetupKeys, check_support, support_of
from omicvae.diagnostics import Structure, base_measure
from omicvae.likelihoods import LIKELIHOODS
from omicvae.metrics.labels import Array, FloatArray, IntArray
from omicvae.module import NullModel
from omicvae.readers.fit import Fit
from omicvae.training import (
    covariate_design,
    map_cells,
    null_log_likelihood,
    own_surroundings,
    reference_scores,
    unexplained_structure,
)

#: w/2 Σ_g (x_g − x̂_g)²: a Gaussian of variance 1/w without its constant
SQUARED_ERROR = "mse"
NULL_LIKELIHOODS = (*LIKELIHOODS, SQUARED_ERROR)
SIZE_FACTOR = "size factor"


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Data of a fit as omicvae's own model without z takes them; made by :func:`data_of`.

    ``likelihood`` is that of the fit, or where that is not known the usual one of such values.
    """

    store: CellStore
    likelihood: str

    @property
    def support(self) -> str:
        """What kind of values the likelihood is of."""
        return LIKELIHOODS[self.likelihood].support

    @property
    def base_measure(self) -> str:
        """What −log p is a density of."""
        return base_measure(self.support, self.store.n_genes)

    def null_model(self) -> NullModel:
        """Make the model without z, which also says how data are seen."""
        schema = self.store.schema
        with own_surroundings():
            likelihood = LIKELIHOODS[self.likelihood](
                schema.n_genes, size_factor=schema.keys.size_factor_key is not None
            )
            levels, n_continuous = [len(part.levels) for part in schema.categorical], len(schema.continuous)
            return NullModel(likelihood, n_genes=schema.n_genes, n_levels=levels, n_continuous=n_continuous)

    def without_z(
        self, train: IntArray, judged: IntArray, seen: IntArray, seed: int
    ) -> tuple[FloatArray, FloatArray, Structure | None]:
        """Fit the best decoder without z on ``train``.

        Returns −log p(x | c) of the cells ``judged`` and of the cells ``seen``, nats, and what it cannot explain.
        """
        null, store = self.null_model(), self.store
        nll_W = -null_log_likelihood(null, store, train, judged, seed=seed, device="cpu")
        nll_T = -map_cells(null, store, seen, lambda batch, start: null(batch))[0]
        return nll_W, nll_T, unexplained_structure(null, store, seed)

    def reference(self, n_latent: int, seed: int) -> Array:
        """PCA with as many dimensions as the latent, (N, K): the yardstick of the probes."""
        return reference_scores(self.store, self.support, n_latent, seed)


@dataclass(frozen=True, slots=True, eq=False)
class SquaredErrors(Data):
    """Real values explained by w/2 Σ_g (x_g − x̂_g)², for which the best decoder without z is a linear one.

    ``precision`` is w; ``is_density`` whether the constant of a Gaussian comes with it.
    """

    precision: float
    is_density: bool

    @property
    def base_measure(self) -> str:
        """What −log p is a density of, or that it is none."""
        if self.is_density:
            return base_measure(self.support, self.store.n_genes)
        return f"squared errors of {self.store.n_genes} features, times {self.precision / 2:g}"

    def without_z(
        self, train: IntArray, judged: IntArray, seen: IntArray, seed: int
    ) -> tuple[FloatArray, FloatArray, Structure | None]:
        """Fit x̂ that is linear in the covariates by least squares on ``train``; as :meth:`Data.without_z`."""
        null, store = self.null_model(), self.store
        null.initialise(store.moments(train))
        design_NC = np.hstack([np.ones((store.n_cells, 1)), covariate_design(store)])
        effects_CG = np.linalg.pinv(design_NC[train]) @ store.csr(train)

        def errors(rows: IntArray) -> FloatArray:
            error_WG = store.csr(rows).toarray() - design_NC[rows] @ effects_CG
            return self.precision / 2 * np.einsum("wg,wg->w", error_WG, error_WG)

        return errors(judged), errors(seen), unexplained_structure(null, store, seed)


def data_of(fit: Fit) -> Data | None:
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
    names = np.arange(fit.matrix.shape[0]) if fit.cell_names_N is None else fit.cell_names_N
    adata = AnnData(fit.matrix, obs=pd.DataFrame(columns, index=pd.Index(names).astype(str)))
    keys = SetupKeys(
        categorical_covariate_keys=tuple(fit.categorical),
        continuous_covariate_keys=tuple(fit.continuous),
        size_factor_key=None if fit.size_factors_N is None else SIZE_FACTOR,
    )
    store = CellStore.build(adata, DataSchema.register(adata, keys))
    store = store.with_schema(store.schema.fit_scaling(store.continuous_NV[fit.train]))
    likelihood = choose("likelihood", fit.likelihood or USUAL[support_of(store.summary)], NULL_LIKELIHOODS)
    data = Data(store, likelihood)
    if likelihood == SQUARED_ERROR:
        data = SquaredErrors(store, USUAL["real"], fit.precision, fit.besides_N is not None)
    check_support(store.summary, data.support)
    return data
