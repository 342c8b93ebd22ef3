"""Priors p(z) or p(z | c): each gives a density for a minibatch, with KL, log density, draws and moments."""

from collections.abc import Callable
from dataclasses import dataclass

from omicvae.priors._base import Encode, LatentDensity, Prior
from omicvae.priors._conditional import ConditionalNormal
from omicvae.priors._density import DiagonalNormal, Mixture
from omicvae.priors._standard import StandardNormal
from omicvae.priors._vamp import VampPrior


@dataclass(frozen=True, slots=True)
class PriorSizes:
    """What the priors of the table are made from.

    Attributes
    ----------
    n_latent, n_genes
        Latent dimensions K, features G.
    n_categorical, n_continuous, covariate_width
        Categorical covariates D, continuous covariates V, width C of their encoding.
    n_pseudo_inputs
        Components of the VampPrior.
    """

    n_latent: int
    n_genes: int
    n_categorical: int
    n_continuous: int
    covariate_width: int
    n_pseudo_inputs: int


PRIORS: dict[str, Callable[[PriorSizes], Prior]] = {
    "standard": lambda s: StandardNormal(s.n_latent),
    "conditional": lambda s: ConditionalNormal(s.n_latent, s.covariate_width),
    "vamp": lambda s: VampPrior(s.n_genes, s.n_categorical, s.n_continuous, s.n_pseudo_inputs),
}

__all__ = [
    "PRIORS",
    "ConditionalNormal",
    "DiagonalNormal",
    "Encode",
    "LatentDensity",
    "Mixture",
    "Prior",
    "PriorSizes",
    "StandardNormal",
    "VampPrior",
]
