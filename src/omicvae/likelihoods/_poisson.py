"""Poisson counts: the negative binomial's limit without overdispersion."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from omicvae._core import Batch, FeatureMoments, HeadOutput, SparseRows
from omicvae.likelihoods._base import Likelihood
from omicvae.likelihoods._cells import Array, poisson_cells
from omicvae.likelihoods._counts import CountMean
from omicvae.likelihoods._entries import zero_mask
from omicvae.likelihoods._links import PLAIN, SOFTMAX, Link
from omicvae.likelihoods._saddle_point import HALF_LOG_2PI, log_ratio_excess, stirling_error

_SMALLEST_MEAN = 1e-30


def _value(x: Tensor, mu: Tensor) -> Tensor:
    """−μ at zeros, x φ((μ − x) / x) − S(x) − ½ log(2π x) at x > 0 (Loader 2000)."""
    is_zero = zero_mask(x)
    x_safe, mu_safe = x + is_zero, mu.clamp_min(_SMALLEST_MEAN)
    difference = mu_safe - x_safe
    value = log_ratio_excess(difference / x_safe, (difference / mu_safe).neg_()).mul_(x_safe)
    value.sub_(stirling_error(x_safe)).sub_(x_safe.log().mul_(0.5)).sub_(HALF_LOG_2PI)
    return torch.lerp(value, -mu, is_zero)


class _PoissonFunction(torch.autograd.Function):
    """Log Poisson(x; μ) with the gradient x − μ in log μ."""

    @staticmethod
    def forward(ctx: Any, x_BG: Tensor, raw_BG: Tensor, factor_B1: Tensor | None, link: Link) -> Tensor:
        mu = link.forward(raw_BG, factor_B1)
        ctx.link = link
        ctx.save_for_backward(x_BG, mu, factor_B1)
        return _value(x_BG, mu)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BG: Tensor) -> tuple[Tensor | None, ...]:
        x_BG, mu, factor_B1 = ctx.saved_tensors
        slope = (x_BG - mu).mul_(gradient_BG)
        return None, ctx.link.backward(slope, mu, factor_B1), None, None


def poisson_log_prob(x_BG: Tensor, mu_BG: Tensor) -> Tensor:
    """Return log Poisson(x; μ) = x log μ − μ − log x!, in nats; shape (B, G).

    In float32 the absolute error is below 1e-3 + 1e-6 · abs(value) for x up to 1e7 and μ from 1e-6 to 1e7
    (saddle-point form, Loader 2000). Differentiable once in ``mu_BG``.
    """
    return _PoissonFunction.apply(x_BG, mu_BG, None, PLAIN)


class Poisson(Likelihood):
    """x ~ Poisson(μ), μ = ℓ · softmax(scale), or s · exp(scale) with a given size factor s. Counts.

    See :class:`~omicvae.likelihoods.Likelihood` for the arguments; there is no dispersion.
    """

    name: ClassVar[str] = "poisson"
    support: ClassVar[str] = "counts"
    dispersions: ClassVar[tuple[str, ...]] = ()

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

    @property
    def heads(self) -> tuple[str, ...]:
        """One head: the log rate, ``scale``."""
        return ("scale",)

    def initialise(self, moments: FeatureMoments) -> dict[str, Tensor]:
        """Start the rates at those of the training cells."""
        return {"scale": self._mean.bias(moments)}

    def features(self, x_BG: Tensor, library_B1: Tensor) -> Tensor:
        """log1p of normalised counts; shape (B, G)."""
        return self._mean.features(x_BG, library_B1)

    def sparse_features(self, batch: Batch) -> SparseRows:
        """Return :meth:`features` from the non-zeros."""
        return self._mean.sparse_features(batch)

    def log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log p(x | heads) of each count, in nats; shape (B, G)."""
        raw_BG = heads["scale"].to(batch.x_BG.dtype)
        return _PoissonFunction.apply(batch.x_BG, raw_BG, batch.library_B1, self._mean.link)

    def evaluate(
        self, batch: Batch, outputs: Mapping[str, HeadOutput], weight_B: Array
    ) -> tuple[NDArray[np.float64], tuple[Array, ...]]:
        """By a compiled kernel."""
        return poisson_cells(batch, outputs["scale"], weight_B, softmax=self._mean.link is SOFTMAX), ()

    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.Poisson:
        """Return the distribution of the counts; batch shape (B, G)."""
        return torch.distributions.Poisson(self._mean.mean(batch, heads))

    def normalized(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Share of the library, or mean per unit of size factor; shape (B, G)."""
        return self._mean.normalized(heads)
