"""Student's t: real values with outliers, such as protein intensities."""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from omicvae._core import Batch, FeatureMoments, HeadOutput
from omicvae._core.native import as_array, compiled, n_parts
from omicvae.likelihoods.base import Evaluated, run_cells
from omicvae.likelihoods.kernel_functions import f4, if_nan, load, log1p, store
from omicvae.likelihoods.parameters import Array, GeneParameter
from omicvae.likelihoods.standardised import StandardisedLikelihood

# of log(scale) in standardised units, and of log(ν − 2): beyond ν = 150 it is a Gaussian
_BOUND = 5.0
_INITIAL_DEGREES = 10.0


class StudentT(StandardisedLikelihood):
    """x ~ a + b·(mean + s·t_ν): a and b training mean and SD, s scale and ν degrees of freedom of each gene.

    The head is in standardised units, log-probabilities in the data's (they include −log b). log s and log(ν − 2) are
    5·tanh(raw / 5), so that the variance exists: s² ν / (ν − 2). An outlier's pull on the fit falls with its distance
    (Lange, Little & Taylor 1989).

    See :class:`~omicvae.likelihoods.Likelihood` for the arguments.
    """

    name: ClassVar[str] = "student_t"
    dispersions: ClassVar[Mapping[str, type[GeneParameter]]] = {"gene": GeneParameter}
    heads = ("mean",)

    def build(self) -> None:
        """Create standardisation, log scale and log degrees of freedom."""
        super().build()
        self.log_scale = GeneParameter("log_scale", self.n_genes, self.n_batches)
        self.log_degrees = GeneParameter("log_degrees", self.n_genes, self.n_batches)

    def initialise(self, moments: FeatureMoments) -> dict[str, Tensor]:
        """Take the standardisation from the training cells, and start at ν = 10."""
        self.log_degrees.initialise(torch.full((), math.log(_INITIAL_DEGREES - 2)))
        return super().initialise(moments)

    def log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log p(x | heads), in nats and data units, 0 for constant genes; shape (B, G)."""
        z_BG = (batch.x_BG - self.location_G) / self.scale_G
        log_scale_G, degrees_G, constant_G = (value.to(z_BG.dtype) for value in self._per_gene())
        residual_BG = (z_BG - heads["mean"].to(z_BG.dtype)) * (-log_scale_G).exp()
        log_BG = (residual_BG.square() / degrees_G).log1p()
        return self.in_data_units(constant_G - 0.5 * (degrees_G + 1) * log_BG)

    def evaluate(self, batch: Batch, outputs: Mapping[str, HeadOutput], weight_B: Array) -> Evaluated:
        """By a compiled kernel; the slopes in log s and ν of a gene follow from two sums over cells."""
        log_scale_G, v_G, constant_G = (value.detach() for value in self._per_gene())
        genes = (self.location_G, self.inverse_scale_G, (-2 * log_scale_G).exp(), 1 / v_G, constant_G)
        sum_PCG = np.zeros((n_parts(len(batch)), 2, self.n_genes), np.float32)
        arrays = (tuple(as_array(value.float()) for value in genes), sum_PCG)
        value_B = run_cells(_student_t_cells, batch, [outputs["mean"]], weight_B, 5, *arrays)
        # Σ_b weight_b q / (1 + q) and Σ_b weight_b log(1 + q), q = residual² / ν
        share_G, log_G = torch.from_numpy(sum_PCG.sum(0, dtype=np.float64))
        weight = float(weight_B.sum(dtype=np.float64))
        digammas_G = torch.digamma(0.5 * (v_G + 1)) - torch.digamma(0.5 * v_G)
        slope_G = 0.5 * (weight * (digammas_G - 1 / v_G) + (v_G + 1) / v_G * share_G - log_G)
        slopes = (((v_G + 1) * share_G - weight, log_scale_G), (slope_G * (v_G - 2), (v_G - 2).log()))
        raw = [slope * self.active_G * (1 - (bounded / _BOUND) ** 2) for slope, bounded in slopes]
        return value_B - self.log_scales(), tuple(as_array(gradient_G.float()) for gradient_G in raw)

    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.StudentT:
        """Return the distribution of the values, data units; constant genes stay close to their constant."""
        mean = self.normalized(heads)
        log_scale_G, degrees_G, _ = (value.to(mean.dtype) for value in self._per_gene())
        scale_G = torch.where(self.active_G, log_scale_G.exp(), 1.0) * self.scale_G
        return torch.distributions.StudentT(degrees_G.expand_as(mean), mean, scale_G.expand_as(mean))

    def parameters_at(self, batch: Batch, heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return mean and scale (the SD is scale · √(ν / (ν − 2))), data units, and ν."""
        t = self.distribution(batch, heads)
        return {"mean": t.loc, "scale": t.scale, "degrees_of_freedom": t.df}

    def _per_gene(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return log s, ν, and log Γ((ν + 1) / 2) − log Γ(ν / 2) − ½ log(π ν) − log s, float64 (G,)."""
        own = (self.log_scale.raw, self.log_degrees.raw)
        log_scale_G, log_degrees_G = (_BOUND * torch.tanh(raw.double() / _BOUND) for raw in own)
        degrees_G = 2 + log_degrees_G.exp()
        constant_G = torch.lgamma(0.5 * (degrees_G + 1)) - torch.lgamma(0.5 * degrees_G)
        return log_scale_G, degrees_G, constant_G - 0.5 * (math.pi * degrees_G).log() - log_scale_G


@compiled
def _student_t_cells(part, parts, head, rows, weight_B, value_B, memory_PWG, genes, sum_PCG):  # type: ignore[no-untyped-def]
    """Σ_g c − ½ (ν + 1) log(1 + q) of whole cells, q = (z − m)² exp(−2 log s) / ν; genes with 1/b = 0 are left out."""
    starts, columns, values = rows
    location_G, inverse_scale_G, precision_G, inverse_degrees_G, constant_G = genes
    n, n_genes, memory = len(value_B), len(location_G), memory_PWG[part]
    x, value, mean = memory[0, :n_genes], memory[1, :n_genes], memory[2, :n_genes]
    share, logarithm = memory[3, :n_genes], memory[4, :n_genes]
    for b in range(n * part // parts, n * (part + 1) // parts):
        column, x_row = columns[starts[b] : starts[b + 1]], values[starts[b] : starts[b + 1]]
        for j in range(len(column)):
            x[column[j]] = x_row[j]
        weight, total = weight_B[b], np.float64(0)
        load(head, b, mean)
        for g in range(n_genes):
            inverse, inverse_degrees = inverse_scale_G[g], inverse_degrees_G[g]
            used = f4(0) if inverse == f4(0) else f4(1)
            residual = ((x[g] - location_G[g]) * inverse - mean[g]) * used
            weighted = residual * precision_G[g] * inverse_degrees
            q = residual * weighted
            degrees = f4(1) / inverse_degrees + f4(1)
            logarithm[g] = log1p(q)
            value[g] = used * (constant_G[g] - f4(0.5) * degrees * logarithm[g]) + if_nan(q)
            share[g] = q / (f4(1) + q)
            mean[g] = weight * degrees * weighted / (f4(1) + q)
        share_sum, log_sum = sum_PCG[part, 0], sum_PCG[part, 1]
        for g in range(n_genes):
            total += value[g]
            share_sum[g] += weight * share[g]
            log_sum[g] += weight * logarithm[g]
        for j in range(len(column)):
            x[column[j]] = f4(0)
        value_B[b] = total
        store(mean, head, b, part)
