"""Decoding and generation: what the decoder makes of latent vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from omicvae._core import DataError, NotSupportedError, SettingError, choose, integral, real
from omicvae._core.noise import cell_noise
from omicvae.data import CellStore, Covariates, named_covariates, point_covariates
from omicvae.model.points import Place, Points, libraries
from omicvae.model.state import HasState, looks_once, rows_of

SOURCES = ("prior", "aggregate")


class GenerationMixin(HasState):
    """From latent vectors to data: each method returns an AnnData with names, covariates, z and provenance."""

    def decode(self, z: Any, covariates: Any = None, library_size: Any = None) -> AnnData:
        """Decode latent vectors: the mean of p(x | z, c) in ``X``, its further parameters in ``layers``.

        For counts the mean is μ = library_size · softmax(f(z, c)), or library_size · exp(f(z, c)) where the model has
        size factors; with extra zeros (``"zinb"``) that is before them, and E[x] = (1 − ``layers["dropout"]``) · X.

        Parameters
        ----------
        z
            Latent vectors (N, K), an array or a DataFrame, whose index names the points.
        covariates
            Mapping or DataFrame with the value of each covariate, one for all points or one for each, matched by name
            where z and they name the same points. Every covariate of the model with more than one level must be named.
        library_size
            Counts: ℓ, or s, for all points or one for each. None for 1: shares of the library.

        Returns
        -------
        AnnData (N, G): ``obs`` has the covariates, ``obsm["X_omicvae"]`` z. Layers, by likelihood: ``dispersions`` θ
        (nb, zinb), ``dropout`` (zinb), ``sd`` (gaussian), ``scale`` and ``degrees_of_freedom`` (student_t).

        Raises
        ------
        SettingError, DataError
            If z has another shape or is not finite, a covariate is missing or unknown, or a level is unknown.
        """
        self.state.require_trained("decode()")
        z_NK, names = self._latent_vectors(z)
        n = len(z_NK)
        at = point_covariates(self.schema, named_covariates(self.schema, covariates, n, names), n)
        return self._decoded("decode", Points(self.state, z_NK, at, libraries(self.state, library_size, n), names))

    @looks_once
    def generate(
        self,
        n: int,
        covariates: Any = None,
        source: str | Sequence[int] = "prior",
        *,
        temperature: float = 1.0,
        library_size: Any = None,
        seed: int | None = None,
    ) -> AnnData:
        """Generate n cells: x̂ ~ p(x | z, c) in data units, z from ``source``.

        Each generated cell has a cell of the model's own behind it, which gives the library (or size factor) and every
        covariate that is not named: under ``"prior"`` a random training cell that has the named levels, or any where
        none has; else the cell whose posterior z is drawn from.

        Parameters
        ----------
        covariates
            As in :meth:`decode`, but none needs to be named.
        source
            ``"prior"``: z ~ p(z | c). ``"aggregate"``: z ~ q(z | x, c) of random training cells, the aggregate
            posterior, which is what the decoder was trained on. Or rows of the model's own cells: draws of their
            posteriors, cell after cell and round again.
        temperature
            Factor of the SD of z: 0 for the mean of prior or posterior. Of the VampPrior a component is drawn, and its
            SD scaled.
        library_size
            Counts: ℓ, or s, for all cells or one for each, instead.
        seed
            None for the model's. A cell's draw is a function of it and of the cell's number.

        Returns
        -------
        AnnData (n, G), CSR for counts and 0/1; ``obs["source_cell"]`` names the cell behind each. Where the model reads
        a layer, that layer holds the same values, so that the model takes generated cells as it does any.

        Raises
        ------
        NotSupportedError
            If the model has no data and something must come from them.
        SettingError, DataError
            As in :meth:`decode`.
        """
        state, n = self.state, integral("n", n, minimum=1)
        state.require_trained("generate()")
        temperature = real("temperature", temperature, minimum=0.0)
        given, seed = state.config.seed if seed is None else seed, state.seed_for("generation", seed)
        names = pd.Index([f"generated_{i}" for i in range(n)])
        named = named_covariates(self.schema, covariates, n)
        from_prior = isinstance(source, str) and choose("source", source, SOURCES) == SOURCES[0]
        if from_prior and state.adata is None:
            points = self._without_cells(n, named, library_size, names)
        else:
            behind_N = self._cells_behind(n, named, source, np.random.default_rng(seed))
            points = self._from_cells(behind_N, named, library_size, names)
        if from_prior:
            points = points.with_prior_draws(seed, temperature)
        else:
            points = replace(points, z_NK=self._posterior_draws(behind_N, seed, temperature))
        x, layer = points.draw(seed), self.schema.keys.layer
        origin = source if isinstance(source, str) else "cells"
        call = {"source": origin, "temperature": temperature, "seed": given, "covariates": covariates}
        made = points.anndata("generate", x, {} if layer is None else {layer: x}, **call)
        if state.adata is not None:
            made.obs["source_cell"] = state.adata.obs_names[behind_N].to_numpy()
        return made

    @looks_once
    def interpolate(
        self, start: Any, end: Any, n: int = 11, *, covariates: Any = None, library_size: Any = None
    ) -> AnnData:
        """Decode the straight line z_t = (1 − t) z_start + t z_end at n points, t from 0 to 1.

        Continuous covariates go along the line too. Where start and end differ in levels, both are decoded at every z_t
        and mixed, X = (1 − t) f(z_t, c_start) + t f(z_t, c_end): the network is asked about no level that it never saw.

        Parameters
        ----------
        start, end
            Of the model's own cells: one by row or by name; or a group by a mapping from columns of ``obs`` to levels,
            such as ``{"condition": "ctrl"}``, whose mean z is taken.
        n
            Number of points, at least 2.
        covariates
            Fixed along the line, instead of those of start and end. A group whose cells have several levels of a
            covariate needs it named.
        library_size
            As in :meth:`decode`.

        Returns
        -------
        AnnData (n, G) as of :meth:`decode`, with t in ``obs["fraction"]``; without layers where levels are mixed.
        """
        n, what = integral("n", n, minimum=2), "interpolate()"
        named = named_covariates(self.schema, covariates, n)
        first, last = (Place.of(self.state, what, where) for where in (start, end))
        t_N1 = np.linspace(0, 1, n)[:, None]
        z_NK, continuous_NV = (
            (1 - t_N1) * a + t_N1 * b for a, b in ((first.z_K, last.z_K), (first.continuous_V, last.continuous_V))
        )
        ends = [
            self._along(z_NK, np.tile(place.codes(self.state, named), (n, 1)), continuous_NV, named, library_size)
            for place in (first, last)
        ]
        call = {"start": start, "end": end, "covariates": covariates}
        differ_D = (ends[0].covariates[0] != ends[1].covariates[0]).any(0)
        if not differ_D.any():
            made = self._decoded("interpolate", ends[0], **call)
        else:
            means = [points.parameters()["mean"] for points in ends]
            mixed_NG = ((1 - t_N1) * means[0] + t_N1 * means[1]).astype(np.float32)
            made = ends[0].anndata("interpolate", mixed_NG, {}, **call)
            for d in np.flatnonzero(differ_D):
                levels = self.schema.categorical[d].levels
                pairs = zip(ends[0].covariates[0][:, d], ends[1].covariates[0][:, d], t_N1[:, 0], strict=True)
                made.obs[self.schema.categorical[d].key] = pd.Categorical(
                    [_between(levels[a], levels[b], t) for a, b, t in pairs]
                )
        made.obs["fraction"] = t_N1[:, 0]
        return made

    @looks_once
    def traverse(
        self,
        dimension: int,
        values: Sequence[float],
        at: Any = None,
        *,
        covariates: Any = None,
        library_size: Any = None,
    ) -> AnnData:
        """Decode one latent vector with one dimension set to each of ``values``, all others held.

        Parameters
        ----------
        dimension
            0 to K − 1.
        values
            In units of z.
        at
            Where to start: a cell or a group as in :meth:`interpolate`; a vector (K,), with which every covariate must
            be named; None for the mean of all cells.
        covariates, library_size
            As in :meth:`interpolate`.

        Returns
        -------
        AnnData as of :meth:`decode`, a row for each value, which stands in ``obs["value"]``.
        """
        values_N = np.atleast_1d(np.asarray(values))
        n, n_latent = len(values_N), self.config.architecture.n_latent
        dimension = integral("dimension", dimension, minimum=0)
        if dimension >= n_latent:
            raise SettingError(f"dimension must be from 0 to {n_latent - 1}, got {dimension}.")
        if values_N.ndim != 1 or n == 0 or values_N.dtype.kind not in "iuf" or not np.isfinite(values_N).all():
            raise SettingError(f"values must be finite numbers, one or more, got {values!r}.")
        self.state.require_trained("traverse()")
        named = named_covariates(self.schema, covariates, n)
        if isinstance(at, np.ndarray | list | tuple):
            z_NK = np.tile(self._latent_vectors(np.asarray(at)[None])[0], (n, 1))
            codes_ND, continuous_NV = point_covariates(self.schema, named, n)
        else:
            place = Place.of(self.state, "traverse()", at)
            z_NK = np.tile(place.z_K, (n, 1))
            codes_ND = np.tile(place.codes(self.state, named), (n, 1))
            continuous_NV = np.tile(place.continuous_V, (n, 1))
        z_NK[:, dimension] = values_N
        points = self._along(z_NK, codes_ND, continuous_NV, named, library_size)
        made = self._decoded("traverse", points, dimension=dimension, at=at, covariates=covariates)
        made.obs["value"] = values_N
        return made

    def _latent_vectors(self, z: Any) -> tuple[NDArray[np.float32], pd.Index]:
        n_latent = self.config.architecture.n_latent
        z_NK = np.asarray(z)
        if z_NK.dtype.kind == "f":
            with np.errstate(over="ignore"):  # what float32 does not hold is infinite
                z_NK = z_NK.astype(np.float32)
        if z_NK.ndim != 2 or z_NK.shape[1] != n_latent or len(z_NK) == 0:
            raise DataError(f"z must have shape (points, {n_latent}), got {z_NK.shape}.")
        if z_NK.dtype.kind not in "iuf" or not np.isfinite(z_NK).all():
            raise DataError("z must hold finite numbers; some are NaN, infinite, or none.")
        names = z.index.astype(str) if isinstance(z, pd.DataFrame) else [f"point_{i}" for i in range(len(z_NK))]
        return z_NK.astype(np.float32), pd.Index(names)

    def _decoded(self, method: str, points: Points, **call: Any) -> AnnData:
        values = points.parameters()
        return points.anndata(method, values.pop("mean"), values, **call)

    def _along(
        self,
        z_NK: NDArray[Any],
        codes_ND: NDArray[np.int64],
        continuous_NV: NDArray[np.float64],
        named: Mapping[str, NDArray[Any]],
        library_size: Any,
    ) -> Points:
        n = len(z_NK)
        at = point_covariates(self.schema, named, n, (codes_ND, continuous_NV))
        names = pd.Index([f"point_{i}" for i in range(n)])
        return Points(self.state, z_NK.astype(np.float32), at, libraries(self.state, library_size, n), names)

    def _without_cells(self, n: int, named: Mapping[str, Any], library_size: Any, names: pd.Index) -> Points:
        """Points of a model without data: everything must be named."""
        if library_size is None and self.module.likelihood.support == "counts":
            raise NotSupportedError(
                "This model was loaded without data, so libraries must be named: pass library_size=, or load it with "
                "CVAE.load(path, adata=adata)."
            )
        at = point_covariates(self.schema, named, n)
        return Points(self.state, np.empty((n, 0)), at, libraries(self.state, library_size, n), names)

    def _from_cells(
        self, behind_N: NDArray[np.int64], named: Mapping[str, Any], library_size: Any, names: pd.Index
    ) -> Points:
        """Points with libraries and the covariates that are not named from the cells behind them."""
        store, n = self.state.cells(), len(behind_N)
        own: Covariates = (store.codes_ND[behind_N], store.continuous_NV[behind_N])
        library_N = libraries(self.state, library_size, n, store.library_N[behind_N])
        return Points(self.state, np.empty((n, 0)), point_covariates(self.schema, named, n, own), library_N, names)

    def _cells_behind(
        self, n: int, named: Mapping[str, Any], source: str | Sequence[int], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Choose the own cell behind each of n generated ones."""
        store, split = self.state.cells(), self.state.own_split()
        if not isinstance(source, str):
            return np.resize(rows_of(source, store.n_cells), n)
        trained = np.arange(store.n_cells) if split is None else split.train
        wanted = {} if source == SOURCES[1] else named
        return _alike(store, trained, wanted, rng, n)

    def _posterior_draws(self, behind_N: NDArray[np.int64], seed: int, temperature: float) -> NDArray[np.float32]:
        """Draw z ~ q(z | x, c) of the cells behind, anew for each generated cell."""
        passes = self.state.passes("generate()", None, behind_N.tolist())
        mean_NK, sd_NK = passes.encode(lambda q, start: (q.mean_BK, q.sd_BK))
        noise_NK = cell_noise(np.arange(len(behind_N)), mean_NK.shape[1], seed)
        return np.asarray(mean_NK + np.float32(temperature) * sd_NK * noise_NK)


def _alike(
    store: CellStore, rows: NDArray[np.int64], named: Mapping[str, Any], rng: np.random.Generator, n: int
) -> NDArray[np.int64]:
    """Choose one of ``rows`` for each of n points: of those with its named levels, or of all where none has them."""
    random_N = rng.random(n)  # a number for each point, whatever is chosen for the others
    chosen_N = rows[(random_N * len(rows)).astype(np.int64)]
    columns = {d: named[part.key] for d, part in enumerate(store.schema.categorical) if part.key in named}
    if columns:
        wanted_ND, own_ND = np.stack(list(columns.values()), axis=1), store.codes_ND[rows][:, list(columns)]
        for levels_D in np.unique(wanted_ND, axis=0):
            points, cells = np.flatnonzero((wanted_ND == levels_D).all(1)), rows[(own_ND == levels_D).all(1)]
            if len(cells):
                chosen_N[points] = cells[(random_N[points] * len(cells)).astype(np.int64)]
    return chosen_N


def _between(start: Any, end: Any, fraction: float) -> str:
    return str(start) if fraction == 0 else str(end) if fraction == 1 else f"{start} → {end}"
