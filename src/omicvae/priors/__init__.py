"""Priors p(z): sample, log density and KL from a diagonal Gaussian posterior."""

from omicvae.priors._base import Prior
from omicvae.priors._standard import StandardNormal

PRIORS: dict[str, type[Prior]] = {"standard": StandardNormal}

__all__ = ["PRIORS", "Prior", "StandardNormal"]
