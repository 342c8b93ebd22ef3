"""Decoded expression, samples from the posterior predictive, differential expression."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scvi.model.base import RNASeqMixin

from omicvae._core import DataError, NotSupportedError, SettingError, integral, real
from omicvae._core.noise import numpy_seeded
from omicvae.data import Identity, Transform
from omicvae.model.host import adopt
from omicvae.model.state import HasState
from omicvae.training import OWN


def _check_out(out: Any, shape: tuple[int, int], average: bool) -> None:
    """Hold that ``out`` can take the means over draws, of such a shape, as they are."""
    if tuple(out.shape) != shape or not average:
        raise SettingError(
            f"out has shape {tuple(out.shape)}, and takes the mean over draws of shape {shape} (cells, genes)."
        )
    if not np.can_cast(np.float32, out.dtype):
        raise SettingError(f"out has dtype {out.dtype}, which would cut expression off; use float32 or float64.")


class ExpressionMixin(HasState):
    """Methods of scvi-tools' ``RNASeqMixin`` that are right here, with its argument names."""

    def get_normalized_expression(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        transform_batch: str | int | Sequence[str | int] | None = None,
        *,
        gene_list: Sequence[str] | None = None,
        library_size: float = 1,
        n_samples: int = 1,
        n_samples_overall: int | None = None,
        weights: str | None = None,
        batch_size: int | None = None,
        return_mean: bool = True,
        return_numpy: bool | None = None,
        out: Any = None,
        silent: bool = True,
    ) -> pd.DataFrame | NDArray[np.float32]:
        """Decode expression: ρ = softmax(f(z, c)) times ``library_size`` for counts, the mean in data units else.

        With size factors a count's value is exp(f(z, c)) times ``library_size``.

        Parameters
        ----------
        adata, indices
            Cells, as in ``get_latent_representation``.
        transform_batch
            Decode as if every cell were of this level of ``batch_key``; a sequence averages over its levels.
        gene_list
            Genes to return, by name and in the order of the data.
        library_size
            Library to which counts are scaled; must stay 1 for other likelihoods.
        n_samples, n_samples_overall
            Posterior draws per cell (1: the posterior mean is decoded); or the number of rows drawn over all cells.
        weights
            ``"uniform"`` or None; importance weights are not offered.
        return_mean
            Average over draws, else shape (S, N, G).
        return_numpy
            An array instead of a table with names. None gives a table where each row is a cell of the data, and an
            array of rows drawn over all cells; False gives these a table too, with the name of each row's cell.
        out
            Array of shape (N, G) to write into and return, cells by cells: a ``numpy.memmap`` or a data set of zarr or
            h5py holds what does not fit in memory.
        silent
            Taken for scvi-tools' sake; there is no progress bar.

        Returns
        -------
        Shape (N, G), or (S, N, G), or (n_samples_overall, G).
        """
        if weights not in (None, "uniform"):
            raise SettingError(f'weights must be None or "uniform", got {weights!r}.')
        if library_size == "latent":
            raise SettingError(
                'library_size="latent" is not offered: omicvae uses the observed library. Pass a number.'
            )
        library_size = real("library_size", library_size)
        if library_size <= 0:
            raise SettingError(f"library_size must be above 0, got {library_size:g}; 1 gives proportions.")
        if library_size != 1 and self.module.likelihood.support != "counts":
            raise SettingError(
                f"library_size={library_size!r} scales counts; this model's likelihood is "
                f"{self.config.likelihood!r}. Leave library_size at 1."
            )
        passes = self.state.passes("get_normalized_expression()", adata, indices, batch_size)
        rows, seed = np.asarray(passes.rows), self.state.seed_for("latent")
        draws: int | None = integral("n_samples", n_samples, minimum=1)
        draws, overall = None if draws == 1 else draws, n_samples_overall
        if overall is not None:
            overall = integral("n_samples_overall", overall, minimum=1)
            draws = overall // len(rows) + 1
        genes, average = self._gene_columns(gene_list), return_mean and overall is None
        if out is not None:
            _check_out(out, (len(rows), len(genes)), average)
        values = passes.decode(
            genes,
            self._targets(transform_batch),
            seed=seed,
            n_samples=draws,
            scale=library_size,
            average=average,
            out=out,
        )
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
        cells = (self.state.own_adata() if adata is None else adata).obs_names[rows]
        return pd.DataFrame(values, index=cells, columns=[self.schema.gene_names[g] for g in genes])

    def posterior_predictive_sample(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        transform_batch: str | int | Sequence[str | int] | None = None,
        n_samples: int = 1,
        gene_list: Sequence[str] | None = None,
        batch_size: int | None = None,
        *,
        seed: int | None = None,
        silent: bool = True,
    ) -> Any:
        """Draw x̂ ~ p(x | z, c) with z ~ q(z | x, c), in data units and with each cell's own library.

        Returns
        -------
        A ``sparse.GCXS`` array (N, G), or (N, G, S) for several draws, as scvi-tools does.
        """
        import sparse

        passes = self.state.passes("posterior_predictive_sample()", adata, indices, batch_size)
        targets = self._targets(transform_batch)
        if len(targets) > 1:
            raise SettingError("Samples cannot be averaged over batches; pass one level as transform_batch.")
        n_samples, seed = integral("n_samples", n_samples, minimum=1), self.state.seed_for("latent", seed)
        values = passes.sample(self._gene_columns(gene_list), targets[0], seed=seed, n_samples=n_samples)
        return sparse.GCXS.from_numpy(values)

    def differential_expression(self, adata: AnnData | None = None, **arguments: Any) -> pd.DataFrame:
        """Differential expression of counts as in scvi-tools (Lopez et al. 2018; Boyeau et al. 2019).

        Arguments are those of ``scvi.model.SCVI.differential_expression``. Only for count likelihoods: its fold
        changes are ratios of ρ. The pairs of cells that scvi-tools compares are drawn by the model's seed. ``adata``
        has other cells, matched by gene and level name. Cells are its unit, so that it makes no claim about donors:
        see :meth:`effects`.
        """
        self.state.require_trained("differential_expression()")
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
        aligned, state = adata[:, list(self.schema.gene_names)].copy(), copy(self.state)
        state.split, state.known = None, {}
        state.attach(aligned, state.cells(aligned), Identity.of(aligned, self.schema.keys))
        return adopt(object.__new__(type(self)), state)

    def _validate_anndata(self, adata: AnnData | None = None, copy_if_view: bool = True) -> AnnData:
        """scvi-tools' hook; genes and levels are checked by name where cells are encoded."""
        return self.state.adata if adata is None else adata

    def _targets(self, levels: str | int | Sequence[str | int] | None) -> list[Transform]:
        """Levels of the batch covariate to decode with; None stands for each cell's own."""
        wanted: list[Any] = [levels] if np.ndim(levels) == 0 else list(levels)  # type: ignore[arg-type]
        if wanted == [None]:
            return [OWN]
        if self.schema.keys.batch_key is None:
            raise SettingError("transform_batch needs a batch_key, and this model was set up without one.")
        batches = self.schema.categorical[0]
        codes = [batches.code(level) for level in wanted]
        if None in codes:
            raise SettingError(f"transform_batch={levels!r}: known levels of {batches.key!r} are {batches.levels}.")
        return [Transform({0: code}, {}) for code in codes if code is not None]

    def _gene_columns(self, gene_list: Sequence[str] | None) -> list[int]:
        names = self.schema.gene_names
        wanted = {gene_list} if isinstance(gene_list, str) else set(names if gene_list is None else gene_list)
        if unknown := wanted.difference(names):
            raise DataError(f"{len(unknown)} gene(s) of gene_list are not in the model, such as {sorted(unknown)[:5]}.")
        return [g for g, name in enumerate(names) if name in wanted]
