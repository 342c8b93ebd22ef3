"""Negative binomial counts.

NB(x; μ, θ) = Γ(x + θ) / (Γ(θ) x!) · (θ / (θ + μ))^θ · (μ / (θ + μ))^x, with mean μ and variance μ + μ² / θ.

With n = x + θ, t = θ + μ, s = (x − μ) / t, e = −(x − μ) θ / (t x), and φ(e) = log(1 + e) − e,

    log NB = θ φ(s) + x φ(e) + C(θ) − ½ log(n x) + S(n) − S(x)      for x > 0 (Loader 2000, rearranged),
    log NB = −θ log1p(μ / θ)                                         for x = 0,

where −θ φ(s) and −x φ(e) are Loader's two deviances, S is Stirling's error and C(θ) = θ log θ − θ − log Γ(θ).
The gradients are

    ∂ / ∂ log μ = (x − μ) θ / t,
    ∂ / ∂ log θ = θ φ(s) + θ {[ψ(n) − log n] − [ψ(θ) − log θ]}.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from omicvae._core import Batch, FeatureMoments, HeadOutput
from omicvae._core.native import Kernel, compiled, inlined, run
from omicvae.likelihoods.base import Evaluated, run_cells
from omicvae.likelihoods.counts import SMALLEST_MEAN, CountLikelihood, mean_gradient, means, with_slopes
from omicvae.likelihoods.kernel_functions import exp, f4, if_nan, load, log, log1p, store
from omicvae.likelihoods.parameters import Array, GeneBatchParameter, GeneCellParameter, GeneParameter
from omicvae.likelihoods.saddle_point import (
    HALF_LOG_2PI,
    digamma_gap,
    dispersion_constant,
    log_ratio_excess,
    scalar_digamma_gap,
    scalar_log_ratio_excess,
    scalar_stirling_error,
    stirling_error,
)

_LOG_THETA_LOW, _LOG_THETA_HIGH = -10.0, 20.0


def _log_prob(x: Tensor, mu: Tensor, log_mu: Tensor, theta: Tensor, log_theta: Tensor) -> Tensor:
    """Log NB(x; μ, θ); only the logarithms carry gradients."""
    mu, theta, is_zero = mu.detach(), theta.detach(), (x == 0).to(x.dtype)
    x_safe, mu_safe = x + is_zero, mu.clamp_min(SMALLEST_MEAN)
    total, difference = theta + mu_safe, x - mu_safe
    s, e = difference / total, (difference * (theta / total)).div_(x_safe).neg_()
    # the inverses of the two ratios n / t and n μ / (t x), as excesses over 1
    s_inverse = difference.div_(x + theta)
    e_inverse = (s_inverse * theta).div_(mu_safe)
    theta_part, x_part = log_ratio_excess(torch.stack([s, e]), torch.stack([s_inverse.neg_(), e_inverse]))
    theta_part.mul_(theta)
    # what Stirling's formula leaves over, −½ log(n x) + S(n) − S(x), for x > 0
    n = x_safe + theta
    error_n, error_x = stirling_error(torch.stack([n, x_safe]))
    correction = error_n.sub_(error_x).sub_((n * x_safe).log_().mul_(0.5))
    x_part.mul_(x_safe).add_(correction).add_(dispersion_constant(theta))
    # −θ log1p(μ / θ) = θ φ(s) − μ θ / (θ + μ) at x = 0
    zero_part = (theta / (theta + mu)).mul_(mu).neg_()
    value = torch.lerp(x_part, zero_part, is_zero).add_(theta_part)
    if not torch.is_grad_enabled():
        return value
    # (x − μ) θ / (θ + μ)
    slope = (x - mu).div_((mu / theta).add_(1))
    theta_slope = digamma_gap(x, theta).mul_(theta).add_(theta_part)
    return with_slopes(value, slope, log_mu, theta_slope, log_theta)


def negative_binomial_log_prob(x_BG: Tensor, mu_BG: Tensor, theta: Tensor) -> Tensor:
    """Return log NB(x; μ, θ) for counts of mean μ and variance μ + μ² / θ, in nats; shape (B, G).

    In float32 the absolute error is below 1e-3 + 1e-6 · abs(value) for x from 0 to 1e7, μ from 1e-6 to 1e7
    and θ from 1e-3 to 1e8 (saddle-point form, Loader 2000). Differentiable once in ``mu_BG`` (B, G) and in
    ``theta``, of shape (G,) or (B, G).
    """
    return _log_prob(x_BG, mu_BG, mu_BG.log(), theta, theta.log())


def _theta(log_theta: Tensor) -> Tensor:
    return log_theta.clamp(_LOG_THETA_LOW, _LOG_THETA_HIGH).exp()


class NegativeBinomial(CountLikelihood):
    """x ~ NB(μ, θ), variance μ + μ² / θ; μ = ℓ · softmax(scale), or s · exp(scale) with size factors s.

    See :class:`~omicvae.likelihoods.Likelihood` for the arguments. θ is per gene (``"gene"``), per gene and
    batch (``"gene-batch"``) or per gene and cell (``"gene-cell"``, a decoder head), between exp(−10) and
    exp(20).
    """

    name: ClassVar[str] = "nb"
    dispersions: ClassVar[Mapping[str, type[GeneParameter]]] = {
        "gene": GeneParameter,
        "gene-batch": GeneBatchParameter,
        "gene-cell": GeneCellParameter,
    }

    def build(self) -> None:
        """Create log θ, or ask the decoder for it."""
        self.log_dispersion = self.dispersions[str(self.dispersion)]("dispersion", self.n_genes, self.n_batches)
        self.heads = ("scale", *self.log_dispersion.heads)

    def initialise(self, moments: FeatureMoments) -> dict[str, Tensor]:
        """Start rates and dispersions at the moments of the training cells."""
        theta_G = moments.inverse_dispersion_G.to(torch.float64)
        low, high = np.exp(_LOG_THETA_LOW), np.exp(_LOG_THETA_HIGH)
        return super().initialise(moments) | self.log_dispersion.initialise(theta_G.clamp(low, high).log())

    def log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log p(x | heads) of each count, in nats; shape (B, G)."""
        log_theta = self.log_dispersion(batch, heads).to(batch.dtype)
        mean = (self.mean(batch, heads), self.log_mean(batch, heads))
        return _log_prob(batch.x_BG, *mean, _theta(log_theta), log_theta)

    def evaluate(self, batch: Batch, outputs: Mapping[str, HeadOutput], weight_B: Array) -> Evaluated:
        """By a compiled kernel."""
        return self.evaluate_by(_negative_binomial_cells, ("scale",), batch, outputs, weight_B)

    def evaluate_by(
        self, kernel: Kernel, names: tuple[str, ...], batch: Batch, outputs: Mapping[str, HeadOutput], weight_B: Array
    ) -> Evaluated:
        """:meth:`evaluate` by a kernel that takes the named heads beside the dispersion."""
        log_theta_RG, row_B, sum_PRG = self.log_dispersion.table(batch, outputs)
        theta = tuple(np.empty((3, *log_theta_RG.shape), np.float32))
        run(_dispersion_table, len(log_theta_RG), log_theta_RG, *theta)
        arguments = (self.factors(batch), (*theta, row_B, sum_PRG))
        value_B = run_cells(kernel, batch, [outputs[name] for name in names], weight_B, 10, *arguments)
        return value_B, self.log_dispersion.take_gradient(sum_PRG.sum(0), outputs)

    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.NegativeBinomial:
        """Return the distribution of the counts; batch shape (B, G)."""
        mu_BG = self.mean(batch, heads).clamp_min(torch.finfo(batch.dtype).tiny)
        theta = _theta(self.log_dispersion(batch, heads).to(mu_BG))
        return torch.distributions.NegativeBinomial(theta, logits=mu_BG.log() - theta.log())

    def parameters_at(self, batch: Batch, heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return μ and θ."""
        return super().parameters_at(batch, heads) | {"dispersions": _theta(self.log_dispersion(batch, heads))}


# the kernel: zeros cost one logarithm, and what only positive counts need is paid for positive counts alone
@compiled
def _dispersion_table(part, parts, log_theta_RG, theta_RG, inverse_RG, constant_RG):  # type: ignore[no-untyped-def]
    """θ = exp(log θ) within its bounds, 1/θ, and C(θ) = θ log θ − θ − log Γ(θ); see ``dispersion_constant``."""
    n = len(log_theta_RG)
    for r in range(n * part // parts, n * (part + 1) // parts):
        for g in range(log_theta_RG.shape[1]):
            raw = log_theta_RG[r, g]
            theta = exp(min(max(raw, f4(_LOG_THETA_LOW)), f4(_LOG_THETA_HIGH))) + if_nan(raw)
            shifted = (theta + f4(0.5)) * log1p(f4(1) / theta) - f4(1)
            theta_RG[r, g] = theta
            inverse_RG[r, g] = f4(1) / theta
            error = scalar_stirling_error(theta + f4(1))
            constant_RG[r, g] = f4(0.5) * log(theta) - f4(HALF_LOG_2PI) - shifted - error


@inlined
def working_rows(memory_WG, n_genes):  # type: ignore[no-untyped-def]
    """Return a cell's raw output and μ, the (value, slope, slope in log θ) of genes, and four rows for its counts."""
    genes = (memory_WG[2, :n_genes], memory_WG[3, :n_genes], memory_WG[4, :n_genes])
    counts = (memory_WG[5, :n_genes], memory_WG[6, :n_genes], memory_WG[7, :n_genes], memory_WG[8, :n_genes])
    return memory_WG[0, :n_genes], memory_WG[1, :n_genes], genes, counts


@inlined
def all_zeros(mu, theta, inverse, genes):  # type: ignore[no-untyped-def]
    """Write value, slope in log μ and slope in log θ of every gene as if its count were zero."""
    value, slope, theta_slope = genes
    for g in range(len(mu)):
        u = mu[g] * inverse[g]
        share = f4(1) / (f4(1) + u)
        logarithm = log1p(u)
        gap = u * share - logarithm
        if u < f4(0.03):
            gap = u * u * (f4(-0.5) + u * (f4(2 / 3) + u * (f4(-0.75) + u * f4(0.8))))
        value[g] = -theta[g] * logarithm
        slope[g] = -mu[g] * share
        theta_slope[g] = theta[g] * gap


@inlined
def positive_counts(column, x_row, mu, theta, constant, counts):  # type: ignore[no-untyped-def]
    """Write value, slope in log μ and slope in log θ of each positive count, side by side."""
    px, pm, pt, pc = counts
    for j in range(len(column)):
        g = column[j]
        px[j], pm[j], pt[j], pc[j] = x_row[j], max(mu[g], f4(SMALLEST_MEAN)), theta[g], constant[g]
    for j in range(len(column)):
        x, m, t = px[j], pm[j], pt[j]
        difference, n_total, count = x - m, f4(1) / (t + m), x + t
        s = difference * n_total
        s_inverse = -difference / count
        theta_part = t * scalar_log_ratio_excess(s, s_inverse)
        x_part = x * scalar_log_ratio_excess(-s * t / x, -s_inverse * t / m)
        correction = scalar_stirling_error(count) - scalar_stirling_error(x) - f4(0.5) * (log(count) + log(x))
        px[j] = theta_part + x_part + pc[j] + correction
        pm[j] = s * t
        pt[j] = theta_part + t * scalar_digamma_gap(x, t)


@inlined
def gather_cell(total, column, counts, genes, weight, theta_gradient):  # type: ignore[no-untyped-def]
    """Put positive counts in their genes' places; return the sum of values, and add the slopes in log θ to a row."""
    value, slope, theta_slope = genes
    px, pm, pt, _ = counts
    for j in range(len(column)):
        g = column[j]
        value[g], slope[g], theta_slope[g] = px[j], pm[j], pt[j]
    for g in range(len(value)):
        total += value[g]
        theta_gradient[g] += weight * theta_slope[g]
    return total


@compiled
def _negative_binomial_cells(  # type: ignore[no-untyped-def]
    part, parts, head, rows, weight_B, value_B, memory_PWG, factors, table
):
    """NB of whole cells; ``table`` is θ, 1/θ and C(θ), the row that holds for each cell, and sums of gradients."""
    (starts, columns, values), (theta_RG, inverse_RG, constant_RG, row_B, sum_PRG) = rows, table
    n, (factor_B, softmax) = len(value_B), factors
    raw, mu, genes, counts = working_rows(memory_PWG[part], len(head[2]))
    for b in range(n * part // parts, n * (part + 1) // parts):
        row, weight = row_B[b], weight_B[b]
        column, x_row = columns[starts[b] : starts[b + 1]], values[starts[b] : starts[b + 1]]
        load(head, b, raw)
        lost = np.float64(means(raw, factor_B[b], softmax, mu))
        all_zeros(mu, theta_RG[row], inverse_RG[row], genes)
        positive_counts(column, x_row, mu, theta_RG[row], constant_RG[row], counts)
        value_B[b] = gather_cell(lost, column, counts, genes, weight, sum_PRG[part % len(sum_PRG), row])
        mean_gradient(genes[1], mu, factor_B[b], softmax, weight)
        store(genes[1], head, b, part)
