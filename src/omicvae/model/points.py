"""Points at which a model decodes, and the AnnData that they become."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from omicvae._core import DataError, SettingError, integral, keys
from omicvae.data import CellStore, Covariates, column_levels, covariate_frame
from omicvae.model.provenance import record
from omicvae.model.state import ModelState
from omicvae.training import CellPasses

Values = dict[str, NDArray[np.float32]]
#: float32 counts no further by ones long before that
LARGEST_LIBRARY = 1e12


def libraries(state: ModelState, library_size: Any, n: int, default: Any = 1.0) -> NDArray[np.float64]:
    """Return ℓ, or s, of n points from a number for all, or one for each; None is the default.

    Raises
    ------
    SettingError
        On anything else, or where the likelihood has no library.
    """
    counts = state.module.likelihood.support == "counts"
    if library_size is not None and not counts and not np.array_equal(library_size, 1):
        raise SettingError(
            f"library_size={library_size!r} scales counts; this model's likelihood is {state.config.likelihood!r}. "
            "Leave library_size out."
        )
    given = np.asarray(1.0 if not counts else default if library_size is None else library_size)
    values = given.astype(np.float64) if given.dtype.kind in "iuf" else np.full(1, np.nan)
    values = values.reshape(-1)
    if len(values) not in (1, n) or not ((values > 0) & (values <= LARGEST_LIBRARY)).all():
        raise SettingError(
            f"library_size must be a number above 0, at most {LARGEST_LIBRARY:g}, or {n} of them, one for each point; "
            f"got {library_size!r}."
        )
    return np.ones(n) * values


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """N points to decode: z (N, K), covariates, ℓ or s (N,), and names."""

    state: ModelState
    z_NK: NDArray[np.floating[Any]]
    covariates: Covariates
    library_N: NDArray[np.float64]
    names: pd.Index

    @property
    def passes(self) -> CellPasses:
        """The passes over these points."""
        store = CellStore.of_points(self.state.schema, *self.covariates, self.library_N)
        return CellPasses(self.state.module, store)

    def parameters(self) -> Values:
        """Parameters of p(x | z, c), each (N, G)."""
        return self.passes.parameters(self.z_NK, range(len(self.state.schema.gene_names)))

    def draw(self, seed: int) -> Any:
        """x̂ ~ p(x | z, c), (N, G): CSR of counts and 0/1, an array of real values."""
        passes = self.passes
        sparse = None if self.state.module.likelihood.support == "real" else _CsrRows()

        def read(heads: dict[str, Any], batch: Any, start: int) -> Any:
            return passes.observed(heads, batch, start, seed)

        drawn = passes.at(self.z_NK, read, out=sparse)
        return drawn[0] if sparse is None else sparse.matrix()

    def with_prior_draws(self, seed: int, temperature: float) -> "Points":
        """Return the points with z ~ p(z | c)."""
        return replace(self, z_NK=self.passes.prior_draws(seed, temperature))

    def anndata(self, method: str, x: Any, layers: Mapping[str, Any], **call: Any) -> AnnData:
        """Return X, layers, names, covariates and libraries in ``obs``, z in ``obsm``, and what made it in ``uns``."""
        schema = self.state.schema
        obs = covariate_frame(schema, self.covariates, self.names)
        library = schema.keys.size_factor_key or "library_size"
        if self.state.module.likelihood.support == "counts" and library not in obs:  # a covariate may have the name
            obs[library] = self.library_N
        return AnnData(
            x,
            obs=obs,
            var=pd.DataFrame(index=pd.Index(schema.gene_names)),
            obsm={keys.LATENT: self.z_NK},
            layers=dict(layers),
            uns={keys.UNS: {keys.GENERATION: record(self.state, method=method, **call)}},
        )


class _CsrRows:
    """Takes slices of rows one after the other and keeps their non-zeros."""

    def __init__(self) -> None:
        self.parts: list[sp.csr_matrix] = []

    def __setitem__(self, rows: slice, values: NDArray[np.float32]) -> None:
        self.parts.append(sp.csr_matrix(values))

    def matrix(self) -> sp.csr_matrix:
        """Return them all."""
        return sp.vstack(self.parts, format="csr")


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A latent vector of the model's own cells: of one, or the mean of a group; with their covariates.

    Attributes
    ----------
    codes_D
        Level codes; −1 where the cells of the group have several.
    continuous_V
        Means, in the user's units.
    """

    z_K: NDArray[np.float32]
    codes_D: NDArray[np.int64]
    continuous_V: NDArray[np.float64]

    @classmethod
    def of(cls, state: ModelState, what: str, where: Any) -> "Place":
        """Find a cell by row or name, a group by a mapping from columns of ``obs`` to levels, or take all cells (None).

        Raises
        ------
        SettingError, DataError
            On a cell or column that the model's data do not have, or a group without cells.
        """
        state.require_trained(what)
        adata = state.own_adata()
        rows = _rows(adata, what, where)
        passes = state.passes(what, None, rows.tolist())
        mean_NK = passes.encode(lambda q, start: q.mean_BK)[0]
        codes_ND, continuous_NV = passes.store.codes_ND[rows], passes.store.continuous_NV[rows]
        codes_D = np.where((codes_ND == codes_ND[0]).all(0), codes_ND[0], -1)
        return cls(mean_NK.mean(0, dtype=np.float64).astype(np.float32), codes_D, continuous_NV.mean(0))

    def codes(self, state: ModelState, named: Mapping[str, Any]) -> NDArray[np.int64]:
        """Return the codes; raise where some are not known and not named."""
        open_ = [
            part.key
            for part, code in zip(state.schema.categorical, self.codes_D, strict=True)
            if code < 0 and part.key not in named
        ]
        if open_:
            raise SettingError(
                f"The cells of this group have several levels of {open_[0]!r}. Say which to decode with: "
                f"covariates={{{', '.join(f'{key!r}: ...' for key in open_)}}}."
            )
        return self.codes_D


def _rows(adata: AnnData, what: str, where: Any) -> NDArray[np.int64]:
    if where is None:
        return np.arange(adata.n_obs)
    if isinstance(where, str):
        rows = np.flatnonzero(adata.obs_names == where)
        if len(rows) != 1:
            raise DataError(f"{what}: {len(rows)} cells of the model's data are named {where!r}; one is needed.")
        return rows
    if not isinstance(where, Mapping):
        row = integral("The row of a cell", where, minimum=0)
        if row >= adata.n_obs:
            raise SettingError(f"{what}: row {row} is not among the model's {adata.n_obs} cells.")
        return np.array([row])
    chosen_N = np.ones(adata.n_obs, bool)
    for key, level in where.items():
        levels, codes_N = column_levels(adata, key)
        chosen_N &= codes_N == levels.require_code(level, what)
    if not chosen_N.any():
        raise DataError(f"{what}: no cell of the model's data has {dict(where)!r}.")
    return np.flatnonzero(chosen_N)
