"""Priors p(z) or p(z | c): each gives a density for a minibatch, with KL, log density, draws and moments."""

from collections.abc import Callable

from omicvae.priors.base import Encode, Prior
from omicvae.priors.density import DiagonalNormal, LatentDensity, Mixture
from omicvae.priors.normal import ConditionalNormal, StandardNormal
from omicvae.priors.vamp import VampPrior

#: a prior from its sizes: n_latent K, n_genes G, n_categorical D, n_continuous V, covariate_width C of the encoding,
#: n_pseudo_inputs P
PRIORS: dict[str, Callable[..., Prior]] = {
    "standard": lambda *, n_latent, **_: StandardNormal(n_latent),
    "conditional": lambda *, n_latent, covariate_width, **_: ConditionalNormal(n_latent, covariate_width),
    "vamp": lambda *, n_genes, n_categorical, n_continuous, n_pseudo_inputs, **_: VampPrior(
        n_genes, n_categorical, n_continuous, n_pseudo_inputs
    ),
}

__all__ = [
    "PRIORS",
    "ConditionalNormal",
    "DiagonalNormal",
    "Encode",
    "LatentDensity",
    "Mixture",
    "Prior",
    "StandardNormal",
    "VampPrior",
]
