"""Zero-inflated negative binomial counts."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from omicvae._core import Batch, FeatureMoments, HeadOutput, SparseRows
from omicvae.likelihoods._base import Likelihood
from omicvae.likelihoods._cells import Array
from omicvae.likelihoods._entries import zero_mask
from omicvae.likelihoods._negative_binomial import NegativeBinomial
from omicvae.likelihoods._negative_binomial_kernel import negative_binomial_log_prob

ZERO_LOGIT_BOUND = 60.0
_INITIAL_ZERO_LOGIT = -3.0


class _ZeroInflate(torch.autograd.Function):
    """From log p(x) of counts to the log-probability with extra zeros of probability π = σ(a).

    At x = 0 it is log p₀, p₀ = π + (1 − π) p(0); with v = π / p₀ its gradient in log p(0) is 1 − v and in a
    it is v − π. At x > 0 it is log p(x) + log(1 − π), with gradients 1 and −π, that is, v = 0. Since |a| is
    held below 60, p₀ keeps its relative precision in float32 and no logarithm of a sum of exponentials is
    needed.
    """

    @staticmethod
    def forward(ctx: Any, base_BG: Tensor, zero_logit_BG: Tensor, x_BG: Tensor) -> Tensor:
        bounded = zero_logit_BG.clamp(-ZERO_LOGIT_BOUND, ZERO_LOGIT_BOUND)
        pi = torch.sigmoid(bounded)
        is_zero = zero_mask(x_BG)
        p_zero = torch.addcmul(pi, (base_BG * is_zero).exp_(), 1 - pi)
        ctx.save_for_backward(pi, (pi / p_zero).mul_(is_zero))
        return torch.lerp(base_BG - softplus(bounded), p_zero.log(), is_zero)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BG: Tensor) -> tuple[Tensor | None, ...]:
        pi, responsibility = ctx.saved_tensors
        grad_base = (1 - responsibility).mul_(gradient_BG)
        grad_logit = (responsibility - pi).mul_(gradient_BG)
        return grad_base, grad_logit, None


def zinb_log_prob(x_BG: Tensor, mu_BG: Tensor, theta: Tensor, zero_logit_BG: Tensor) -> Tensor:
    """Return log [π·1(x = 0) + (1 − π) NB(x; μ, θ)] with π = σ(zero_logit), in nats; shape (B, G).

    In float32 the absolute error is below 1e-3 + 1e-6 · abs(value) for logits within ±30 and the range of
    :func:`negative_binomial_log_prob`; logits are held within ±60. Differentiable once in the last three
    tensors.
    """
    return _ZeroInflate.apply(negative_binomial_log_prob(x_BG, mu_BG, theta), zero_logit_BG, x_BG)


class ZeroInflatedNegativeBinomial(Likelihood):
    """x = 0 with probability π = σ(zero_logit), else x ~ NB(μ, θ).

    See :class:`~omicvae.likelihoods.Likelihood` for the arguments and
    :class:`~omicvae.likelihoods.NegativeBinomial` for μ and θ.
    """

    name: ClassVar[str] = "zinb"
    support: ClassVar[str] = "counts"
    dispersions: ClassVar[tuple[str, ...]] = NegativeBinomial.dispersions

    def __init__(
        self,
        n_genes: int,
        *,
        dispersion: str | None = None,
        n_batches: int = 1,
        size_factor: bool = False,
    ) -> None:
        super().__init__(n_genes, dispersion=dispersion, n_batches=n_batches, size_factor=size_factor)
        self.counts = NegativeBinomial(n_genes, dispersion=dispersion, n_batches=n_batches, size_factor=size_factor)

    @property
    def heads(self) -> tuple[str, ...]:
        """``scale`` and ``zero_logit``, and ``dispersion`` where θ is per cell."""
        return (*self.counts.heads, "zero_logit")

    def initialise(self, moments: FeatureMoments) -> dict[str, Tensor]:
        """Start at the moments of the training cells with few extra zeros (π = 0.05).

        With size factors μ is raised by 1 / (1 − π), so that the mean (1 − π) μ is the data's. A softmax
        cannot exceed the library: there the mean is the data's times 1 − π, in every gene alike.
        """
        biases = self.counts.initialise(moments)
        zero_logit = torch.full_like(biases["scale"], _INITIAL_ZERO_LOGIT)
        if self.size_factor:
            biases["scale"] = biases["scale"] + softplus(zero_logit)
        return {**biases, "zero_logit": zero_logit}

    def features(self, x_BG: Tensor, library_B1: Tensor) -> Tensor:
        """log1p of normalised counts; shape (B, G)."""
        return self.counts.features(x_BG, library_B1)

    def sparse_features(self, batch: Batch) -> SparseRows:
        """Return :meth:`features` from the non-zeros."""
        return self.counts.sparse_features(batch)

    def log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log p(x | heads) of each count, in nats; shape (B, G)."""
        base_BG = self.counts.log_prob(batch, heads)
        return _ZeroInflate.apply(base_BG, heads["zero_logit"].to(base_BG.dtype), batch.x_BG)

    def evaluate(
        self, batch: Batch, outputs: Mapping[str, HeadOutput], weight_B: Array
    ) -> tuple[NDArray[np.float64], tuple[Array, ...]]:
        """By a compiled kernel."""
        return self.counts.evaluate(batch, outputs, weight_B, outputs["zero_logit"])

    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.Distribution:
        """Return the distribution of the counts (mean (1 − π) μ); batch shape (B, G)."""
        from pyro.distributions import ZeroInflatedDistribution

        base = self.counts.distribution(batch, heads)
        bounded = heads["zero_logit"].to(batch.x_BG.dtype).clamp(-ZERO_LOGIT_BOUND, ZERO_LOGIT_BOUND)
        return ZeroInflatedDistribution(base, gate_logits=bounded)

    def normalized(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Share of the library before extra zeros, or mean per unit of size factor; shape (B, G)."""
        return self.counts.normalized(heads)
