"""``diagnose``: compute what the checks need, once, and hand it over."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core import Batch, NotSupportedError, integral
from omicvae.data import CellStore
from omicvae.data.schema import obs_column
from omicvae.diagnostics import POWERS, Diagnosis, DiagnosisInputs, diagnose, permute_within_strata, tempered
from omicvae.metrics import kmeans_classes
from omicvae.model._background import unexplained
from omicvae.model._latent import LatentMixin
from omicvae.training import (
    derive_seed,
    map_cells,
    score_cells,
)

FALLBACK_CLASSES = 8


class DiagnosisMixin(LatentMixin):
    """Collects the evidence; ``omicvae.diagnostics`` judges it."""

    def diagnose(self, labels_key: str | None = None, *, seed: int | None = None, umap: bool = True) -> Diagnosis:
        """Say whether the latent space is alive, show the evidence, and offer remedies.

        Rates, bounds and the cost of a permuted z are measured on the validation cells (on the training cells if
        there are none), probes on all cells. The verdict comes from what the model does, never from its settings.

        Parameters
        ----------
        labels_key
            Column of ``obs`` to classify from the latent; None takes the ``labels_key`` of set-up. Without labels,
            k-means classes of the data stand in, marked as such.
        seed
            Of draws, folds and subsamples; None for the model's.
        umap
            Whether to run the UMAP check, the slowest.

        Raises
        ------
        NotSupportedError
            If the model is not trained or has no data.
        """
        self._require_own_cells("diagnose()")
        store, seed = self._cells(None), self._diagnosis_seed(seed)
        judged = self.validation_indices if len(self.validation_indices) else self.train_indices
        evidence = self._evidence(store, judged, labels_key or self.schema.keys.labels_key, seed)
        return diagnose(evidence, seed=seed, umap=umap)

    def _require_own_cells(self, what: str) -> None:
        """Raise where the model is not trained, or has not the cells that it was trained on."""
        self._require_trained(what)
        self._own_adata()
        if not self._knows_split:
            raise NotSupportedError(
                f"{what} needs the cells that the model was trained on, in their order, to know which of them "
                "validate; the data given to CVAE.load() are others."
            )

    def _diagnosis_seed(self, seed: int | None) -> int:
        seed = self.config.seed if seed is None else integral("seed", seed, minimum=0)
        return derive_seed(seed, "diagnosis") % 2**31

    def _evidence(
        self, store: CellStore, judged: NDArray[np.int64], labels_key: str | None, seed: int
    ) -> DiagnosisInputs:
        rng = np.random.default_rng([seed, 1])
        mean_NK, sd_NK, draw_NK, reference_NK = self._views(store, seed)
        scores = score_cells(self.module, store, judged, seed=seed)
        z_WK = draw_NK[judged]
        order = permute_within_strata(store.codes_ND[judged], rng)
        prior_mean_NK, prior_sd_NK = self._prior_moments(store)
        location_WK, scale_WK = prior_mean_NK[judged], prior_sd_NK[judged]
        # a cell gets what the other one's z adds to its prior, so that a z that only repeats c costs nothing
        foreign_WK = location_WK + scale_WK * ((z_WK - location_WK) / scale_WK)[order]
        null = self._background.null(self.config, store, self.train_indices, judged, self.module.device)
        validated = judged is not self.train_indices
        labels_N = None
        if labels_key is not None:
            column = obs_column(self._own_adata(), labels_key)
            labels_N = column.astype(object).where(column.notna(), None).to_numpy()
        last = self.fits[-1]
        return DiagnosisInputs(
            mean_NK=mean_NK,
            sd_NK=sd_NK,
            draw_NK=draw_NK,
            kl_WK=scores.kl_NK,
            nll_W=self._reconstruction_of(store, judged, z_WK),
            nll_permuted_W=self._reconstruction_of(store, judged, foreign_WK),
            null_nll_W=null.nll_W,
            train_elbo_T=score_cells(self.module, store, null.seen, seed=seed).elbo_N if validated else None,
            train_null_nll_T=null.seen_nll_T if validated else None,
            tempered_SW=self._tempered_bounds(
                store, judged, mean_NK[judged], sd_NK[judged], z_WK, location_WK, scale_WK
            ),
            structure=null.structure,
            gaussian_prior=self.config.prior != "vamp",
            prior_mean_NK=prior_mean_NK,
            prior_sd_NK=prior_sd_NK,
            history=self.history,
            reference_NK=reference_NK,
            labels_N=labels_N,
            labels_key=labels_key,
            labels_conditioned=labels_key in self.schema.keys.categorical_keys,
            covariates={
                levels.key: np.asarray(levels.levels, dtype=object)[store.codes_ND[:, d]]
                for d, levels in enumerate(self.schema.categorical)
            },
            fallback_groups_N=stand_in_labels(reference_NK, seed) if labels_N is None else None,
            schedule_settled_epoch=last.settled_epoch,
            planned_epochs=last.planned_epochs,
        )

    def _views(self, store: CellStore, seed: int) -> tuple[NDArray[np.float32], ...]:
        """Posterior mean and SD of all cells, one draw, and PCA with as many dimensions; each (N, K).

        Covariates are taken out of PCA, as the latent need not tell what the decoder is given.
        """
        mean_NK, variance_NK = self.get_latent_representation(return_dist=True)
        sd_NK = np.sqrt(variance_NK)
        noise_NK = np.random.default_rng(seed).standard_normal(mean_NK.shape).astype(np.float32)
        n_latent, support = self.config.architecture.n_latent, self.module.likelihood.support
        reference_NK = self._background.reference(store, n_latent, support, seed)
        return mean_NK, sd_NK, mean_NK + sd_NK * noise_NK, unexplained(reference_NK, store).astype(np.float32)

    def _tempered_bounds(
        self, store: CellStore, judged: NDArray[np.int64], *moments_and_draw: NDArray[np.float32]
    ) -> dict[float, NDArray[np.float64]]:
        """β = 1 bound of the cells under tempered posteriors, nats, by the draw's noise; none where p is no Gaussian.

        Given are mean, SD and draw of the posterior, mean and SD of the prior, each (W, K).
        """
        mean_WK, sd_WK, z_WK, location_WK, scale_WK = (values.astype(np.float64) for values in moments_and_draw)
        bounds: dict[float, NDArray[np.float64]] = {}
        noise_WK, unit_WK = (z_WK - mean_WK) / sd_WK, (mean_WK - location_WK) / scale_WK
        for power in POWERS if self.config.prior != "vamp" else ():
            mean_s, variance_s = tempered(unit_WK, (sd_WK / scale_WK) ** 2, power)
            kl_W = 0.5 * (variance_s + mean_s**2 - 1 - np.log(variance_s)).sum(axis=1)
            tempered_WK = location_WK + scale_WK * (mean_s + np.sqrt(variance_s) * noise_WK)
            bounds[power] = -kl_W - self._reconstruction_of(store, judged, tempered_WK.astype(np.float32))
        return bounds

    def _prior_moments(self, store: CellStore) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and SD of p(z | c) at every cell, shape (N, K)."""
        module = self.module

        def moments(batch: Batch, start: int) -> tuple[Tensor, Tensor]:
            mean, sd = module.prior_at(batch).moments()
            return mean.expand(len(batch), -1), sd.expand(len(batch), -1)

        mean_NK, sd_NK = map_cells(module, store, None, moments, device=module.device)
        return mean_NK, sd_NK

    def _reconstruction_of(
        self, store: CellStore, indices: NDArray[np.int64], z_WK: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """−log p(x_n | z, c_n) of the given cells under the given z, nats."""
        device = self.module.device
        z = torch.from_numpy(np.ascontiguousarray(z_WK)).to(device)

        def reconstruction(batch: Batch, start: int) -> Tensor:
            return self.module.reconstruction(z[start : start + len(batch)], batch)

        return map_cells(self.module, store, indices, reconstruction, device=device)[0]


def stand_in_labels(reference_NK: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
    """Classes where no labels are given: k-means of what the covariates leave unexplained in PCA."""
    n_classes = min(FALLBACK_CLASSES, len(reference_NK))
    return kmeans_classes(reference_NK, n_classes, np.random.default_rng([seed, 2]))
