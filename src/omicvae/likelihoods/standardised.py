"""What the likelihoods of real values share: genes standardised by the training cells, constant ones left out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from omicvae._core import Batch, FeatureMoments, SparseRows
from omicvae._core.native import compiled, run
from omicvae.likelihoods.base import Likelihood

_RELATIVE_SCALE_FLOOR = 1e-6


class StandardisedLikelihood(Likelihood):
    """x = a + b · (value in standardised units), a and b the training mean and SD of each gene.

    Genes whose training SD is below 1e-6·max(1, |mean|) are constant: they contribute 0 to the log-probability and to
    the encoder's input, and stand in :attr:`constant_genes`.
    """

    support: ClassVar[str] = "real"
    location_G: Tensor
    scale_G: Tensor
    active_G: Tensor

    def build(self) -> None:
        """Create the standardisation."""
        self.register_buffer("location_G", torch.zeros(self.n_genes))
        self.register_buffer("scale_G", torch.ones(self.n_genes))
        self.register_buffer("active_G", torch.ones(self.n_genes, dtype=torch.bool))

    @property
    def constant_genes(self) -> Tensor:
        """Indices of the genes that were constant in training and are left out, int64."""
        return (~self.active_G).nonzero().squeeze(1)

    def initialise(self, moments: FeatureMoments) -> dict[str, Tensor]:
        """Take the standardisation from the training cells; the heads then start at 0."""
        sd = moments.variance_G.clamp_min(0).sqrt()
        floor = _RELATIVE_SCALE_FLOOR * moments.mean_G.abs().clamp_min(1)
        with torch.no_grad():
            self.location_G.copy_(moments.mean_G)
            self.scale_G.copy_(torch.maximum(sd, floor))
            self.active_G.copy_(sd > floor)
        return {head: torch.zeros_like(self.location_G) for head in self.heads}

    @property
    def inverse_scale_G(self) -> Tensor:
        """1/b, 0 for constant genes."""
        return self.active_G / self.scale_G

    def features(self, x_BG: Tensor, library_B1: Tensor) -> Tensor:
        """Standardised values, 0 for constant genes; shape (B, G)."""
        return (x_BG - self.location_G) * self.inverse_scale_G

    def sparse_features(self, batch: Batch) -> SparseRows:
        """Return :meth:`features` as scaled non-zeros less a shift."""
        inverse_G, rows = self.inverse_scale_G, batch.rows
        values_M = torch.empty_like(rows.values_M)
        arrays = (rows.starts, rows.columns_M, rows.values_M, inverse_G, values_M)
        run(_scaled_columns, len(rows), *(array.numpy() for array in arrays))
        return replace(rows, values_M=values_M, shift_G=self.location_G * inverse_G)

    def in_data_units(self, log_prob_BG: Tensor) -> Tensor:
        """Turn log-probabilities of standardised values into those of the data: less log b, 0 for constant genes."""
        return (log_prob_BG - self.scale_G.log()) * self.active_G

    def log_scales(self) -> float:
        """Return Σ_g log b_g of the genes that are not constant, in nats."""
        return float((self.scale_G.double().log() * self.active_G).sum())

    def normalized(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Mean in data units, the constant itself for constant genes; shape (B, G)."""
        mean = heads["mean"].to(self.location_G.dtype)
        return self.location_G + mean * (self.scale_G * self.active_G)


@compiled
def _scaled_columns(part, parts, starts, columns, values, scale_G, out_M):  # type: ignore[no-untyped-def]
    """Each non-zero times the scale of its column."""
    n = len(starts) - 1
    for b in range(n * part // parts, n * (part + 1) // parts):
        cell = slice(starts[b], starts[b + 1])
        column, x, y = columns[cell], values[cell], out_M[cell]
        for j in range(len(x)):
            y[j] = x[j] * scale_G[column[j]]
