"""What the covariates explain, and whether anything beyond them is there to encode."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omicvae.data import CellStore
from omicvae.diagnostics import Structure, structure
from omicvae.metrics.linear import residuals
from omicvae.module import NullModel
from omicvae.training.evaluation import evaluating
from omicvae.training.seeds import derive_seed, private_generators

#: cells × genes of a simulation, the fewest and most cells, most genes, simulations
ENTRIES = 2**23
FEWEST_CELLS, MOST_CELLS = 200, 2000
MOST_GENES = 1000
N_SIMULATIONS = 5


def unexplained_structure(null: NullModel, store: CellStore, seed: int) -> Structure | None:
    """Compare cells with simulations from the fitted ``null`` at the same covariates and depths; None for few cells.

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
    if len(rows) <= design_NC.shape[1] + 2 or store.n_genes < 2:
        return None
    genes = np.sort(np.argsort(-x_NG.var(axis=0), kind="stable")[:MOST_GENES])

    def simulations() -> Iterator[NDArray[np.float32]]:
        if likelihood.support == "real":  # no depth couples genes: shuffled ones have the right noise, whatever it is
            left_NG = residuals(x_NG[:, genes], design_NC)
            for _ in range(N_SIMULATIONS):
                yield _shuffled_genes(left_NG, store.codes_ND[rows], rng)
            return
        sized = store.schema.keys.size_factor_key is not None
        with evaluating(null), private_generators():
            torch.manual_seed(derive_seed(seed, "structure", 1))
            distribution = null.distribution(batch)
            for _ in range(N_SIMULATIONS):
                sample_BG = distribution.sample()
                # like the cells, by their own totals: where one gene gains, all others lose
                library_B1 = batch.library_B1 if sized else sample_BG.sum(1, keepdim=True).clamp_min(1)
                yield likelihood.features(sample_BG, library_B1)[:, genes].cpu().numpy()

    return structure(x_NG[:, genes], simulations(), design_NC)


def covariate_design(store: CellStore, rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float64]:
    """One-hot levels and the first three powers of continuous covariates side by side, (N, C).

    Where joint levels of the categorical covariates have ten cells each on average, they stand there instead: the
    decoder knows their interactions.
    """
    codes_ND = store.codes_ND[rows]
    columns = [codes_ND[:, d] for d in range(codes_ND.shape[1])]
    if len(columns) > 1:
        joint_N = np.unique(codes_ND, axis=0, return_inverse=True)[1].ravel()
        columns = [joint_N] if 10 * (joint_N.max() + 1) <= len(joint_N) else columns
    one_hot = [np.eye(int(codes_N.max()) + 1)[codes_N] for codes_N in columns]
    continuous_NV = np.asarray(store.continuous_NV[rows], dtype=np.float64)
    return np.hstack([*one_hot, *(continuous_NV**power for power in (1, 2, 3))])


def _shuffled_genes(
    values_NG: NDArray[np.float64], codes_ND: NDArray[np.integer[Any]], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Shuffle every gene over the cells of each joint level of the categorical covariates."""
    shuffled_NG = values_NG.astype(np.float32)
    joint_N = (
        np.unique(codes_ND, axis=0, return_inverse=True)[1].ravel() if codes_ND.shape[1] else np.zeros(len(codes_ND))
    )
    for code in np.unique(joint_N):
        members = np.flatnonzero(joint_N == code)
        shuffled_NG[members] = rng.permuted(shuffled_NG[members], axis=0)
    return shuffled_NG
