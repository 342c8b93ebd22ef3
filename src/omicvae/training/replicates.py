"""Cells beside replicates of them that the model draws at the same latent, covariates and library."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core import Batch, SparseRows
from omicvae._core.noise import DrawingByCell, cell_noise, cell_streams
from omicvae.training.evaluation import CellPasses, map_cells


@dataclass(frozen=True, slots=True)
class Surprise:
    """How surprising N cells are beside R replicates x̂ ~ p(x | z, c, ℓ) of each, at one z ~ q(z | x, c).

    Attributes
    ----------
    nats_N
        The negative bound −log p(x | z, c) + KL(q ‖ p), nats, at that z.
    replicates_NR
        The same of the replicates, each at its own draw z ~ q(z | x̂, c).
    genes_NT, excess_NT
        The T genes whose −log p(x_g | z, c) exceeds their replicates' mean most, and by how many nats.
    """

    nats_N: NDArray[np.float64]
    replicates_NR: NDArray[np.float64]
    genes_NT: NDArray[np.int64]
    excess_NT: NDArray[np.float32]


def surprise(passes: CellPasses, *, seed: int, n_replicates: int, n_genes: int = 0) -> Surprise:
    """Measure how surprising cells are beside their replicates; of all genes together, and the ``n_genes`` first.

    A replicate goes the way of a cell: where ℓ is a cell's sum it has a sum of its own, and it is encoded anew, so that
    what encoder and bound lack is lacking on both sides.
    """
    module, device = passes.module, passes.module.device
    likelihood, n_latent = module.likelihood, module.architecture.n_latent
    own_sums = likelihood.support == "counts" and not likelihood.size_factor

    def measure(cells: Batch, start: int) -> tuple[Tensor, ...]:
        numbers, prior = passes.rows[start : start + len(cells)], module.prior_at(cells)

        def bound(batch: Batch, draw: int) -> tuple[Tensor, dict[str, Tensor]]:
            q = module.encode(batch)
            z_BK = q.at(torch.from_numpy(cell_noise(numbers, n_latent, seed, draw)).to(q.mean_BK))
            heads = module.decode(z_BK, batch)
            return prior.kl(q, z_BK).sum(-1, dtype=torch.float64) - likelihood.cell_log_prob(batch, heads), heads

        def replicate(draw: int) -> Batch:
            with DrawingByCell(cell_streams(numbers, seed, draw), device):
                x_BG = distribution.sample().float()
            library_B1 = x_BG.sum(1, keepdim=True).clamp(min=1) if own_sums else cells.library_B1
            x = SparseRows.from_dense(x_BG) if cells.rows_for_kernels else x_BG
            return Batch(x, library_B1, cells.categories_BD, cells.continuous_BV)

        own_B, heads = bound(cells, 0)
        distribution, others = likelihood.distribution(cells, heads), []
        excess_BG = -likelihood.log_prob(cells, heads) if n_genes else torch.empty(len(cells), 0, device=device)
        for draw in range(1, n_replicates + 1):
            drawn = replicate(draw)
            nats_B, heads = bound(drawn, draw)
            others.append(nats_B)
            if n_genes:
                excess_BG += likelihood.log_prob(drawn, heads) / n_replicates
        most = torch.topk(excess_BG, n_genes, dim=1)
        return own_B, torch.stack(others, dim=1), most.indices, most.values

    found: list[Any] = map_cells(module, passes.store, passes.rows, measure, batch_size=passes.batch_size)
    return Surprise(*found)
