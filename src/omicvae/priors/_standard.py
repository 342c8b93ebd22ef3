"""The standard normal prior."""

import math

import torch
from torch import Tensor

from omicvae._core import LatentPosterior
from omicvae.priors._base import Prior


class StandardNormal(Prior):
    """p(z) = N(0, I) (Kingma & Welling 2014)."""

    def __init__(self, n_latent: int) -> None:
        super().__init__()
        self.n_latent = n_latent
        self._anchor: Tensor  # empty; it knows the device
        self.register_buffer("_anchor", torch.zeros(()), persistent=False)

    def kl(self, posterior: LatentPosterior) -> Tensor:
        """KL(N(m, v) ‖ N(0, 1)) = ½ (m² + v − 1 − log v) per dimension, nats, shape (B, K)."""
        mean_BK, log_variance_BK = posterior.mean_BK, posterior.log_variance_BK
        # v − 1 − log v cancels near v = 1; expm1 keeps the small KL of a collapsed posterior exact
        return 0.5 * (mean_BK.square() + torch.expm1(log_variance_BK) - log_variance_BK)

    def log_prob(self, z_BK: Tensor) -> Tensor:
        """−½ Σ_j (z_j² + log 2π), nats, shape (B,)."""
        return -0.5 * (z_BK.square() + math.log(2 * math.pi)).sum(-1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` independent standard normal vectors, shape (n, K)."""
        return torch.empty(n, self.n_latent, device=self._anchor.device).normal_(generator=generator)
