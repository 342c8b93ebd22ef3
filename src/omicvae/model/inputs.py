"""What a diagnosis of a model is made from: passes over its cells, gathered once."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omicvae.data.schema import obs_column
from omicvae.diagnostics import DiagnosisInputs, permute_within_strata
from omicvae.metrics import kmeans_classes
from omicvae.metrics.linear import residuals
from omicvae.model._state import ModelState
from omicvae.training import CellPasses, score_cells
from omicvae.training.null_model import covariate_design

FALLBACK_CLASSES = 8


def diagnosis_seed(state: ModelState, seed: int | None) -> int:
    """Seed of draws, folds and subsamples, as numpy's older generators take it."""
    return state.seed_for("diagnosis", seed) % 2**31


def gather_inputs(
    state: ModelState, judged: NDArray[np.int64], labels_key: str | None, seed: int, *, judged_train: bool = False
) -> DiagnosisInputs:
    """Compute what ``omicvae.diagnostics.diagnose`` takes.

    Parameters
    ----------
    judged
        The cells that rates, bounds and the cost of a permuted z are measured on.
    labels_key
        Column of ``obs`` to probe; None takes k-means classes.
    judged_train
        Whether they are cells that the model was trained on: then no training cells are put beside them.
    """
    store, module, schema, last = state.cells(), state.module, state.schema, state.fits[-1]
    mean_NK, sd_NK, draw_NK, reference_NK = latent_views(state, seed)
    passes = CellPasses(module, store, judged)
    prior_mean_NK, prior_sd_NK = CellPasses(module, store).prior_moments()
    location_WK, scale_WK, z_WK = prior_mean_NK[judged], prior_sd_NK[judged], draw_NK[judged]
    order = permute_within_strata(store.codes_ND[judged], np.random.default_rng([seed, 1]))
    # a cell gets what the other one's z adds to its prior, so that a z that only repeats c costs nothing
    permuted_WK = location_WK + scale_WK * ((z_WK - location_WK) / scale_WK)[order]
    gaussian, given = state.config.prior != "vamp", (mean_NK[judged], sd_NK[judged], z_WK)
    assert state.split is not None  # there is a fit of these cells
    null = state.background.null(state.config, store, state.split.train, judged, module.device)
    labels_N = labels_of(state, labels_key)
    return DiagnosisInputs(
        mean_NK=mean_NK,
        sd_NK=sd_NK,
        draw_NK=draw_NK,
        kl_WK=score_cells(module, store, judged, seed=seed).kl_NK,
        nll_W=passes.reconstruction_errors(z_WK),
        nll_permuted_W=passes.reconstruction_errors(permuted_WK),
        null_nll_W=null.nll_W,
        train_elbo_T=None if judged_train else score_cells(module, store, null.seen, seed=seed).elbo_N,
        train_null_nll_T=None if judged_train else null.seen_nll_T,
        tempered_SW=passes.tempered_bounds(given, (location_WK, scale_WK)) if gaussian else {},
        structure=null.structure,
        gaussian_prior=gaussian,
        prior_mean_NK=prior_mean_NK,
        prior_sd_NK=prior_sd_NK,
        history=state.history,
        reference_NK=reference_NK,
        labels_N=labels_N,
        labels_key=labels_key,
        labels_conditioned=labels_key in schema.keys.categorical_keys,
        covariates={
            levels.key: np.asarray(levels.levels, dtype=object)[store.codes_ND[:, d]]
            for d, levels in enumerate(schema.categorical)
        },
        fallback_groups_N=stand_in_labels(reference_NK, seed) if labels_N is None else None,
        schedule_settled_epoch=last.settled_epoch,
        planned_epochs=last.planned_epochs,
    )


def latent_views(state: ModelState, seed: int) -> tuple[NDArray[np.float32], ...]:
    """Posterior mean and SD of all cells, one draw, and PCA with as many dimensions; each (N, K).

    Covariates are taken out of PCA, as the latent need not tell what the decoder is given.
    """
    store, module = state.cells(), state.module
    mean_NK, variance_NK = CellPasses(module, store).encode(lambda q: (q.mean_BK, q.log_variance_BK.exp()))
    sd_NK = np.sqrt(variance_NK)
    noise_NK = np.random.default_rng(seed).standard_normal(mean_NK.shape).astype(np.float32)
    pca_NK = state.background.reference(store, mean_NK.shape[1], module.likelihood.support, seed)
    reference_NK = residuals(pca_NK, covariate_design(store)).astype(np.float32)
    return mean_NK, sd_NK, mean_NK + sd_NK * noise_NK, reference_NK


def labels_of(state: ModelState, labels_key: str | None) -> NDArray[Any] | None:
    """Labels of the model's own cells, None where one is missing; None without a column."""
    if labels_key is None:
        return None
    column: pd.Series = obs_column(state.own_adata(), labels_key)
    return column.astype(object).where(column.notna(), None).to_numpy()


def stand_in_labels(reference_NK: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
    """Classes where no labels are given: k-means of what the covariates leave unexplained in PCA."""
    n_classes = min(FALLBACK_CLASSES, len(reference_NK))
    return kmeans_classes(reference_NK, n_classes, np.random.default_rng([seed, 2]))
