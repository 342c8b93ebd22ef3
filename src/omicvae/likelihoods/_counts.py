"""What the count likelihoods share: the mean and its links, and the encoder's view.

A count likelihood's gradient is simple and bounded in log μ: (x − μ) θ / (θ + μ). Each link turns a raw decoder output
into μ and carries that gradient back, so that no logarithm of μ is ever formed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from omicvae._core import Batch, FeatureMoments, SparseRows
from omicvae._core.native import compiled, inlined, run
from omicvae.likelihoods._base import Likelihood
from omicvae.likelihoods.kernel_functions import exp, f4, if_nan, log1p

# A mean of exactly 0 under a positive count has no finite log-probability; softmax underflows to it.
SMALLEST_MEAN = 1e-30
_LOG_MEAN_LOW, _LOG_MEAN_HIGH = -69.0, 60.0
_ENCODER_SCALE = 1e4
_SMALLEST_RATE = 1e-30


class Link(Protocol):
    """A positive parameter as a function of a raw value and a factor per cell."""

    def forward(self, raw: Tensor, factor_B1: Tensor | None) -> Tensor:
        """Return the positive parameter."""
        ...

    def backward(self, gradient: Tensor, value: Tensor, factor_B1: Tensor | None) -> Tensor:
        """Turn a gradient in log(value) into one in the raw value."""
        ...


@dataclass(frozen=True, slots=True)
class Softmax:
    """μ = ℓ · softmax(raw) over genes; the factor is the library ℓ, counts."""

    def forward(self, raw: Tensor, factor_B1: Tensor | None) -> Tensor:
        """Return μ_BG, counts."""
        assert factor_B1 is not None
        return torch.softmax(raw, -1) * factor_B1

    def backward(self, gradient: Tensor, value: Tensor, factor_B1: Tensor | None) -> Tensor:
        """Return g − softmax · Σ g."""
        assert factor_B1 is not None
        return torch.addcmul(gradient, value, gradient.sum(-1, keepdim=True) / factor_B1, value=-1)


@dataclass(frozen=True, slots=True)
class Exponential:
    """value = factor · exp(raw), with raw held inside ``low`` and ``high``.

    Outside the bounds the gradient is the one at the bound, so that a parameter which strayed comes back.
    """

    low: float
    high: float

    def forward(self, raw: Tensor, factor_B1: Tensor | None) -> Tensor:
        """Return factor · exp(raw), or exp(raw) without a factor."""
        value = raw.clamp(self.low, self.high).exp()
        return value if factor_B1 is None else value * factor_B1

    def backward(self, gradient: Tensor, value: Tensor, factor_B1: Tensor | None) -> Tensor:
        """Return the gradient as it is: the raw value is the logarithm."""
        return gradient


@dataclass(frozen=True, slots=True)
class Plain:
    """The raw value is the parameter itself."""

    def forward(self, raw: Tensor, factor_B1: Tensor | None) -> Tensor:
        """Return ``raw``."""
        return raw

    def backward(self, gradient: Tensor, value: Tensor, factor_B1: Tensor | None) -> Tensor:
        """Return g / value."""
        return gradient / value


SOFTMAX, LOG_MEAN, PLAIN = Softmax(), Exponential(_LOG_MEAN_LOW, _LOG_MEAN_HIGH), Plain()


class CountLikelihood(Likelihood):
    """x of mean μ = ℓ · softmax(scale), or μ = s · exp(scale) with a given size factor s."""

    support: ClassVar[str] = "counts"

    @property
    def link(self) -> Link:
        """From the head ``scale`` and ℓ or s to μ."""
        return LOG_MEAN if self.size_factor else SOFTMAX

    @property
    def _encoder_scale(self) -> float:
        return 1.0 if self.size_factor else _ENCODER_SCALE

    def log_rate(self, moments: FeatureMoments) -> Tensor:
        """Return the log rate of each gene; genes never seen get half of the smallest rate seen."""
        rate = moments.rate_G.to(torch.float64)
        seen = rate[rate > _SMALLEST_RATE]
        floor = 0.5 * seen.min() if seen.numel() else torch.ones((), dtype=rate.dtype, device=rate.device)
        return torch.maximum(rate, floor).log().to(torch.get_default_dtype())

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

    def mean(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return μ, counts; shape (B, G)."""
        return self.link.forward(heads["scale"].to(batch.x_BG.dtype), batch.library_B1)

    def normalized(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Share of the library, or mean per unit of size factor (before extra zeros); shape (B, G)."""
        scale = heads["scale"]
        return self.link.forward(scale, scale.new_ones(scale.shape[0], 1))


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
    """Write a cell's μ = factor · softmax(raw) or factor · exp(raw); return NaN if a raw value is NaN, else 0."""
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
