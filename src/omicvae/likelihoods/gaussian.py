"""Gaussian real values."""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from omicvae._core import Batch, HeadOutput
from omicvae._core.native import as_array, compiled
from omicvae.likelihoods.base import Evaluated, run_cells
from omicvae.likelihoods.kernel_functions import f4, load, store
from omicvae.likelihoods.parameters import Array, FixedParameter, GeneCellParameter, GeneParameter
from omicvae.likelihoods.standardised import StandardisedLikelihood

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
# log variances in units of each gene's training variance: SDs between 0.7 % and 150 times the training SD
_LOG_VARIANCE_BOUND = 10.0


class Gaussian(StandardisedLikelihood):
    """x ~ N(a + b·mean, b²·exp(log variance)), with a and b the training mean and SD of each gene.

    Both heads are in standardised units, log-probabilities in the data's (they include −log b). The log
    variance is 10·tanh(raw / 10), so within ±10, and 0 if ``"fixed"``: the mean squared error with its constants.

    See :class:`~omicvae.likelihoods.Likelihood` for the arguments.
    """

    name: ClassVar[str] = "gaussian"
    dispersions: ClassVar[Mapping[str, type[GeneParameter]]] = {
        "gene": GeneParameter,
        "gene-cell": GeneCellParameter,
        "fixed": FixedParameter,
    }

    def build(self) -> None:
        """Create the standardisation and the log variance, or ask the decoder for it."""
        super().build()
        self.log_variance = self.dispersions[str(self.dispersion)]("log_variance", self.n_genes, self.n_batches)
        self.heads = ("mean", *self.log_variance.heads)

    def log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log p(x | heads), in nats and data units, 0 for constant genes; shape (B, G)."""
        z_BG = (batch.x_BG - self.location_G) / self.scale_G
        log_variance = self._bounded(batch, heads).to(z_BG.dtype)
        square_BG = (z_BG - heads["mean"].to(z_BG.dtype)).square() * (-log_variance).exp()
        return self.in_data_units(-0.5 * (square_BG + log_variance) - _HALF_LOG_2PI)

    def evaluate(self, batch: Batch, outputs: Mapping[str, HeadOutput], weight_B: Array) -> Evaluated:
        """By a compiled kernel."""
        raw_RG, row_B, sum_PRG = self.log_variance.table(batch, outputs)
        squashed_RG = torch.tanh(torch.from_numpy(raw_RG) / _LOG_VARIANCE_BOUND).numpy()
        log_variance_RG = _LOG_VARIANCE_BOUND * squashed_RG
        genes = (as_array(self.location_G), as_array(self.inverse_scale_G))
        table = (log_variance_RG, np.exp(-log_variance_RG), row_B, sum_PRG)
        value_B = run_cells(_gaussian_cells, batch, [outputs["mean"]], weight_B, 4, genes, table)
        gradient_RG = sum_PRG.sum(0) * (1 - squashed_RG**2)
        return value_B - self.log_scales(), self.log_variance.take_gradient(gradient_RG, outputs)

    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.Normal:
        """Return the distribution of the values, data units; constant genes stay close to their constant."""
        mean = self.normalized(heads)
        sd = (0.5 * self._bounded(batch, heads).to(mean.dtype)).exp() * self.scale_G
        return torch.distributions.Normal(mean, torch.where(self.active_G, sd, self.scale_G).expand_as(mean))

    def parameters_at(self, batch: Batch, heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return mean and SD, data units."""
        normal = self.distribution(batch, heads)
        return {"mean": normal.loc, "sd": normal.scale}

    def _bounded(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        return _LOG_VARIANCE_BOUND * torch.tanh(self.log_variance(batch, heads) / _LOG_VARIANCE_BOUND)


@compiled
def _gaussian_cells(  # type: ignore[no-untyped-def]
    part, parts, head, rows, weight_B, value_B, memory_PWG, genes, table
):
    """Σ_g −½ [(z − m)² exp(−l) + l + log 2π] of whole cells, z = (x − a) / b; genes with 1/b = 0 are left out.

    ``genes`` is a and 1/b; ``table`` is l and exp(−l), the row that holds for each cell, and where to sum gradients.
    """
    (starts, columns, values), (location_G, inverse_scale_G) = rows, genes
    log_variance_RG, precision_RG, row_B, sum_PRG = table
    n, n_genes, memory = len(value_B), len(location_G), memory_PWG[part]
    x, slope, value, mean = memory[0, :n_genes], memory[1, :n_genes], memory[2, :n_genes], memory[3, :n_genes]
    for b in range(n * part // parts, n * (part + 1) // parts):
        column, x_row = columns[starts[b] : starts[b + 1]], values[starts[b] : starts[b + 1]]
        for j in range(len(column)):
            x[column[j]] = x_row[j]
        row, weight, total = row_B[b], weight_B[b], np.float64(0)
        load(head, b, mean)
        log_variance, precision = log_variance_RG[row], precision_RG[row]
        for g in range(n_genes):
            inverse = inverse_scale_G[g]
            used = f4(0) if inverse == f4(0) else f4(1)
            residual = ((x[g] - location_G[g]) * inverse - mean[g]) * used
            weighted = residual * precision[g]
            square = residual * weighted
            value[g] = used * (f4(0.5) * (square + log_variance[g]) + f4(_HALF_LOG_2PI))
            mean[g] = weight * weighted
            slope[g] = weight * f4(0.5) * used * (square - f4(1))
        sum_G = sum_PRG[part % len(sum_PRG), row]
        for g in range(n_genes):
            sum_G[g] += slope[g]
            total -= value[g]
        for j in range(len(column)):
            x[column[j]] = f4(0)
        value_B[b] = total
        store(mean, head, b, part)
