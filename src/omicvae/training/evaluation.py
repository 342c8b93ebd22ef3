"""Passes over stored cells without gradients, in large batches straight from the store."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omicvae._core import Batch, integral
from omicvae._core.native import own_threads
from omicvae.data import CellStore
from omicvae.module import ConditionalVAE

# numbers in an evaluation batch: large enough to fill the cores, small enough for their memory to be used again by the
# next one (at twice as many the C library hands it back to the system each time)
BATCH_ENTRIES = 2**20


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch ``module`` to evaluation without gradients and back to the mode it was in."""
    training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        module.train(training)


def rows_per_batch(entries: int, batch_size: int | None = None) -> int:
    """Cells in an evaluation batch, each of so many numbers."""
    if batch_size is not None:
        return integral("batch_size", batch_size, minimum=1)
    return int(
        np.clip(BATCH_ENTRIES // max(1, entries) // 16 * 16, 16, 8192)
    )  # torch draws 16 normal numbers at a time


def map_cells(
    module: nn.Module,
    store: CellStore,
    indices: NDArray[np.int64] | None,
    function: Callable[[Batch, int], Tensor | tuple[Tensor, ...]],
    *,
    entries: int | None = None,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
    out: Any = None,
) -> list[Any]:
    """Apply ``function(batch, position)`` to the cells ``indices`` in order and join its outputs along cells.

    Parameters
    ----------
    function
        Gets a minibatch and the position of its first cell among ``indices``; returns tensors with a row per cell.
    entries
        Numbers that a cell takes in it; None for one a gene.
    out
        Array to write the first output into: anything that takes slices of rows, such as an array on disk.
    """
    rows = np.arange(store.n_cells) if indices is None else np.asarray(indices)
    size = rows_per_batch(store.n_genes if entries is None else entries, batch_size)
    joined: list[Any] = []
    with evaluating(module), own_threads():
        for start in range(0, len(rows), size):
            outputs = function(store.batch(rows[start : start + size], device=device), start)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            arrays = [output.cpu().numpy() for output in outputs]
            if not joined:
                joined = [
                    np.empty((len(rows), *array.shape[1:]), dtype=array.dtype) for array in arrays[out is not None :]
                ]
                joined = joined if out is None else [out, *joined]
            for column, array in zip(joined, arrays, strict=True):
                column[start : start + len(array)] = array
    return joined


@dataclass(frozen=True, slots=True)
class CellScores:
    """Per-cell parts of the ELBO, in nats.

    Attributes
    ----------
    reconstruction_N
        −log p(x | z, c) for one draw z of the posterior, float64.
    kl_NK
        Raw KL per latent dimension, in closed form or at that draw.
    """

    reconstruction_N: NDArray[np.float64]
    kl_NK: NDArray[np.float32]

    @property
    def elbo_N(self) -> NDArray[np.float64]:
        """β = 1 evidence lower bound of each cell, nats; higher is better."""
        return -self.reconstruction_N - self.kl_NK.sum(1, dtype=np.float64)


def score_cells(
    module: ConditionalVAE,
    store: CellStore,
    indices: NDArray[np.int64] | None = None,
    *,
    seed: int,
    n_samples: int = 1,
    batch_size: int | None = None,
) -> CellScores:
    """Reconstruction and KL of the given cells; the same seed gives the same draws.

    With ``n_samples`` above 1 the reconstruction is the mean over as many draws, as is a KL that has no closed form.
    """
    device = module.device
    generator = torch.Generator(device).manual_seed(seed)

    def score(batch: Batch, start: int) -> tuple[Tensor, Tensor]:
        posterior = module.encode(batch)
        prior, draws = module.prior_at(batch), []
        kl_BK = torch.zeros_like(posterior.mean_BK)
        for n_before in range(n_samples):
            z_BK = posterior.sample(generator)
            draws.append(module.reconstruction(z_BK, batch))
            kl_BK += (prior.kl(posterior, z_BK) - kl_BK) / (n_before + 1)  # leaves a closed form as it is, to the bit
        return torch.stack(draws).mean(0), kl_BK

    reconstruction_N, kl_NK = map_cells(module, store, indices, score, batch_size=batch_size, device=device)
    return CellScores(reconstruction_N, kl_NK)
