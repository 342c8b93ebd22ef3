"""What every prior gives."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from omicvae._core import LatentPosterior


class Prior(nn.Module, ABC):
    """Density of the latent variable before any data are seen."""

    @abstractmethod
    def kl(self, posterior: LatentPosterior) -> Tensor:
        """KL(q(z_j | x, c) ‖ p(z_j)) in nats, shape (B, K)."""

    @abstractmethod
    def log_prob(self, z_BK: Tensor) -> Tensor:
        """Return log p(z) in nats, shape (B,)."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``n`` latent vectors, shape (n, K)."""
