"""Cells decoded and sampled at their own and at other covariates, with the same draws of z."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core import Batch
from omicvae.data import Transform
from omicvae.likelihoods import Likelihood
from omicvae.training.evaluation import CellPasses, map_cells


def in_unit(likelihood: Likelihood, x_BG: Tensor, library_B1: Tensor) -> Tensor:
    """Return u(x): log1p(10⁴ x / Σx) of counts, log1p(x / s) with size factors, other data as they are."""
    if likelihood.support != "counts":
        return x_BG
    depth_B1 = library_B1 if likelihood.size_factor else x_BG.sum(1, keepdim=True).clamp_min(1)
    return likelihood.features(x_BG, depth_B1)


class Moments:
    """Running mean and population variance of tensors of one shape (Welford 1962), which lose no digits."""

    def __init__(self, like: Tensor) -> None:
        self.n, self.mean, self.squares = 0, torch.zeros_like(like), torch.zeros_like(like)

    def add(self, value: Tensor) -> None:
        """Take another draw."""
        self.n += 1
        before = value - self.mean
        self.mean += before / self.n
        self.squares += before * (value - self.mean)

    def both(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance."""
        return self.mean, self.squares / self.n


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
    likelihood = module.likelihood
    counts, moments_22KG = likelihood.support == "counts", np.zeros((2, 2, n_groups, passes.store.n_genes))

    def compare(batch: Batch, start: int) -> tuple[Tensor, ...]:
        q, there = module.encode(batch), target(batch)
        one_B1 = torch.ones_like(batch.library_B1)
        own, change, own_sample, sample = (Moments(batch.x_BG) for _ in range(4))
        for number in range(n_samples):
            z_BK, shown = draw(q, start, number), []
            for cells, of_sample in ((batch, own_sample), (there, sample)):
                heads = module.decode(z_BK, cells)
                expected_BG = likelihood.normalized(heads)
                shown.append(likelihood.features(expected_BG, one_B1) if counts else expected_BG)
                sample_BG = passes.observed(heads, cells, start, seed, number)
                of_sample.add(in_unit(likelihood, sample_BG, cells.library_B1))
            own.add(shown[0])
            change.add(shown[1] - shown[0])
        member_KB = (codes_N[start : start + len(batch)] == np.arange(n_groups)[:, None]).astype(np.float64)
        for moment_2KG, of_sample in zip(moments_22KG, (own_sample, sample), strict=True):
            first_BG, spread_BG = (value.cpu().numpy().astype(np.float64) for value in of_sample.both())
            moment_2KG[0] += member_KB @ first_BG
            moment_2KG[1] += member_KB @ (spread_BG + first_BG**2)
        unbiased = n_samples / (n_samples - 1)
        (change_BG, square_BG), (mean_BG, variance_BG) = change.both(), sample.both()
        sd_BG = (square_BG * unbiased).sqrt()
        return own.mean, own.mean + change_BG, change_BG, sd_BG, mean_BG, variance_BG * unbiased

    names = ("own", "target", "change", "sd", "mean", "variance")
    found = map_cells(module, passes.store, passes.rows, compare, batch_size=passes.batch_size)
    moments_22KG /= np.bincount(codes_N[codes_N >= 0], minlength=n_groups)[:, None]
    (own_mean_KG, own_square_KG), (mean_KG, square_KG) = moments_22KG
    own_variance_KG = np.maximum(own_square_KG - own_mean_KG**2, 0)
    variance_KG = np.maximum(square_KG - mean_KG**2, 0)
    return Contrast(dict(zip(names, found, strict=True)), own_mean_KG, own_variance_KG, mean_KG, variance_KG)
