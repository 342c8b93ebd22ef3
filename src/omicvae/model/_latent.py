"""Latents and bounds: what the encoder and the ELBO say about cells."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core import Batch, SettingError, integral, keys
from omicvae.data import CellStore, check_support
from omicvae.model._setup import check_unchanged
from omicvae.model._state import ModelState
from omicvae.training import derive_seed, map_cells, score_cells


class LatentMixin(ModelState):
    """Methods with scvi-tools' names; cells of another AnnData are matched to the model by gene and level name."""

    def _cells(
        self, adata: AnnData | None, *, unseen: str | Mapping[str, str] = "error", missing_genes: str = "error"
    ) -> CellStore:
        """Store of the model's own cells, or of another AnnData encoded by name and checked like training data."""
        if adata is None or adata is self.adata:
            self._own_adata()
            assert self._store is not None  # it comes with the data
            return self._store
        store = CellStore.build(adata, self.schema, unseen=unseen, missing_genes=missing_genes)
        check_support(store.audit, self.module.likelihood.support)
        return store

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
            Posterior means, else one draw per cell (which is what shows whether the latent is alive).
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
        self._require_trained("get_latent_representation()")
        store = self._cells(adata, unseen=unseen, missing_genes=missing_genes)
        seed = self.config.seed if seed is None else integral("seed", seed, minimum=0)
        generator = torch.Generator(self.module.device).manual_seed(derive_seed(seed, "latent"))

        def posterior(batch: Batch, start: int) -> tuple[Tensor, ...]:
            q = self.module.encode(batch)
            if return_dist:
                return q.mean_BK, q.log_variance_BK.exp()
            return (q.mean_BK if give_mean else q.sample(generator),)

        # a non-zero is a gene and a value, and a layer keeps what it was given
        entries = round(2 * (store.density * store.n_genes + self.config.architecture.n_hidden))
        outputs = map_cells(
            self.module,
            store,
            rows_of(indices, store.n_cells),
            posterior,
            entries=min(entries, store.n_genes) if self.module.device.type == "cpu" else None,
            batch_size=batch_size,
            device=self.module.device,
        )
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
            If the model's own matrix has changed since set-up: latents of other values would be a lie.
        """
        if key in keys.RESERVED:
            raise SettingError(
                f"key={key!r} is a name that omicvae uses in uns; choose another, such as {keys.LATENT!r}."
            )
        target = self._own_adata() if adata is None else adata
        if target is self.adata:
            check_unchanged(target, self.schema.keys.layer, self._fingerprint)
        mean_NK, variance_NK = self.get_latent_representation(
            adata, return_dist=True, unseen=unseen, missing_genes=missing_genes
        )
        target.obsm[key] = mean_NK
        target.obsm[key + keys.LATENT_SD_SUFFIX] = np.sqrt(variance_NK)
        target.uns[keys.UNS] = {**target.uns.get(keys.UNS, {}), key: json.dumps(self._provenance())}

    def _provenance(self) -> dict[str, Any]:
        elbo = self.history["elbo_validation"].dropna()
        return {
            "version": version("omicvae"),
            "model": self.config.to_dict(),
            "setup": self.schema.keys.to_dict(),
            "objective": self.objective,
            "epochs": len(self.history),
            "elbo_validation": float(elbo.iloc[-1]) if len(elbo) else None,
        }

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
        self._require_trained("get_elbo()")
        store = self._cells(adata, unseen=unseen, missing_genes=missing_genes)
        elbo_N = self._scores(store, indices, batch_size, n_samples).elbo_N
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
        self._require_trained("get_reconstruction_error()")
        error_N = self._scores(self._cells(adata), indices, batch_size, n_samples).reconstruction_N
        return {"reconstruction_loss": float(error_N.mean()) if return_mean else error_N}

    def _scores(self, store: CellStore, indices: Sequence[int] | None, batch_size: int | None, n_samples: int) -> Any:
        return score_cells(
            self.module,
            store,
            rows_of(indices, store.n_cells),
            seed=derive_seed(self.config.seed, "latent"),
            n_samples=integral("n_samples", n_samples, minimum=1),
            batch_size=batch_size,
        )

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
        self._require_trained("get_marginal_ll()")
        n_samples = integral("n_mc_samples", n_mc_samples, minimum=1)
        module = self.module
        generator = torch.Generator(module.device).manual_seed(derive_seed(self.config.seed, "latent"))

        def marginal(batch: Batch, start: int) -> Tensor:
            q, prior = module.encode(batch), module.prior_at(batch)
            normal = torch.distributions.Normal(q.mean_BK, q.sd_BK)
            weights = []
            for _ in range(n_samples):
                z_BK = q.sample(generator)
                log_ratio_B = prior.log_prob(z_BK) - normal.log_prob(z_BK).sum(-1)
                weights.append(log_ratio_B - module.reconstruction(z_BK, batch))
            return torch.logsumexp(torch.stack(weights), 0) - np.log(n_samples)

        store = self._cells(adata)
        (value_N,) = map_cells(
            module, store, rows_of(indices, store.n_cells), marginal, batch_size=batch_size, device=module.device
        )
        return float(value_N.mean()) if return_mean else value_N


def rows_of(indices: Sequence[int] | None, n_cells: int) -> NDArray[np.int64]:
    """Row numbers from numbers (integral floats too, as R sends), a boolean mask, or None for all rows.

    Raises
    ------
    SettingError
        On numbers that are not whole or not rows of the data, a mask of another length, or no row at all.
    """
    if indices is None:
        return np.arange(n_cells)
    given = np.atleast_1d(np.asarray(indices))
    if given.dtype == bool:
        if given.shape != (n_cells,):
            raise SettingError(f"A mask as indices needs one entry for each of {n_cells} cells, got {given.shape}.")
        given = np.flatnonzero(given)
    if given.size == 0:
        raise SettingError("indices select no cell.")
    rows = given.astype(np.int64)
    if (rows != given).any() or rows.min() < 0 or rows.max() >= n_cells:
        raise SettingError(
            f"indices must be whole numbers from 0 to {n_cells - 1}, got {given.min()} to {given.max()}."
        )
    return rows
