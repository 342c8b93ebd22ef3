"""What a diagnosis of a model is made from: passes over its cells, gathered once."""

import numpy as np
from numpy.typing import NDArray

from omicvae.data import labels_of, obs_column
from omicvae.diagnostics import (
    DiagnosisInputs,
    Structure,
    base_measure,
    permuted_draw,
    stand_in_labels,
    tempered_bounds,
)
from omicvae.model.config import build_null
from omicvae.model.state import ModelState
from omicvae.training import (
    CellPasses,
    map_cells,
    null_log_likelihood,
    reference_scores,
    score_cells,
    unexplained_structure,
)

#: training cells that the gap to validation cells is measured on
SEEN_CELLS = 1000


def diagnosis_seed(state: ModelState, seed: int | None) -> int:
    """Seed of draws, folds and subsamples, as numpy's older generators take it."""
    return state.seed_for("diagnosis", seed) % 2**31


def gather_inputs(state: ModelState, labels_key: str | None, seed: int) -> DiagnosisInputs:
    """Compute what ``omicvae.diagnostics.diagnose`` takes.

    Where no cells validate, training cells stand in for them and have none put beside them.
    """
    split = state.require_split("diagnose()")
    judged_train = not len(split.validation)
    judged = split.train if judged_train else split.validation
    labels_N = None if labels_key is None else labels_of(obs_column(state.own_adata(), labels_key))
    store, module, schema, last = state.cells(), state.module, state.schema, state.fits[-1]
    mean_NK, sd_NK, draw_NK, reference_NK = latent_views(state, seed)
    passes = CellPasses(module, store, judged)
    prior_mean_NK, prior_sd_NK = CellPasses(module, store).prior_moments()
    location_WK, scale_WK, z_WK = prior_mean_NK[judged], prior_sd_NK[judged], draw_NK[judged]
    strata_WD, rng = store.codes_ND[judged], np.random.default_rng([seed, 1])
    permuted_WK = permuted_draw(z_WK, location_WK, scale_WK, strata_WD, rng)
    gaussian, given = state.config.prior != "vamp", (mean_NK[judged], sd_NK[judged], z_WK)
    null_nll_W, seen, null_nll_T, structure = state.once(
        ("without z", split.train.tobytes(), judged.tobytes()), lambda: _without_z(state, split.train, judged)
    )
    return DiagnosisInputs(
        mean_NK=mean_NK,
        sd_NK=sd_NK,
        draw_NK=draw_NK,
        kl_WK=score_cells(module, store, judged, seed=seed).kl_NK,
        nll_W=passes.reconstruction_errors(z_WK),
        nll_permuted_W=passes.reconstruction_errors(permuted_WK),
        null_nll_W=null_nll_W,
        train_elbo_T=None if judged_train else score_cells(module, store, seen, seed=seed).elbo_N,
        train_null_nll_T=None if judged_train else null_nll_T,
        tempered_SW=tempered_bounds(given, (location_WK, scale_WK), passes.reconstruction_errors) if gaussian else {},
        structure=structure,
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
        earlier_epochs=len(state.history) - len(last.history),
        judged_W=judged,
        cell_names_N=np.asarray(state.own_adata().obs_names, dtype=object),
        base_measure=base_measure(module.likelihood.support, schema.n_genes),
        seed=seed,
    )


def _without_z(
    state: ModelState, train: NDArray[np.int64], judged: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], Structure | None]:
    """Fit the best decoder without z.

    Returns −log p(x | c) of the judged cells, some of the training cells, the same of them, and what it cannot explain.
    """
    config, store, device = state.config, state.cells(), state.module.device
    null = build_null(config, store.schema)
    seen = np.sort(np.random.default_rng(config.seed).permutation(train)[:SEEN_CELLS])
    loglik_W = null_log_likelihood(null, store, train, judged, seed=config.seed, device=device)
    (loglik_T,) = map_cells(null, store, seen, lambda batch, start: null(batch))
    return -loglik_W, seen, -loglik_T, unexplained_structure(null, store, config.seed)


def latent_views(state: ModelState, seed: int) -> tuple[NDArray[np.float32], ...]:
    """Posterior mean and SD of all cells, one draw, and the reference of the probes; each (N, K)."""
    store, module = state.cells(), state.module
    n_latent, support = state.config.architecture.n_latent, module.likelihood.support
    mean_NK, variance_NK = CellPasses(module, store).encode(lambda q, start: (q.mean_BK, q.log_variance_BK.exp()))
    sd_NK = np.sqrt(variance_NK)
    noise_NK = np.random.default_rng(seed).standard_normal(mean_NK.shape).astype(np.float32)
    reference_NK = state.once(("PCA", n_latent, seed), lambda: reference_scores(store, support, n_latent, seed))
    return mean_NK, sd_NK, mean_NK + sd_NK * noise_NK, reference_NK
