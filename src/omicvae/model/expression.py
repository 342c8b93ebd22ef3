"""Decoded expression, samples from the posterior predictive, differential expression."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scvi.model.base import RNASeqMixin

from omicvae._core import NotSupportedError, SettingError, flag, integral, real
from omicvae._core.noise import numpy_seeded
from omicvae.analysis import DrawInterval
from omicvae.data import Identity, Transform, gene_columns
from omicvae.data.minified import require_data
from omicvae.model.host import adopt
from omicvae.model.state import HasState, looks_once

Tables = dict[str, pd.DataFrame] | dict[str, NDArray[np.float32]]


def _check_out(out: Any, shape: tuple[int, ...], what: str, possible: bool = True) -> None:
    """Hold that ``out`` can take ``what`` is computed, of such a shape, as it is."""
    given = tuple(getattr(out, "shape", ()))
    if given != shape or not possible:
        raise SettingError(f"out has shape {given}, and takes {what} of shape {shape} (cells, genes).")
    if not np.can_cast(np.float32, out.dtype):
        raise SettingError(f"out has dtype {out.dtype}, which would cut expression off; use float32 or float64.")


class ExpressionMixin(HasState):
    """Methods of scvi-tools' ``RNASeqMixin`` that are right here, with its argument names, and intervals."""

    @looks_once
    def get_normalized_expression(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        transform_batch: str | int | Sequence[str | int] | None = None,
        *,
        transform: Mapping[str, Any] | None = None,
        gene_list: Sequence[str] | None = None,
        library_size: float = 1,
        n_samples: int = 1,
        n_samples_overall: int | None = None,
        credible_interval: float | None = None,
        weights: str | None = None,
        batch_size: int | None = None,
        return_mean: bool = True,
        return_numpy: bool | None = None,
        out: Any = None,
        silent: bool = True,
    ) -> pd.DataFrame | NDArray[np.float32] | Tables:
        """Decode expression: ρ = softmax(f(z, c)) times ``library_size`` for counts, the mean in data units else.

        With size factors a count's value is exp(f(z, c)) times ``library_size``.

        Parameters
        ----------
        adata, indices
            Cells, as in ``get_latent_representation``.
        transform_batch
            Decode as if every cell were of this level of ``batch_key``; a sequence averages over its levels.
        transform
            Decode as if every cell had these values of its covariates, categorical and continuous, several at once:
            ``{"batch": "b1", "age": 40.0}``. Together with ``transform_batch`` it sets the others. z stays that of the
            cell as it is.
        gene_list
            Genes to return, by name and in the order of the data.
        library_size
            Library to which counts are scaled; must stay 1 for other likelihoods.
        n_samples, n_samples_overall
            Posterior draws per cell (1: the posterior mean is decoded); or the number of rows drawn over all cells.
        credible_interval
            Level of an interval over the draws of z, such as 0.95, which needs ``n_samples=199`` or so. It holds what
            the cell leaves open, given the network; a network trained on few cells is not sure of its mean either. For
            where a measurement falls see :meth:`predictive_interval`.
        weights
            ``"uniform"`` or None; importance weights are not offered.
        return_mean
            Average over draws, else shape (S, N, G).
        return_numpy
            An array instead of a table with names. None gives a table where each row is a cell of the data, and an
            array of rows drawn over all cells; False gives these a table too, with the name of each row's cell.
        out
            Array of shape (N, G) to write into and return, cells by cells: a ``numpy.memmap`` or a data set of zarr or
            h5py holds what does not fit in memory. :meth:`write_expression` makes such a file.
        silent
            Taken for scvi-tools' sake; there is no progress bar.

        Returns
        -------
        Shape (N, G), or (S, N, G), or (n_samples_overall, G). With ``credible_interval`` a mapping of four of (N, G):
        ``mean``, ``sd``, ``lower`` and ``upper`` over the draws.
        """
        if weights not in (None, "uniform"):
            raise SettingError(f'weights must be None or "uniform", got {weights!r}.')
        scale = self._library(library_size)
        passes = self.state.passes("get_normalized_expression()", adata, indices, batch_size)
        rows, seed = passes.rows, self.state.seed_for("latent")
        draws: int | None = integral("n_samples", n_samples, minimum=1)
        genes, targets = gene_columns(self.schema.gene_names, gene_list), self._targets(transform_batch, transform)
        if credible_interval is not None:
            interval = DrawInterval(credible_interval, integral("n_samples", n_samples))
            if n_samples_overall is not None or not return_mean or out is not None:
                raise SettingError("credible_interval takes no n_samples_overall, return_mean=False or out.")
            values = passes.read_expression(interval, genes, targets, seed=seed, n_samples=draws, scale=scale)
            return self._tables(values, adata, rows, genes, return_numpy)
        draws, overall = None if draws == 1 else draws, n_samples_overall
        if overall is not None:
            overall = integral("n_samples_overall", overall, minimum=1)
            draws = overall // len(rows) + 1
        average = return_mean and overall is None
        if out is not None:
            _check_out(out, (len(rows), len(genes)), "the mean over draws", average)
        values = passes.decode(genes, targets, seed=seed, n_samples=draws, scale=scale, average=average, out=out)
        if overall is not None:
            flat = values.reshape(-1, len(genes))
            chosen = np.random.default_rng(seed).choice(len(flat), overall, replace=False)
            values, rows = flat[chosen], rows[chosen // values.shape[1]]
        elif not average:
            if return_numpy is False:
                raise SettingError("A table holds one value for each cell and gene; return_mean=False needs an array.")
            return values.transpose(1, 0, 2)
        if out is not None or (overall is not None if return_numpy is None else return_numpy):
            return values
        return self._table(values, adata, rows, genes)

    @looks_once
    def predictive_interval(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        level: float = 0.95,
        *,
        transform: Mapping[str, Any] | None = None,
        gene_list: Sequence[str] | None = None,
        n_samples: int = 199,
        batch_size: int | None = None,
        seed: int | None = None,
        return_numpy: bool = False,
    ) -> Tables:
        """Where another measurement of the same cells falls: the interval between draws x̂ of the posterior predictive.

        x̂ ~ p(x | z, c) with z ~ q(z | x, c) and the cell's own library, ``n_samples`` times; lower and upper end leave
        out as many draws on either side. A new measurement of the cell falls between them with probability ``level``,
        as far as the model is right; with more for counts and 0/1, whose steps are coarser than that. The cell's own x,
        from which z was inferred, does so a little more often.

        Returns
        -------
        Mapping of four tables (N, G), or arrays with ``return_numpy``: ``mean``, ``sd``, ``lower``, ``upper``, in data
        units.

        Raises
        ------
        SettingError
            If there are too few draws for the level.
        """
        interval = DrawInterval(level, integral("n_samples", n_samples, minimum=1))
        passes = self.state.passes("predictive_interval()", adata, indices, batch_size)
        genes, target = gene_columns(self.schema.gene_names, gene_list), Transform.of(self.schema, transform)
        seed = self.state.seed_for("latent", seed)
        values = passes.read_samples(interval, genes, target, seed=seed, n_samples=interval.n_draws)
        return self._tables(values, adata, passes.rows, genes, return_numpy)

    def posterior_predictive_sample(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        transform_batch: str | int | Sequence[str | int] | None = None,
        n_samples: int = 1,
        gene_list: Sequence[str] | None = None,
        batch_size: int | None = None,
        *,
        transform: Mapping[str, Any] | None = None,
        seed: int | None = None,
        out: Any = None,
        silent: bool = True,
    ) -> Any:
        """Draw x̂ ~ p(x | z, c) with z ~ q(z | x, c), in data units and with each cell's own library.

        ``transform`` and ``transform_batch`` as in :meth:`get_normalized_expression`, one level of the batch; ``out``
        as there, of the shape returned here.

        Returns
        -------
        A ``sparse.GCXS`` array (N, G), or (N, G, S) for several draws, as scvi-tools does; or ``out``.
        """
        import sparse

        passes = self.state.passes("posterior_predictive_sample()", adata, indices, batch_size)
        targets = self._targets(transform_batch, transform)
        if len(targets) > 1:
            raise SettingError("Samples cannot be averaged over batches; pass one level as transform_batch.")
        n_samples, seed = integral("n_samples", n_samples, minimum=1), self.state.seed_for("latent", seed)
        genes = gene_columns(self.schema.gene_names, gene_list)
        shape = (len(passes.rows), len(genes), *([n_samples] if n_samples > 1 else []))
        if out is not None:
            _check_out(out, shape, "draws")
        values = passes.sample(genes, targets[0], seed=seed, n_samples=n_samples, out=out)
        return values if out is not None else sparse.GCXS.from_numpy(values)

    def get_likelihood_parameters(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        n_samples: int = 1,
        give_mean: bool = False,
        batch_size: int | None = None,
        *,
        transform: Mapping[str, Any] | None = None,
        gene_list: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """Parameters of p(x | z, c) by name, in data units and with each cell's own library.

        ``"nb"``: ``mean`` μ, ``dispersions`` θ. ``"zinb"``: the same of the counts before extra zeros, and ``dropout``
        π. ``"poisson"``: ``mean``. ``"gaussian"``: ``mean``, ``sd``. ``"student_t"``: ``mean``, ``scale``,
        ``degrees_of_freedom``. ``"bernoulli"``: ``mean``, the probability of a 1. Names are scvi-tools' where it has
        one.

        Parameters
        ----------
        n_samples
            Posterior draws of z per cell; 1 takes the posterior mean.
        give_mean
            Average parameters over draws.

        Returns
        -------
        Arrays (N, G), or (S, N, G) for several draws.
        """
        passes = self.state.passes("get_likelihood_parameters()", adata, indices, batch_size)
        n_samples, average = integral("n_samples", n_samples, minimum=1), flag("give_mean", give_mean)
        genes = gene_columns(self.schema.gene_names, gene_list)
        draw, target = passes.draws(self.state.seed_for("latent", seed)), Transform.of(self.schema, transform)

        def at_draw(s: int) -> dict[str, NDArray[np.float32]]:
            z_NK = passes.encode(lambda q, start: q.mean_BK if n_samples == 1 else draw(q, start, s))[0]
            return passes.parameters(z_NK, genes, target)

        if n_samples > 1 and not average:
            drawn = [at_draw(s) for s in range(n_samples)]
            return {name: np.stack([values[name] for values in drawn]) for name in drawn[0]}
        mean = at_draw(0)
        for s in range(1, n_samples):  # a draw at a time: they fill no memory
            for name, values in at_draw(s).items():
                mean[name] += (values - mean[name]) / (s + 1)
        return mean

    def differential_expression(self, adata: AnnData | None = None, **arguments: Any) -> pd.DataFrame:
        """Differential expression of counts as in scvi-tools (Lopez et al. 2018; Boyeau et al. 2019).

        Arguments are those of ``scvi.model.SCVI.differential_expression``. Only for count likelihoods: its fold
        changes are ratios of ρ. The pairs of cells that scvi-tools compares are drawn by the model's seed. ``adata``
        has other cells, matched by gene and level name. Cells are its unit, so that it makes no claim about donors:
        see :meth:`effects`.
        """
        self.state.require_trained("differential_expression()")
        require_data(self.state.adata if adata is None else adata, "differential_expression()")
        if self.module.likelihood.support != "counts":
            raise NotSupportedError(
                f"differential_expression() compares proportions of counts, and this model's likelihood is "
                f"{self.config.likelihood!r}. Compare groups by effects(), or get_normalized_expression()."
            )
        if adata is not None and adata is not self.state.adata:
            return self._with_cells(adata).differential_expression(**arguments)
        if tuple(self.state.own_adata().var_names) != self.schema.gene_names:
            raise NotSupportedError(
                "differential_expression() names genes by their place: the data's genes must be the model's, in its "
                "order. Load the model with adata[:, list(model.schema.gene_names)].copy()."
            )
        with self.state.one_look(), numpy_seeded(self.state.seed_for("differences")):
            return RNASeqMixin.differential_expression(self, adata, **arguments)

    def _with_cells(self, adata: AnnData) -> Any:
        """Return a model of the same network whose own cells are these, their genes in the model's order."""
        self.state.cells(adata)  # checks them before genes are looked up
        part, state = adata[:, list(self.schema.gene_names)], copy(self.state)
        aligned = part.to_memory() if part.isbacked else part.copy()
        state.split, state.known = None, {}
        state.attach(aligned, state.cells(aligned), Identity.of(aligned, self.schema.keys))
        return adopt(object.__new__(type(self)), state)

    def _validate_anndata(self, adata: AnnData | None = None, copy_if_view: bool = True) -> AnnData:
        """scvi-tools' hook; genes and levels are checked by name where cells are encoded."""
        return self.state.adata if adata is None else adata

    def _library(self, library_size: Any) -> float:
        if library_size == "latent":
            raise SettingError(
                'library_size="latent" is not offered: omicvae uses the observed library. Pass a number.'
            )
        scale = real("library_size", library_size)
        if scale <= 0:
            raise SettingError(f"library_size must be above 0, got {scale:g}; 1 gives proportions.")
        if scale != 1 and self.module.likelihood.support != "counts":
            raise SettingError(
                f"library_size={scale!r} scales counts; this model's likelihood is "
                f"{self.config.likelihood!r}. Leave library_size at 1."
            )
        return scale

    def _table(self, values: Any, adata: AnnData | None, rows: NDArray[np.int64], genes: list[int]) -> pd.DataFrame:
        cells = (self.state.own_adata() if adata is None else adata).obs_names[rows]
        return pd.DataFrame(values, index=cells, columns=[self.schema.gene_names[g] for g in genes])

    def _tables(
        self, values: list[Any], adata: AnnData | None, rows: NDArray[np.int64], genes: list[int], arrays: bool | None
    ) -> Tables:
        """Name mean, SD and ends, as tables or arrays."""
        named = dict(zip(("mean", "sd", "lower", "upper"), values, strict=True))
        return named if arrays else {name: self._table(value, adata, rows, genes) for name, value in named.items()}

    def _targets(
        self, levels: str | int | Sequence[str | int] | None, transform: Mapping[str, Any] | None
    ) -> list[Transform]:
        """Covariates to decode with: those of ``transform``, and each level of the batch; else the cell's own."""
        others = Transform.of(self.schema, transform)
        wanted: list[Any] = [levels] if np.ndim(levels) == 0 else list(levels)  # type: ignore[arg-type]
        if wanted == [None]:
            return [others]
        if self.schema.keys.batch_key is None:
            raise SettingError("transform_batch needs a batch_key, and this model was set up without one.")
        if 0 in others.codes:
            raise SettingError(f"transform and transform_batch both set {self.schema.keys.batch_key!r}; drop one.")
        batches = self.schema.categorical[0]
        codes = [batches.code(level) for level in wanted]
        if None in codes:
            raise SettingError(f"transform_batch={levels!r}: known levels of {batches.key!r} are {batches.levels}.")
        return [Transform({**others.codes, 0: code}, others.values) for code in codes if code is not None]
