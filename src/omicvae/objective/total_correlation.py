"""Total correlation of the aggregate posterior (Chen et al. 2018, β-TCVAE)."""

import math

import torch
from torch import Tensor

from omicvae._core import LatentPosterior


def total_correlation(z_BK: Tensor, posterior: LatentPosterior, n_cells: int) -> Tensor:
    """Estimate TC(z) = KL(q(z) ‖ Π_j q(z_j)) from a minibatch, nats; scalar, differentiable.

    Minibatch-weighted sampling (Chen et al. 2018, equation 5) with M cells of ``n_cells`` = N:
    log q̂(z) = logsumexp_m log q(z | x_m) − log(N M), and each marginal q̂(z_j) alike. The estimate is biased, by a
    constant (K − 1) log N at worst, which no gradient sees.

    Parameters
    ----------
    z_BK
        One draw of each cell's posterior.
    posterior
        q(z | x_m) of the same cells.
    n_cells
        Training cells N.
    """
    mean_MK, log_variance_MK = posterior.mean_BK, posterior.log_variance_BK
    difference_BMK = z_BK[:, None] - mean_MK[None]
    log_density_BMK = -0.5 * (
        difference_BMK.square() * (-log_variance_MK).exp()[None] + log_variance_MK[None] + math.log(2 * math.pi)
    )
    normaliser = math.log(n_cells * len(z_BK))
    joint_B = torch.logsumexp(log_density_BMK.sum(-1), dim=1) - normaliser
    marginals_BK = torch.logsumexp(log_density_BMK, dim=1) - normaliser
    return (joint_B - marginals_BK.sum(-1)).mean()
