"""Zero-inflated negative binomial counts."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from omicvae._core import Batch, FeatureMoments, HeadOutput
from omicvae._core.native import compiled, inlined
from omicvae.likelihoods.base import Evaluated
from omicvae.likelihoods.counts import CountLikelihood, mean_gradient, means
from omicvae.likelihoods.kernel_functions import exp, f4, if_nan, load, log, log1p, store
from omicvae.likelihoods.negative_binomial import (
    NegativeBinomial,
    all_zeros,
    gather_cell,
    negative_binomial_log_prob,
    positive_counts,
    working_rows,
)
from omicvae.likelihoods.parameters import Array, GeneParameter

_ZERO_LOGIT_BOUND = 60.0
_INITIAL_ZERO_LOGIT = -3.0


def _bounded(zero_logit_BG: Tensor) -> Tensor:
    """Hold the logit a within ±60, its gradient as at the bound, so that a parameter which strayed comes back."""
    return zero_logit_BG + (zero_logit_BG.clamp(-_ZERO_LOGIT_BOUND, _ZERO_LOGIT_BOUND) - zero_logit_BG).detach()


def _zero_inflated(base_BG: Tensor, zero_logit_BG: Tensor, x_BG: Tensor) -> Tensor:
    """From log p(x) to the log-probability with extra zeros: log [π + (1 − π) p(0)] at 0, else log (1 − π) p(x)."""
    bounded = _bounded(zero_logit_BG)
    counted = base_BG - softplus(bounded)
    return torch.where(x_BG == 0, torch.logaddexp(-softplus(-bounded), counted), counted)


def zinb_log_prob(x_BG: Tensor, mu_BG: Tensor, theta: Tensor, zero_logit_BG: Tensor) -> Tensor:
    """Return log [π·1(x = 0) + (1 − π) NB(x; μ, θ)] with π = σ(zero_logit), in nats; shape (B, G).

    In float32 the absolute error is below 1e-3 + 1e-6 · abs(value) for logits within ±30 and the range of
    :func:`negative_binomial_log_prob`; logits are held within ±60. Differentiable once in the last three
    tensors.
    """
    return _zero_inflated(negative_binomial_log_prob(x_BG, mu_BG, theta), zero_logit_BG, x_BG)


class ZeroInflatedNegativeBinomial(CountLikelihood):
    """x = 0 with probability π = σ(zero_logit), else x ~ NB(μ, θ).

    See :class:`~omicvae.likelihoods.Likelihood` for the arguments and
    :class:`~omicvae.likelihoods.NegativeBinomial` for μ and θ.
    """

    name: ClassVar[str] = "zinb"
    dispersions: ClassVar[Mapping[str, type[GeneParameter]]] = NegativeBinomial.dispersions

    def build(self) -> None:
        """Create the counts' own distribution."""
        self.counts = NegativeBinomial(
            self.n_genes, dispersion=self.dispersion, n_batches=self.n_batches, size_factor=self.size_factor
        )
        self.heads = (*self.counts.heads, "zero_logit")

    def initialise(self, moments: FeatureMoments) -> dict[str, Tensor]:
        """Start at the moments of the training cells with few extra zeros (π = 0.05).

        With size factors μ is raised by 1 / (1 − π), so that the mean (1 − π) μ is the data's. A softmax
        cannot exceed the library: there the mean is the data's times 1 − π, in every gene alike.
        """
        biases = self.counts.initialise(moments)
        zero_logit = torch.full_like(biases["scale"], _INITIAL_ZERO_LOGIT)
        if self.size_factor:
            biases["scale"] = biases["scale"] + softplus(zero_logit)
        return {**biases, "zero_logit": zero_logit}

    def log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log p(x | heads) of each count, in nats; shape (B, G)."""
        base_BG = self.counts.log_prob(batch, heads)
        return _zero_inflated(base_BG, heads["zero_logit"].to(base_BG.dtype), batch.x_BG)

    def evaluate(self, batch: Batch, outputs: Mapping[str, HeadOutput], weight_B: Array) -> Evaluated:
        """By a compiled kernel."""
        return self.counts.evaluate_by(_zinb_cells, ("scale", "zero_logit"), batch, outputs, weight_B)

    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.Distribution:
        """Return the distribution of the counts (mean (1 − π) μ); batch shape (B, G)."""
        from pyro.distributions import ZeroInflatedDistribution

        base = self.counts.distribution(batch, heads)
        return ZeroInflatedDistribution(base, gate_logits=_bounded(heads["zero_logit"].to(batch.dtype)))

    def parameters_at(self, batch: Batch, heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return μ and θ of the counts before extra zeros, and π."""
        return self.counts.parameters_at(batch, heads) | {"dropout": torch.sigmoid(_bounded(heads["zero_logit"]))}


@inlined
def _inflate(gate, genes, column, counts, weight):  # type: ignore[no-untyped-def]
    """Add the extra zeros to a cell's values and slopes, and turn the logits into the gradient in them."""
    value, slope, theta_slope = genes
    px, _, _, pc = counts
    for j in range(len(column)):
        pc[j] = gate[column[j]]
    for g in range(len(gate)):  # p₀ = π + (1 − π) NB(0), held in terms that cannot overflow
        a = min(max(gate[g], f4(-_ZERO_LOGIT_BOUND)), f4(_ZERO_LOGIT_BOUND))
        small = exp(-abs(a))
        inverse_odds = f4(1) / (f4(1) + small)
        pi = (f4(1) if a >= f4(0) else small) * inverse_odds
        p_zero = pi + (small if a >= f4(0) else f4(1)) * inverse_odds * exp(value[g])
        extra = pi / p_zero  # probability that a zero is one of the extra ones
        theta_slope[g] *= f4(1) - extra
        slope[g] *= f4(1) - extra
        value[g] = log(p_zero) + if_nan(gate[g] + value[g])
        gate[g] = weight * (extra - pi)
    for j in range(len(column)):  # log (1 − π) beside the count's own
        a = min(max(pc[j], f4(-_ZERO_LOGIT_BOUND)), f4(_ZERO_LOGIT_BOUND))
        small = exp(-abs(a))
        px[j] += if_nan(pc[j]) - max(a, f4(0)) - log1p(small)
        pc[j] = -weight * (f4(1) if a >= f4(0) else small) / (f4(1) + small)
    for j in range(len(column)):
        gate[column[j]] = pc[j]


@compiled
def _zinb_cells(  # type: ignore[no-untyped-def]
    part, parts, head, gate_head, rows, weight_B, value_B, memory_PWG, factors, table
):
    """ZINB of whole cells: as the NB's, and between its zeros and its sums the extra zeros."""
    (starts, columns, values), (theta_RG, inverse_RG, constant_RG, row_B, sum_PRG) = rows, table
    n, (factor_B, softmax) = len(value_B), factors
    raw, mu, genes, counts = working_rows(memory_PWG[part], len(head[2]))
    gate = memory_PWG[part, 9, : len(head[2])]
    for b in range(n * part // parts, n * (part + 1) // parts):
        row, weight = row_B[b], weight_B[b]
        column, x_row = columns[starts[b] : starts[b + 1]], values[starts[b] : starts[b + 1]]
        load(head, b, raw)
        lost = np.float64(means(raw, factor_B[b], softmax, mu))
        all_zeros(mu, theta_RG[row], inverse_RG[row], genes)
        positive_counts(column, x_row, mu, theta_RG[row], constant_RG[row], counts)
        load(gate_head, b, gate)
        _inflate(gate, genes, column, counts, weight)
        store(gate, gate_head, b, part)
        value_B[b] = gather_cell(lost, column, counts, genes, weight, sum_PRG[part % len(sum_PRG), row])
        mean_gradient(genes[1], mu, factor_B[b], softmax, weight)
        store(genes[1], head, b, part)
