"""Missing entries of cells, drawn given the others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core import Batch
from omicvae._core.noise import DrawingByCell, cell_streams
from omicvae.training.evaluation import CellPasses, map_cells


@dataclass(frozen=True, slots=True)
class Imputed:
    """Missing entries, cell by cell and gene by gene, (E,) each, in data units.

    Attributes
    ----------
    mean_E
        Mean of p(x_missing | x_observed, c), averaged over draws of z.
    sd_E, low_E, high_E
        SD of the draws of an entry, and the bounds between which they lie.
    """

    mean_E: NDArray[np.float32]
    sd_E: NDArray[np.float32]
    low_E: NDArray[np.float32]
    high_E: NDArray[np.float32]


def impute_cells(
    passes: CellPasses, missing_NG: NDArray[np.bool_], *, seed: int, n_rounds: int, n_samples: int, level: float
) -> Imputed:
    """Impute the entries of ``missing_NG`` (cells of ``passes``, genes of the model); what stands there is not read.

    Rounds that fill them with decoded means, from the genes' own means on, find a start; from it a chain draws
    z ~ q(z | x, c) and then x_missing ~ p(x | z, c) in turn (Rezende, Mohamed & Wierstra 2014), and its draws are kept.
    A library that is a sum is that of the observed entries over their share of what is decoded.
    """
    module, rows = passes.module, passes.rows
    likelihood, draw = module.likelihood, passes.draws(seed)
    own_sums = likelihood.support == "counts" and not likelihood.size_factor
    ends_N = np.cumsum(missing_NG.sum(1))
    found: NDArray[Any] = np.empty((4, int(ends_N[-1])), np.float32)

    def impute(given: Batch, start: int) -> Tensor:
        missing_BG = torch.from_numpy(missing_NG[start : start + len(given)]).to(module.device)
        observed_BG = torch.where(missing_BG, 0.0, given.x_BG)
        sums_B1, streams = observed_BG.sum(1, keepdim=True), rows[start : start + len(given)]

        def filled(x_BG: Tensor, library_B1: Tensor) -> Batch:
            x_BG = torch.where(missing_BG, x_BG, observed_BG)
            return Batch(x_BG, library_B1, given.categories_BD, given.continuous_BV)

        def decoded(z_BK: Tensor, batch: Batch) -> tuple[Batch, torch.distributions.Distribution]:
            """Return the cells with the library that z gives them, and p(x | z, c) there."""
            heads = module.decode(z_BK, batch)
            if own_sums:
                share_B1 = torch.where(missing_BG, 0.0, likelihood.normalized(heads)).sum(1, keepdim=True)
                batch = filled(batch.x_BG, (sums_B1 / share_B1.clamp(min=1e-3)).clamp(min=1.0))
            return batch, likelihood.distribution(batch, heads)

        # the prior's mean is where a cell of which nothing is known starts
        batch = filled(observed_BG, given.library_B1)
        z_BK = module.prior_at(batch).moments()[0].expand(len(batch), -1)
        for _ in range(n_rounds):
            batch, distribution = decoded(z_BK, batch)
            batch = filled(distribution.mean.float(), batch.library_B1)
            z_BK = module.encode(batch).mean_BK
        means_E, draws_ES = torch.zeros(int(missing_BG.sum()), device=module.device), []
        for number in range(n_samples):
            batch, distribution = decoded(draw(module.encode(batch), start, number), batch)
            with DrawingByCell(cell_streams(streams, seed, number), module.device):
                x_BG = distribution.sample().float()
            means_E += distribution.mean.float()[missing_BG] / n_samples
            draws_ES.append(x_BG[missing_BG])
            batch = filled(x_BG, batch.library_B1)
        entries_ES = torch.stack(draws_ES, dim=1).cpu().numpy()
        bounds = np.quantile(entries_ES, [(1 - level) / 2, (1 + level) / 2], axis=1)
        place = slice(ends_N[start - 1] if start else 0, ends_N[start + len(given) - 1])
        found[:, place] = means_E.cpu().numpy(), entries_ES.std(1, ddof=1), *bounds
        return given.library_B1

    widest = missing_NG.shape[1] + n_samples * int(missing_NG.sum(1).max())
    map_cells(module, passes.store, rows, impute, entries=widest, batch_size=passes.batch_size)
    return Imputed(*found)
