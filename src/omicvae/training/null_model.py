"""The z-free null model, against which the latent has to prove its worth: its fit, and what it leaves unexplained."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omicvae._core.native import own_threads
from omicvae._core.noise import DrawingFrom
from omicvae.data import CellStore, minibatch_sizes
from omicvae.diagnostics import Structure, structure
from omicvae.metrics.linear import pca_scores, residuals
from omicvae.module import NullModel
from omicvae.training.adam import adam, update
from omicvae.training.budget import Optimisation
from omicvae.training.evaluation import evaluating, map_cells
from omicvae.training.learning_rate import OneCycle
from omicvae.training.seeds import derive_seed

# the null model is a generalised linear model started at the moments: a few hundred steps settle it
NULL_STEPS = 400
NULL_LEARNING_RATE = 2e-2
# entries of a minibatch: 512 cells of 2000 genes, fewer cells of more genes, so that a step costs the same
NULL_ENTRIES = 2**20
NULL_CHECKS = 8

#: cells × genes of a simulation, the fewest and most cells, most genes, simulations
ENTRIES = 2**23
FEWEST_CELLS, MOST_CELLS = 200, 2000
MOST_GENES = 1000
N_SIMULATIONS = 5
#: counts beyond which torch draws none: its draws are integers of 64 bits
LARGEST_SIMULATED = 2.0**60


@own_threads()
def null_log_likelihood(
    model: NullModel,
    store: CellStore,
    train: NDArray[np.int64],
    judged: NDArray[np.int64],
    *,
    seed: int,
    device: torch.device | str,
) -> NDArray[np.float64]:
    """Fit the null model on ``train`` and return log p(x | c) of the cells ``judged``, in nats, shape (W,).

    Σ_n log p(x_n | c_n) is maximised by minibatches with a one-cycle rate. As the cVAE keeps its best validation
    weights, the null model keeps the best of its states on the judged cells: with many small batches its covariate
    effects overfit, and a null model that is worse than need be would flatter the latent.
    """
    model.initialise(store.moments(train))
    model.to(device)
    optimizer = adam(model, Optimisation(NULL_LEARNING_RATE))
    learning_rate = OneCycle(NULL_LEARNING_RATE, NULL_STEPS, rise=0.1)
    rng = np.random.default_rng(derive_seed(seed, "null"))
    sizes = minibatch_sizes(len(train), int(np.clip(NULL_ENTRIES // store.n_genes, 32, 512)))

    def judge() -> NDArray[np.float64]:
        return map_cells(model, store, judged, lambda batch, start: model(batch))[0]

    best_W, step = judge(), 0
    while step < NULL_STEPS:
        for rows in np.split(rng.permutation(train), np.cumsum(sizes)[:-1])[: NULL_STEPS - step]:
            update(optimizer, -model(store.batch(rows, device=device)).mean(), learning_rate(step))
            step += 1
            if step % (NULL_STEPS // NULL_CHECKS) == 0:
                best_W = max(best_W, judge(), key=np.sum)
    return best_W


def unexplained_structure(null: NullModel, store: CellStore, seed: int) -> Structure | None:
    """Compare cells with simulations from the fitted ``null`` at the same covariates and depths.

    None for few cells, a single gene, and counts beyond those that can be simulated.

    On a random part of the cells and the most variable genes; categorical and continuous covariates are taken out,
    and log depth.
    """
    rng = np.random.default_rng(derive_seed(seed, "structure"))
    most = int(np.clip(ENTRIES // store.n_genes, FEWEST_CELLS, MOST_CELLS))
    rows = np.sort(rng.permutation(store.n_cells)[:most])
    batch = store.batch(rows, device=next(null.parameters()).device)
    likelihood = null.likelihood
    x_NG = likelihood.features(batch.x_BG, batch.library_B1).cpu().numpy()
    design_NC = covariate_design(store, rows)
    if likelihood.support == "counts":
        design_NC = np.hstack([design_NC, np.log(store.library_N[rows])[:, None]])
    beyond = likelihood.support == "counts" and batch.x_BG.max() > LARGEST_SIMULATED
    if len(rows) <= design_NC.shape[1] + 2 or store.n_genes < 2 or beyond:
        return None
    genes = np.sort(np.argsort(-x_NG.var(axis=0), kind="stable")[:MOST_GENES])

    def simulations() -> Iterator[NDArray[np.float32]]:
        if likelihood.support == "real":  # no depth couples genes: shuffled ones have the right noise, whatever it is
            left_NG = residuals(x_NG[:, genes], design_NC)
            for _ in range(N_SIMULATIONS):
                yield _shuffled_genes(left_NG, store.codes_ND[rows], rng)
            return
        sized = store.schema.keys.size_factor_key is not None
        generator = torch.Generator(batch.x_BG.device).manual_seed(derive_seed(seed, "structure", 1))
        with evaluating(null):
            distribution = null.distribution(batch)
            for _ in range(N_SIMULATIONS):
                with DrawingFrom(generator):
                    sample_BG = distribution.sample()
                # like the cells, by their own totals: where one gene gains, all others lose
                library_B1 = batch.library_B1 if sized else sample_BG.sum(1, keepdim=True).clamp_min(1)
                yield likelihood.features(sample_BG, library_B1)[:, genes].cpu().numpy()

    return structure(x_NG[:, genes], simulations(), design_NC)


def reference_scores(store: CellStore, support: str, n_latent: int, seed: int) -> NDArray[np.float32]:
    """PCA with as many dimensions as the latent, covariates taken out, (N, K): the yardstick of the probes.

    Of log-normalised counts, standardised real values or 0/1 data, as ``support`` says; the latent need not tell what
    the decoder is given.
    """
    scores_NK = pca_scores(store.log_normalised(support=support), n_latent, seed=seed)
    return residuals(scores_NK, covariate_design(store)).astype(np.float32)


def covariate_design(store: CellStore, rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float64]:
    """One-hot levels and the first three powers of continuous covariates side by side, (N, C).

    Where joint levels of the categorical covariates have ten cells each on average, they stand there instead: the
    decoder knows their interactions.
    """
    codes_ND = store.codes_ND[rows]
    columns, joint_N = list(codes_ND.T), _joint_levels(codes_ND)
    if len(columns) > 1 and 10 * (joint_N.max() + 1) <= len(joint_N):
        columns = [joint_N]
    one_hot = [np.eye(int(codes_N.max()) + 1)[codes_N] for codes_N in columns]
    continuous_NV = np.asarray(store.standardised_NV[rows], dtype=np.float64)
    return np.hstack([*one_hot, *(continuous_NV**power for power in (1, 2, 3))])


def _joint_levels(codes_ND: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Give each combination of categorical covariates a number; (N,)."""
    if not codes_ND.shape[1]:
        return np.zeros(len(codes_ND), dtype=np.int64)
    return np.unique(codes_ND, axis=0, return_inverse=True)[1].ravel()


def _shuffled_genes(
    values_NG: NDArray[np.float64], codes_ND: NDArray[np.integer[Any]], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Shuffle every gene over the cells of each joint level of the categorical covariates."""
    shuffled_NG, joint_N = values_NG.astype(np.float32), _joint_levels(codes_ND)
    for code in np.unique(joint_N):
        members = np.flatnonzero(joint_N == code)
        shuffled_NG[members] = rng.permuted(shuffled_NG[members], axis=0)
    return shuffled_NG
