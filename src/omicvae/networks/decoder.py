"""The decoder's network: latent and covariates to one output per gene and head."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omicvae.networks.blocks import MLP, full_precision
from omicvae.networks.linear import Linear


class Decoder(nn.Module):
    """MLP followed by one linear map per head that the likelihood asks for."""

    def __init__(
        self, n_latent: int, n_genes: int, heads: Sequence[str], n_hidden: int, n_layers: int, **block: Any
    ) -> None:
        super().__init__()
        self.n_hidden = n_hidden
        self.body = MLP(n_latent, n_hidden, n_layers, **block)
        self.heads = nn.ModuleDict({head: Linear(n_hidden, n_genes) for head in heads})

    @torch.no_grad()
    def set_bias(self, bias: Mapping[str, Tensor]) -> None:
        """Start every head at ``bias`` (G,), so that the untrained decoder is near the mean profile."""
        for name, value_G in bias.items():
            self.heads[name].bias_O.copy_(value_G)  # type: ignore[operator]

    def forward(self, z_BK: Tensor, c_BC: Tensor) -> dict[str, Tensor]:
        """Map z (B, K) and covariates (B, C) to raw outputs (B, G) by head name."""
        h_BH = self.body(z_BK, c_BC)
        return {name: full_precision(head(h_BH)) for name, head in self.heads.items()}
