"""From raw decoder outputs to positive parameters, with the chain rule written for gradients in log space.

A count likelihood's gradient is simple and bounded in log μ: (x − μ) θ / (θ + μ). Each link turns a head
into μ and carries that gradient back to the head, so that no logarithm of μ is ever formed.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

LOG_MEAN_BOUNDS = (-69.0, 60.0)
LOG_DISPERSION_BOUNDS = (-10.0, 20.0)


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


SOFTMAX = Softmax()
LOG_MEAN = Exponential(*LOG_MEAN_BOUNDS)
LOG_DISPERSION = Exponential(*LOG_DISPERSION_BOUNDS)
PLAIN = Plain()
