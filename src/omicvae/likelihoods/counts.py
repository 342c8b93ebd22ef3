"""What the count likelihoods share: the mean, gradients in log space, and the encoder's view."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from omicvae._core import Batch, FeatureMoments, SparseRows
from omicvae._core.native import as_array, compiled, inlined, run
from omicvae.likelihoods.base import Likelihood
from omicvae.likelihoods.kernel_functions import exp, f4, if_nan, log1p
from omicvae.likelihoods.parameters import Array

# A mean of exactly 0 under a positive count has no finite log-probability; softmax underflows to it.
SMALLEST_MEAN = 1e-30
_LOG_MEAN_LOW, _LOG_MEAN_HIGH = -69.0, 60.0
_ENCODER_SCALE = 1e4
_SMALLEST_RATE = 1e-30


class _GivenSlopes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value_BG: Tensor, *slopes_and_arguments: Tensor) -> Tensor:
        ctx.save_for_backward(*slopes_and_arguments[::2])
        ctx.shared = [argument.dim() < value_BG.dim() for argument in slopes_and_arguments[1::2]]
        return value_BG.view_as(value_BG)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BG: Tensor) -> tuple[Tensor | None, ...]:
        gradients: list[Tensor | None] = [None]
        for slope_BG, shared in zip(ctx.saved_tensors, ctx.shared, strict=True):
            product_BG = slope_BG * gradient_BG
            gradients += [None, product_BG.sum(0) if shared else product_BG]
        return tuple(gradients)


def with_slopes(value_BG: Tensor, *slopes_and_arguments: Tensor) -> Tensor:
    """Return ``value_BG`` as a function, differentiable once, of arguments that follow its slopes in them.

    A count likelihood's gradient is simple and bounded in log μ, (x − μ) θ / (θ + μ), while autograd would lose digits
    in the saddle-point form and overflow where a softmax underflows. So values are computed without autograd, and
    their slopes are given in log μ and log θ, (B, G) or (G,), through which it goes on to the raw outputs.
    """
    return _GivenSlopes.apply(value_BG, *slopes_and_arguments)


class CountLikelihood(Likelihood):
    """x of mean μ = ℓ · softmax(scale), or μ = s · exp(scale) with a given size factor s."""

    support: ClassVar[str] = "counts"
    heads: tuple[str, ...] = ("scale",)

    @property
    def _encoder_scale(self) -> float:
        return 1.0 if self.size_factor else _ENCODER_SCALE

    def initialise(self, moments: FeatureMoments) -> dict[str, Tensor]:
        """Start at the training cells' rates; genes never seen get half of the smallest rate seen."""
        rate = moments.rate_G.to(torch.float64)
        seen = rate[rate > _SMALLEST_RATE]
        floor = 0.5 * seen.min() if seen.numel() else torch.ones((), dtype=rate.dtype, device=rate.device)
        return {"scale": torch.maximum(rate, floor).log().to(torch.get_default_dtype())}

    def features(self, x_BG: Tensor, library_B1: Tensor) -> Tensor:
        """Return log1p(10⁴ x / ℓ), or log1p(x / s) with size factors; shape (B, G)."""
        return (x_BG * (self._encoder_scale / library_B1)).log1p()

    def sparse_features(self, batch: Batch) -> SparseRows:
        """Return :meth:`features` from the non-zeros."""
        rows = batch.rows
        values_M = torch.empty_like(rows.values_M)
        arrays = (rows.starts, rows.values_M, (self._encoder_scale / batch.library_B1)[:, 0], values_M)
        run(_log1p_scaled, len(rows), *(array.numpy() for array in arrays))
        return replace(rows, values_M=values_M)

    def normalized(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Share of the library, or mean per unit of size factor (before extra zeros); shape (B, G)."""
        if self.size_factor:
            return heads["scale"].clamp(_LOG_MEAN_LOW, _LOG_MEAN_HIGH).exp()
        return torch.softmax(heads["scale"], -1)

    def mean(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return μ, counts; shape (B, G)."""
        return self.normalized({"scale": heads["scale"].to(batch.dtype)}) * batch.library_B1

    def parameters_at(self, batch: Batch, heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return μ, counts."""
        return {"mean": self.mean(batch, heads)}

    def log_mean(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log μ less log ℓ or log s, for its gradient: outside bounds that at the bound; shape (B, G)."""
        scale_BG = heads["scale"].to(batch.dtype)
        return scale_BG if self.size_factor else torch.log_softmax(scale_BG, -1)

    def factors(self, batch: Batch) -> tuple[Array, bool]:
        """Return each cell's ℓ or s, and whether it multiplies a softmax, for :func:`means`."""
        return as_array(batch.library_B1[:, 0]), not self.size_factor


@compiled
def _log1p_scaled(part, parts, starts, values, scale_B, out_M):  # type: ignore[no-untyped-def]
    """log1p(x · scale of its cell) at each non-zero."""
    n = len(scale_B)
    for b in range(n * part // parts, n * (part + 1) // parts):
        x, y = values[starts[b] : starts[b + 1]], out_M[starts[b] : starts[b + 1]]
        for j in range(len(x)):
            y[j] = log1p(x[j] * scale_B[b])


@inlined
def means(raw_G, factor, softmax, mu_G):  # type: ignore[no-untyped-def]
    """Write a cell's μ, factor · softmax(raw) or factor · exp(raw); return NaN if one value is, else 0."""
    top, lost, total = f4(-np.inf), f4(0), f4(0)
    for g in range(len(raw_G)):
        lost += if_nan(raw_G[g])
        top = max(top, raw_G[g])
    if softmax:
        for g in range(len(raw_G)):
            mu_G[g] = exp(raw_G[g] - top)
            total += mu_G[g]
        for g in range(len(raw_G)):
            mu_G[g] *= factor / total
    else:
        for g in range(len(raw_G)):
            mu_G[g] = factor * exp(min(max(raw_G[g], f4(_LOG_MEAN_LOW)), f4(_LOG_MEAN_HIGH)))
    return lost


@inlined
def mean_gradient(slope_G, mu_G, factor, softmax, weight):  # type: ignore[no-untyped-def]
    """Turn a cell's gradient in log μ into one in the raw values, times the weight."""
    total = f4(0)
    if softmax:
        for g in range(len(slope_G)):
            total += slope_G[g]
        total /= factor
    for g in range(len(slope_G)):
        slope_G[g] = weight * (slope_G[g] - mu_G[g] * total)
