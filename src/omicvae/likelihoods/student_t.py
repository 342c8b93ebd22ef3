"""Student's t: real values with outliers, such as protein intensities."""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from omicvae._core import Batch, FeatureMoments
from omicvae.likelihoods.parameters import GeneParameter
from omicvae.likelihoods.standardised import StandardisedLikelihood

# of log(scale) in standardised units, and of log(ν − 2): beyond ν = 150 it is a Gaussian
_BOUND = 5.0
_INITIAL_DEGREES = 10.0


class StudentT(StandardisedLikelihood):
    """x ~ a + b·(mean + s·t_ν): a and b training mean and SD, s scale and ν degrees of freedom of each gene.

    The head is in standardised units, log-probabilities in the data's (they include −log b). log s and log(ν − 2) are
    5·tanh(raw / 5), so that the variance exists: s² ν / (ν − 2). An outlier's pull on the fit falls with its distance
    (Lange, Little & Taylor 1989). Constant genes are left out, as by :class:`~omicvae.likelihoods.Gaussian`.

    See :class:`~omicvae.likelihoods.Likelihood` for the arguments.
    """

    name: ClassVar[str] = "student_t"
    dispersions: ClassVar[tuple[str, ...]] = ("gene",)

    def build(self) -> None:
        """Create standardisation, log scale and log degrees of freedom."""
        super().build()
        self.log_scale = GeneParameter("log_scale", self.n_genes, self.n_batches)
        self.log_degrees = GeneParameter("log_degrees", self.n_genes, self.n_batches)

    @property
    def heads(self) -> tuple[str, ...]:
        """One head: ``mean``, standardised units."""
        return ("mean",)

    def initialise(self, moments: FeatureMoments) -> dict[str, Tensor]:
        """Take the standardisation from the training cells, and start at ν = 10."""
        self.log_degrees.initialise(torch.full((), math.log(_INITIAL_DEGREES - 2)))
        return super().initialise(moments)

    def log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log p(x | heads), in nats and data units, 0 for constant genes; shape (B, G)."""
        z_BG = (batch.x_BG - self.location_G) / self.scale_G
        log_scale_G, degrees_G, constant_G = (value.to(z_BG.dtype) for value in self._per_gene())
        residual_BG = (z_BG - heads["mean"].to(z_BG.dtype)) * (-log_scale_G).exp()
        log_BG = (residual_BG.square() / degrees_G).log1p()
        return self.in_data_units(constant_G - 0.5 * (degrees_G + 1) * log_BG)

    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.StudentT:
        """Return the distribution of the values, data units; constant genes stay close to their constant."""
        mean = self.normalized(heads)
        log_scale_G, degrees_G, _ = (value.to(mean.dtype) for value in self._per_gene())
        scale_G = torch.where(self.active_G, log_scale_G.exp(), 1.0) * self.scale_G
        return torch.distributions.StudentT(degrees_G.expand_as(mean), mean, scale_G.expand_as(mean))

    def _per_gene(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return log s, ν, and log Γ((ν + 1) / 2) − log Γ(ν / 2) − ½ log(π ν) − log s, float64 (G,)."""
        log_scale_G, log_degrees_G = (
            _BOUND * torch.tanh(own.raw.double() / _BOUND) for own in (self.log_scale, self.log_degrees)
        )
        degrees_G = 2 + log_degrees_G.exp()
        constant_G = torch.lgamma(0.5 * (degrees_G + 1)) - torch.lgamma(0.5 * degrees_G)
        return log_scale_G, degrees_G, constant_G - 0.5 * (math.pi * degrees_G).log() - log_scale_G
