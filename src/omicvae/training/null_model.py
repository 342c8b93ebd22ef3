"""Fit of the z-free null model, against which the latent has to prove its worth."""

import numpy as np
import torch
from numpy.typing import NDArray

from omicvae._core.native import own_threads
from omicvae.data import CellStore, minibatch_sizes
from omicvae.module import NullModel
from omicvae.training.adam import adam
from omicvae.training.autograd_step import null_update
from omicvae.training.budget import Optimisation
from omicvae.training.evaluation import map_cells
from omicvae.training.learning_rate import OneCycle
from omicvae.training.seeds import derive_seed

# the null model is a generalised linear model started at the moments: a few hundred steps settle it
NULL_STEPS = 400
NULL_LEARNING_RATE = 2e-2
# entries of a minibatch: 512 cells of 2000 genes, fewer cells of more genes, so that a step costs the same
NULL_ENTRIES = 2**20
NULL_CHECKS = 8


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
        return map_cells(model, store, judged, lambda batch, start: model(batch), device=device)[0]

    best_W, step = judge(), 0
    while step < NULL_STEPS:
        for rows in np.split(rng.permutation(train), np.cumsum(sizes)[:-1])[: NULL_STEPS - step]:
            null_update(model, optimizer, store.batch(rows, device=device), learning_rate(step))
            step += 1
            if step % (NULL_STEPS // NULL_CHECKS) == 0:
                best_W = max(best_W, judge(), key=np.sum)
    return best_W
