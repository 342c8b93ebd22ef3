"""Negative binomial counts."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core import Batch, FeatureMoments, HeadOutput, SparseRows
from omicvae.likelihoods._base import Likelihood
from omicvae.likelihoods._cells import Array, negative_binomial_cells
from omicvae.likelihoods._counts import DISPERSIONS, CountMean, log_inverse_dispersion
from omicvae.likelihoods._links import LOG_DISPERSION, SOFTMAX
from omicvae.likelihoods._negative_binomial_kernel import negative_binomial_from_heads


class NegativeBinomial(Likelihood):
    """x ~ NB(μ, θ), variance μ + μ² / θ; μ = ℓ · softmax(scale), or s · exp(scale) with size factors s.

    See :class:`~omicvae.likelihoods.Likelihood` for the arguments. θ is per gene (``"gene"``), per gene and
    batch (``"gene-batch"``) or per gene and cell (``"gene-cell"``, a decoder head), between exp(−10) and
    exp(20).
    """

    name: ClassVar[str] = "nb"
    support: ClassVar[str] = "counts"
    dispersions: ClassVar[tuple[str, ...]] = tuple(DISPERSIONS)

    def __init__(
        self,
        n_genes: int,
        *,
        dispersion: str | None = None,
        n_batches: int = 1,
        size_factor: bool = False,
    ) -> None:
        super().__init__(n_genes, dispersion=dispersion, n_batches=n_batches, size_factor=size_factor)
        self._mean = CountMean(size_factor)
        self.log_dispersion = DISPERSIONS[str(self.dispersion)](self.n_genes, self.n_batches)

    @property
    def heads(self) -> tuple[str, ...]:
        """``scale``, and ``dispersion`` where θ is per cell."""
        return ("scale", *self.log_dispersion.heads)

    def initialise(self, moments: FeatureMoments) -> dict[str, Tensor]:
        """Start rates and dispersions at the moments of the training cells."""
        dispersion = self.log_dispersion.initialise(log_inverse_dispersion(moments))
        return {"scale": self._mean.bias(moments), **dispersion}

    def features(self, x_BG: Tensor, library_B1: Tensor) -> Tensor:
        """log1p of normalised counts; shape (B, G)."""
        return self._mean.features(x_BG, library_B1)

    def sparse_features(self, batch: Batch) -> SparseRows:
        """Return :meth:`features` from the non-zeros."""
        return self._mean.sparse_features(batch)

    def log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log p(x | heads) of each count, in nats; shape (B, G)."""
        dtype = batch.x_BG.dtype
        return negative_binomial_from_heads(
            batch.x_BG,
            heads["scale"].to(dtype),
            self.log_dispersion(batch, heads).to(dtype),
            mean_link=self._mean.link,
            factor_B1=batch.library_B1,
        )

    def evaluate(
        self,
        batch: Batch,
        outputs: Mapping[str, HeadOutput],
        weight_B: Array,
        gate: HeadOutput | None = None,
    ) -> tuple[NDArray[np.float64], tuple[Array, ...]]:
        """By a compiled kernel; with ``gate``, the logit of π, for the zero-inflated form."""
        log_theta_RG, row_B = self.log_dispersion.table(batch, outputs)
        softmax = self._mean.link is SOFTMAX
        value_B, gradient_RG = negative_binomial_cells(
            batch, outputs["scale"], log_theta_RG, row_B, weight_B, softmax=softmax, gate=gate
        )
        return value_B, self.log_dispersion.take_gradient(gradient_RG, outputs)

    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.NegativeBinomial:
        """Return the distribution of the counts; batch shape (B, G)."""
        dtype = batch.x_BG.dtype
        mu_BG = self._mean.mean(batch, heads).clamp_min(torch.finfo(dtype).tiny)
        theta = LOG_DISPERSION.forward(self.log_dispersion(batch, heads).to(dtype), None)
        return torch.distributions.NegativeBinomial(theta, logits=mu_BG.log() - theta.log())

    def normalized(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Share of the library, or mean per unit of size factor; shape (B, G)."""
        return self._mean.normalized(heads)
