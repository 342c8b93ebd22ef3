"""What every prior gives: a density of the latent for the cells of a minibatch."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from omicvae._core import LatentPosterior
from omicvae.priors.density import LatentDensity

#: q(z | x, c) at inference of inputs (P, G) in the encoder's units, level codes (P, D) and continuous covariates (P, V)
Encode = Callable[[Tensor, Tensor, Tensor], LatentPosterior]


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

        ``x_PG`` are data as the encoder sees them; beside them level codes and standardised continuous covariates.
        """

    def add_covariates(self, n: int) -> None:  # most do not read c
        """Take ``n`` further entries at the end of c."""

    @abstractmethod
    def at(self, c_BC: Tensor, encode: Encode) -> LatentDensity:
        """Return the density for cells with the covariate encoding c (B, C)."""
