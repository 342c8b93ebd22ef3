"""The standard normal prior."""

import torch
from torch import Tensor

from omicvae._core import LatentPosterior
from omicvae.priors._base import Encode, LatentDensity, Prior
from omicvae.priors._density import LOG_2PI, gaussian_kl


class StandardNormal(Prior):
    """p(z) = N(0, I) (Kingma & Welling 2014); the same for all cells, so it is its own density."""

    def __init__(self, n_latent: int) -> None:
        super().__init__()
        self.n_latent = n_latent
        self._anchor: Tensor  # empty; it knows the device
        self.register_buffer("_anchor", torch.zeros(()), persistent=False)

    def at(self, c_BC: Tensor, encode: Encode) -> LatentDensity:
        """Return itself."""
        return self

    def kl(self, posterior: LatentPosterior, z_BK: Tensor) -> Tensor:
        """KL(N(m, v) ‖ N(0, 1)) = ½ (m² + v − 1 − log v) per dimension, nats, shape (B, K)."""
        return gaussian_kl(posterior.mean_BK.square(), posterior.log_variance_BK)

    def log_prob(self, z_BK: Tensor) -> Tensor:
        """−½ Σ_j (z_j² + log 2π), nats, shape (B,)."""
        return -0.5 * (z_BK.square() + LOG_2PI).sum(-1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` independent standard normal vectors, shape (n, K)."""
        return torch.empty(n, self.n_latent, device=self._anchor.device).normal_(generator=generator)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Zeros and ones, shape (K,)."""
        return self._anchor.new_zeros(self.n_latent), self._anchor.new_ones(self.n_latent)
