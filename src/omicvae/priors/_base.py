"""What every prior gives: a density of the latent for the cells of a minibatch."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from omicvae._core import LatentPosterior

#: q(z | x, c) at inference of inputs (P, G) in the encoder's units, level codes (P, D) and continuous covariates (P, V)
Encode = Callable[[Tensor, Tensor, Tensor], LatentPosterior]


class LatentDensity(Protocol):
    """p(z | c) for the cells of one minibatch, cell by cell, or p(z) where it is the same for all of them."""

    def kl(self, posterior: LatentPosterior, z_BK: Tensor) -> Tensor:
        """KL(q ‖ p) by dimension in nats, shape (B, K); its estimate at the draw z where no closed form exists."""
        ...

    def log_prob(self, z_BK: Tensor) -> Tensor:
        """Return log p(z) in nats, shape (B,)."""
        ...

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw a latent vector for each of ``n`` cells, those of the minibatch; shape (n, K)."""
        ...

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation by dimension, shape (B, K), or (K,) where they are the same for all cells."""
        ...


class Prior(nn.Module, ABC):
    """Density of the latent variable before a cell's profile is seen.

    Attributes
    ----------
    n_cells
        How many training cells :meth:`initialise` would like to have.
    """

    n_cells: int = 0

    def initialise(self, x_PG: Tensor, categories_PD: Tensor, continuous_PV: Tensor) -> None:
        """Start from ``n_cells`` training cells, or as many as there are; called where ``n_cells`` is not 0.

        Parameters
        ----------
        x_PG
            Data as the encoder sees them.
        categories_PD, continuous_PV
            Level codes and standardised continuous covariates of the same cells.
        """

    @abstractmethod
    def at(self, c_BC: Tensor, encode: Encode) -> LatentDensity:
        """Return the density for cells with the covariate encoding c (B, C)."""
