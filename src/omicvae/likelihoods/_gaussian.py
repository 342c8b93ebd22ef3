"""Gaussian real values."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from omicvae._core import Batch, FeatureMoments, HeadOutput, SparseRows
from omicvae._core.native import compiled, run
from omicvae.likelihoods._base import Likelihood
from omicvae.likelihoods._cells import Array, gaussian_cells

_LOG_2PI = math.log(2 * math.pi)
# log variances in units of each gene's training variance: SDs between 0.7 % and 150 times the training SD
LOG_VARIANCE_BOUND = 10.0
_RELATIVE_SCALE_FLOOR = 1e-6


class _GaussianFunction(torch.autograd.Function):
    """log N(z; m, exp(l)) = −½ [(z − m)² exp(−l) + l + log 2π], with gradients in m and l."""

    @staticmethod
    def forward(ctx: Any, z_BG: Tensor, mean_BG: Tensor, log_variance: Tensor) -> Tensor:
        residual = z_BG - mean_BG
        weighted = residual * (-log_variance).exp()
        square = residual.mul_(weighted)
        ctx.save_for_backward(weighted, square)
        ctx.per_gene = log_variance.dim() < z_BG.dim()
        return (square + (log_variance + _LOG_2PI)).mul_(-0.5)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BG: Tensor) -> tuple[Tensor | None, ...]:
        weighted, square = ctx.saved_tensors
        grad_log_variance = None
        if ctx.needs_input_grad[2]:
            slope = (square - 1).mul_(0.5).mul_(gradient_BG)
            grad_log_variance = slope.sum(0) if ctx.per_gene else slope
        return None, weighted * gradient_BG, grad_log_variance


class _GeneVariance(nn.Module):
    """A learned variance per gene; ``raw`` has shape (G,)."""

    heads: tuple[str, ...] = ()

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.zeros(n_genes))

    def forward(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Unbounded log variance, shape (G,)."""
        return self.raw


class _CellVariance(nn.Module):
    """A variance per gene and cell, from a decoder head."""

    heads: tuple[str, ...] = ("log_variance",)

    def __init__(self, n_genes: int) -> None:
        super().__init__()

    def forward(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Unbounded log variance, shape (B, G)."""
        return heads["log_variance"]


class _FixedVariance(nn.Module):
    """Variance 1 in standardised units: the mean squared error with its constants."""

    heads: tuple[str, ...] = ()
    zero_G: Tensor

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.register_buffer("zero_G", torch.zeros(n_genes), persistent=False)

    def forward(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Log variance 0, shape (G,)."""
        return self.zero_G


_VARIANCES: dict[str, type[_GeneVariance] | type[_CellVariance] | type[_FixedVariance]] = {
    "gene": _GeneVariance,
    "gene-cell": _CellVariance,
    "fixed": _FixedVariance,
}


@compiled
def _scaled_columns(part, parts, starts, columns, values, scale_G, out_M):  # type: ignore[no-untyped-def]
    """Each non-zero times the scale of its column."""
    start, stop = (len(starts) - 1) * part // parts, (len(starts) - 1) * (part + 1) // parts
    for b in range(start, stop):
        cell = slice(starts[b], starts[b + 1])
        column, x, y = columns[cell], values[cell], out_M[cell]
        for j in range(len(x)):
            y[j] = x[j] * scale_G[column[j]]


class Gaussian(Likelihood):
    """x ~ N(a + b·mean, b²·exp(log variance)), with a and b the training mean and SD of each gene.

    Both heads are in standardised units, log-probabilities in the data's (they include −log b). The log
    variance is 10·tanh(raw / 10), so within ±10. Genes whose training SD is below 1e-6·max(1, |mean|) are
    constant: they contribute 0 to the log-probability and to the encoder's input, and stand in
    :attr:`constant_genes`.

    See :class:`~omicvae.likelihoods.Likelihood` for the arguments.
    """

    name: ClassVar[str] = "gaussian"
    support: ClassVar[str] = "real"
    dispersions: ClassVar[tuple[str, ...]] = tuple(_VARIANCES)

    location_G: Tensor
    scale_G: Tensor
    active_G: Tensor

    def __init__(
        self,
        n_genes: int,
        *,
        dispersion: str | None = None,
        n_batches: int = 1,
        size_factor: bool = False,
    ) -> None:
        super().__init__(n_genes, dispersion=dispersion, n_batches=n_batches, size_factor=size_factor)
        self.register_buffer("location_G", torch.zeros(self.n_genes))
        self.register_buffer("scale_G", torch.ones(self.n_genes))
        self.register_buffer("active_G", torch.ones(self.n_genes, dtype=torch.bool))
        self.log_variance = _VARIANCES[str(self.dispersion)](self.n_genes)

    @property
    def heads(self) -> tuple[str, ...]:
        """``mean``, and ``log_variance`` where it is per cell; standardised units."""
        return ("mean", *self.log_variance.heads)

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

    def features(self, x_BG: Tensor, library_B1: Tensor) -> Tensor:
        """Standardised values, 0 for constant genes; shape (B, G)."""
        return (x_BG - self.location_G) * (self.active_G / self.scale_G)

    def sparse_features(self, batch: Batch) -> SparseRows:
        """Return :meth:`features` as scaled non-zeros less a shift."""
        inverse_G, rows = self.active_G / self.scale_G, batch.rows
        values_M = torch.empty_like(rows.values_M)
        arrays = (rows.starts, rows.columns_M, rows.values_M, inverse_G, values_M)
        run(_scaled_columns, len(rows), *(array.numpy() for array in arrays))
        return replace(rows, values_M=values_M, shift_G=self.location_G * inverse_G)

    def log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log p(x | heads), in nats and data units, 0 for constant genes; shape (B, G)."""
        z_BG = (batch.x_BG - self.location_G) / self.scale_G
        mean = heads["mean"].to(z_BG.dtype)
        value = _GaussianFunction.apply(z_BG, mean, self._bounded(heads).to(z_BG.dtype))
        return (value - self.scale_G.log()) * self.active_G

    def evaluate(
        self, batch: Batch, outputs: Mapping[str, HeadOutput], weight_B: Array
    ) -> tuple[NDArray[np.float64], tuple[Array, ...]]:
        """By a compiled kernel."""
        own = next((outputs[head] for head in self.log_variance.heads), None)
        raw_RG = self.log_variance({}).detach()[None] if own is None else own.values()
        row_B = torch.zeros(len(batch), dtype=torch.int64) if own is None else torch.arange(len(batch))
        squashed_RG = torch.tanh(raw_RG / LOG_VARIANCE_BOUND)
        table_RG = (LOG_VARIANCE_BOUND * squashed_RG).numpy()
        scaling = (self.location_G, self.active_G / self.scale_G)
        value_B, gradient_RG = gaussian_cells(batch, outputs["mean"], table_RG, row_B, *scaling, weight_B)
        gradient_RG *= (1 - squashed_RG**2).numpy()
        value_B -= float((self.scale_G.double().log() * self.active_G).sum())
        if own is not None:
            own.overwrite(torch.from_numpy(gradient_RG))
        return value_B, tuple(gradient_RG[0] for _ in self.parameters())  # one where a gene has its variance, or none

    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.Normal:
        """Return the distribution of the values, data units; constant genes stay close to their constant."""
        mean = self.normalized(heads)
        sd = (0.5 * self._bounded(heads).to(mean.dtype)).exp() * self.scale_G
        return torch.distributions.Normal(mean, torch.where(self.active_G, sd, self.scale_G).expand_as(mean))

    def normalized(self, heads: Mapping[str, Tensor]) -> Tensor:
        """Mean in data units, the constant itself for constant genes; shape (B, G)."""
        mean = heads["mean"].to(self.location_G.dtype)
        return self.location_G + mean * (self.scale_G * self.active_G)

    def _bounded(self, heads: Mapping[str, Tensor]) -> Tensor:
        return LOG_VARIANCE_BOUND * torch.tanh(self.log_variance(heads) / LOG_VARIANCE_BOUND)
