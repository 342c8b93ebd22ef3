"""The encoder q(z | x, c)."""

from typing import Any

import torch
from torch import Tensor, nn

from omicvae._core import LatentPosterior, SparseRows
from omicvae.networks.blocks import MLP, full_precision

# variance between 5e-7 and 150: wide enough for any useful posterior, narrow enough for finite float32 gradients
LOG_VARIANCE_BOUNDS = (-14.5, 5.0)


class LatentHead(nn.Linear):
    """Linear map to the latent's dimensions; without ``bias`` that is a buffer of zeros, under the same name."""

    def __init__(self, n_hidden: int, n_latent: int, *, bias: bool = True) -> None:
        super().__init__(n_hidden, n_latent)
        if not bias:
            del self.bias
            self.register_buffer("bias", torch.zeros(n_latent))


class Encoder(nn.Module):
    """MLP with a mean head and a log-variance head (Kingma & Welling 2014).

    The log variance is clamped to ``log_variance_bounds``. Its head starts at zero weights, so the untrained
    posterior has unit variance. ``mean_bias`` is for a decoder that does not take a constant away from z again.
    """

    def __init__(
        self,
        n_in: int,
        n_latent: int,
        n_hidden: int,
        n_layers: int,
        *,
        log_variance_bounds: tuple[float, float] = LOG_VARIANCE_BOUNDS,
        mean_bias: bool = True,
        **block: Any,
    ) -> None:
        super().__init__()
        self.log_variance_bounds = log_variance_bounds
        self.body = MLP(n_in, n_hidden, n_layers, **block)
        self.mean = LatentHead(n_hidden, n_latent, bias=mean_bias)
        self.log_variance = LatentHead(n_hidden, n_latent)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.zeros_(self.log_variance.bias)

    def forward(self, x_BG: Tensor | SparseRows, c_BC: Tensor) -> LatentPosterior:
        """Map transformed data (B, G) and covariates (B, C) to a diagonal Gaussian over (B, K)."""
        h_BH = self.body(x_BG, c_BC)
        log_variance_BK = full_precision(self.log_variance(h_BH)).clamp(*self.log_variance_bounds)
        return LatentPosterior(full_precision(self.mean(h_BH)), log_variance_BK)

    def at_inference(self, x_BG: Tensor | SparseRows, c_BC: Tensor) -> LatentPosterior:
        """Map as in evaluation whatever the mode: running statistics, which stay as they are, and no dropout."""
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            return self(x_BG, c_BC)
        finally:
            for module in training:
                module.training = True
