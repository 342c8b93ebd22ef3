"""Frozen values that pass between the layers.

Shape suffixes: ``B`` cells in a minibatch, ``G`` genes (features), ``K`` latent dimensions, ``D`` categorical
covariates, ``V`` continuous covariates, ``M`` non-zero entries.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """A dense minibatch of cells on one device.

    Attributes
    ----------
    x_BG
        Data in the user's units (counts, real values, or 0/1), float32.
    library_B1
        Library size ℓ (counts, at least 1) or the given size factor s, float32.
    categories_BD
        Level codes of the categorical covariates, int64; the batch covariate, where there is one, is column 0.
    continuous_BV
        Continuous covariates, standardised with the training mean and SD, float32.
    nonzero_M
        Ascending positions of the non-zeros in ``x_BG.view(-1)``, int64; None where they are not known.
    """

    x_BG: Tensor
    library_B1: Tensor
    categories_BD: Tensor
    continuous_BV: Tensor
    nonzero_M: Tensor | None = None

    def __len__(self) -> int:
        return self.x_BG.shape[0]


@dataclass(frozen=True, slots=True)
class FeatureMoments:
    """Per-gene statistics of the training cells, float64; they initialise decoders and standardise inputs.

    Attributes
    ----------
    mean_G, variance_G
        Plain mean and (population) variance of each gene, in data units.
    rate_G
        Σ_n x_ng / Σ_n ℓ_n: share of the library (or mean per unit of size factor).
    inverse_dispersion_G
        Moment estimate of the NB's θ around μ_ng = ℓ_n · rate_g:
        Σ_n μ_ng² / max(Σ_n (x_ng − μ_ng)² − Σ_n μ_ng, small), clipped to [1e-2, 1e4].
    """

    mean_G: Tensor
    variance_G: Tensor
    rate_G: Tensor
    inverse_dispersion_G: Tensor


@dataclass(frozen=True, slots=True)
class LatentPosterior:
    """Diagonal Gaussian posterior q(z | x, c)."""

    mean_BK: Tensor
    log_variance_BK: Tensor

    @property
    def sd_BK(self) -> Tensor:
        """Posterior standard deviation."""
        return (0.5 * self.log_variance_BK).exp()

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw z = mean + sd · ε with ε ~ N(0, I) (Kingma & Welling 2014), differentiable in both."""
        noise = torch.empty_like(self.mean_BK).normal_(generator=generator)
        return self.mean_BK + self.sd_BK * noise


@dataclass(frozen=True, slots=True)
class LossTerms:
    """What one minibatch costs, in nats.

    Attributes
    ----------
    loss
        Scalar objective per cell: reconstruction + kl_weight · regularised KL.
    reconstruction_B
        −log p(x | z, c), summed over genes with every constant.
    kl_BK
        Raw KL(q(z_j | x, c) ‖ p(z_j)) before free bits, capacity and weight.
    """

    loss: Tensor
    reconstruction_B: Tensor
    kl_BK: Tensor
