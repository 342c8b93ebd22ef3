"""Latents and bounds: what the encoder and the ELBO say about cells."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core import LatentPosterior, SettingError, integral, keys
from omicvae.model.provenance import record
from omicvae.model.state import HasState
from omicvae.training import CellPasses, CellScores, score_cells


class LatentMixin(HasState):
    """Methods with scvi-tools' names; cells of another AnnData are matched to the model by gene and level name."""

    def get_latent_representation(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        give_mean: bool = True,
        *,
        batch_size: int | None = None,
        return_dist: bool = False,
        unseen: str | Mapping[str, str] = "error",
        missing_genes: str = "error",
        seed: int | None = None,
    ) -> NDArray[np.float32] | tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Posterior q(z | x, c) of each cell, shape (N, K).

        Parameters
        ----------
        adata
            Other cells; None for the model's own. Genes and levels are matched by name.
        indices
            Rows of ``adata``; None for all.
        give_mean
            Posterior means, else one draw per cell (which is what shows whether the latent is alive). It belongs to
            the cell and to ``seed``: a cell that is named twice has the same draw twice.
        batch_size
            Cells in an evaluation batch.
        return_dist
            Return (mean, variance) instead.
        unseen
            ``"error"``, or the known level that stands in for unseen ones, or a mapping from covariate to level.
        missing_genes
            ``"error"``, or ``"zero"`` to fill a limited share of missing genes with zeros.
        seed
            Of the draw; None for the model's.

        Raises
        ------
        DataError
            On unseen levels or missing genes, unless told how to treat them.
        """
        matching = {"unseen": unseen, "missing_genes": missing_genes}
        passes = self.state.passes("get_latent_representation()", adata, indices, batch_size, **matching)
        draw = passes.draws(self.state.seed_for("latent", seed))

        def read(q: LatentPosterior, start: int) -> Tensor | tuple[Tensor, ...]:
            if return_dist:
                return q.mean_BK, q.log_variance_BK.exp()
            return q.mean_BK if give_mean else draw(q, start, 0)

        outputs = passes.encode(read)
        return (outputs[0], outputs[1]) if return_dist else outputs[0]

    def write_latent(
        self,
        key: str = keys.LATENT,
        adata: AnnData | None = None,
        *,
        unseen: str | Mapping[str, str] = "error",
        missing_genes: str = "error",
    ) -> None:
        """Write posterior means to ``obsm[key]``, their SD to ``obsm[key + "_sd"]`` and provenance to ``uns``.

        Raises
        ------
        DataError
            If the model's own cells have changed since the model took them: latents of other values would be a lie.
        """
        if key in keys.RESERVED:
            raise SettingError(
                f"key={key!r} is a name that omicvae uses in uns; choose another, such as {keys.LATENT!r}."
            )
        target = self.state.own_adata() if adata is None else adata
        matching: dict[str, Any] = {"unseen": unseen, "missing_genes": missing_genes}
        mean_NK, variance_NK = self.get_latent_representation(adata, return_dist=True, **matching)
        target.obsm[key] = mean_NK
        target.obsm[key + keys.LATENT_SD_SUFFIX] = np.sqrt(variance_NK)
        target.uns[keys.UNS] = {**target.uns.get(keys.UNS, {}), key: record(self.state)}

    def get_elbo(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        batch_size: int | None = None,
        *,
        return_mean: bool = True,
        n_samples: int = 1,
        unseen: str | Mapping[str, str] = "error",
        missing_genes: str = "error",
    ) -> float | NDArray[np.float64]:
        """β = 1 bound E_q[log p(x | z, c)] − KL(q ‖ p) in nats per cell; higher is better.

        The expectation is over ``n_samples`` draws. Returns the mean over cells, or shape (N,).
        """
        passes = self.state.passes("get_elbo()", adata, indices, batch_size, unseen=unseen, missing_genes=missing_genes)
        elbo_N = self._scores(passes, n_samples).elbo_N
        return float(elbo_N.mean()) if return_mean else elbo_N

    def get_reconstruction_error(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        batch_size: int | None = None,
        *,
        return_mean: bool = True,
        n_samples: int = 1,
    ) -> dict[str, float | NDArray[np.float64]]:
        """−E_q[log p(x | z, c)] in nats per cell, every constant included, under ``"reconstruction_loss"``.

        The mapping is scvi-tools' form; its value is the mean over cells, or shape (N,).
        """
        passes = self.state.passes("get_reconstruction_error()", adata, indices, batch_size)
        error_N = self._scores(passes, n_samples).reconstruction_N
        return {"reconstruction_loss": float(error_N.mean()) if return_mean else error_N}

    def _scores(self, passes: CellPasses, n_samples: int) -> CellScores:
        n_samples, seed = integral("n_samples", n_samples, minimum=1), self.state.seed_for("latent")
        cells = (passes.module, passes.store, passes.rows)
        return score_cells(*cells, seed=seed, n_samples=n_samples, batch_size=passes.batch_size)

    def get_marginal_ll(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        n_mc_samples: int = 1000,
        *,
        batch_size: int | None = None,
        return_mean: bool = True,
    ) -> float | NDArray[np.float64]:
        """Importance-weighted log p(x | c) ≈ log (1/S) Σ_s p(x | z_s, c) p(z_s | c) / q(z_s | x, c).

        In nats per cell (Burda et al. 2016); a lower bound in expectation that tightens with the number S of draws.
        """
        passes = self.state.passes("get_marginal_ll()", adata, indices, batch_size)
        n_samples, seed = integral("n_mc_samples", n_mc_samples, minimum=1), self.state.seed_for("latent")
        value_N = passes.marginal_log_likelihood(seed=seed, n_samples=n_samples)
        return float(value_N.mean()) if return_mean else value_N
