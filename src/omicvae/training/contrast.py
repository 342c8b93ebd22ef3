"""Cells decoded and sampled at their own and at other covariates, with the same draws of z."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core import Batch
from omicvae._core.noise import DrawingByCell, cell_streams
from omicvae.data import Transform
from omicvae.likelihoods import Likelihood
from omicvae.training.evaluation import CellPasses, map_cells


def in_unit(likelihood: Likelihood, x_BG: Tensor, library_B1: Tensor) -> Tensor:
    """Return u(x): log1p(10⁴ x / Σx) of counts, log1p(x / s) with size factors, other data as they are."""
    if likelihood.support != "counts":
        return x_BG
    depth_B1 = library_B1 if likelihood.size_factor else x_BG.sum(1, keepdim=True).clamp_min(1)
    return likelihood.features(x_BG, depth_B1)


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """What :func:`contrast` finds of N cells in K groups.

    Attributes
    ----------
    cells
        By name, float32 (N, G), means over draws: ``own``, ``target``: u of what is decoded at c and c′, of shares for
        counts; ``change``, their difference, and its ``sd``; ``mean``, ``variance`` of u(x̂), x̂ ~ p(x | z, c′).
    own_mean_KG, own_variance_KG, mean_KG, variance_KG
        Of u(x̂) over the cells of a group and all draws, under c and under c′; float64.
    """

    cells: dict[str, NDArray[np.float32]]
    own_mean_KG: NDArray[np.float64]
    own_variance_KG: NDArray[np.float64]
    mean_KG: NDArray[np.float64]
    variance_KG: NDArray[np.float64]


def contrast(
    passes: CellPasses, target: Transform, codes_N: NDArray[np.int64], n_groups: int, *, seed: int, n_samples: int
) -> Contrast:
    """Draw z ~ q(z | x, c) ``n_samples`` times, and x̂ from p(x | z, c) and p(x | z, c′) at each; own libraries.

    ``codes_N`` is the group of each of the cells of ``passes``, −1 for a cell that has none.
    """
    module, draw = passes.module, passes.draws(seed)
    likelihood, rows = module.likelihood, np.arange(passes.store.n_cells) if passes.rows is None else passes.rows
    moments_4KG = np.zeros((4, n_groups, passes.store.n_genes))

    def sampled(batch: Batch, heads: dict[str, Tensor], start: int, number: int) -> Tensor:
        distribution = likelihood.distribution(batch, heads)
        with DrawingByCell(cell_streams(rows[start : start + len(batch)], seed, number), module.device):
            return in_unit(likelihood, distribution.sample(), batch.library_B1)

    def compare(batch: Batch, start: int) -> tuple[Tensor, ...]:
        q, there = module.encode(batch), target(batch)
        one_B1 = torch.ones_like(batch.library_B1)
        sums = [torch.zeros_like(batch.x_BG) for _ in range(7)]
        for number in range(n_samples):
            z_BK = draw(q, start, number)
            values = []
            for cells in (batch, there):
                heads = module.decode(z_BK, cells)
                expected_BG = likelihood.normalized(heads)
                shown_BG = likelihood.features(expected_BG, one_B1) if likelihood.support == "counts" else expected_BG
                values += [shown_BG, sampled(cells, heads, start, number)]
            own_BG, own_sample_BG, target_BG, sample_BG = values
            change_BG = target_BG - own_BG
            taken = (own_BG, target_BG, change_BG**2, own_sample_BG, own_sample_BG**2, sample_BG, sample_BG**2)
            for total_BG, value_BG in zip(sums, taken, strict=True):
                total_BG += value_BG
        own_BG, target_BG, square_BG, *samples = (total_BG / n_samples for total_BG in sums)
        member_KB = codes_N[start : start + len(batch)] == np.arange(n_groups)[:, None]
        for moment_KG, value_BG in zip(moments_4KG, samples, strict=True):
            moment_KG += member_KB.astype(np.float64) @ value_BG.cpu().numpy().astype(np.float64)
        change_BG = target_BG - own_BG
        unbiased = n_samples / (n_samples - 1)
        sd_BG = ((square_BG - change_BG**2).clamp_min(0) * unbiased).sqrt()
        variance_BG = (samples[3] - samples[2] ** 2).clamp_min(0) * unbiased
        return own_BG, target_BG, change_BG, sd_BG, samples[2], variance_BG

    names = ("own", "target", "change", "sd", "mean", "variance")
    found = map_cells(module, passes.store, passes.rows, compare, batch_size=passes.batch_size)
    moments_4KG /= np.bincount(codes_N[codes_N >= 0], minlength=n_groups)[:, None]
    own_KG, own_square_KG, mean_KG, square_KG = moments_4KG
    variances = (np.maximum(second - first**2, 0) for first, second in ((own_KG, own_square_KG), (mean_KG, square_KG)))
    own_variance_KG, variance_KG = variances
    return Contrast(dict(zip(names, found, strict=True)), own_KG, own_variance_KG, mean_KG, variance_KG)
