"""Poisson counts: the negative binomial's limit without overdispersion."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from omicvae._core import Batch, HeadOutput
from omicvae._core.native import compiled
from omicvae.likelihoods.base import Evaluated, run_cells
from omicvae.likelihoods.counts import SMALLEST_MEAN, CountLikelihood, mean_gradient, means, with_slopes
from omicvae.likelihoods.kernel_functions import f4, load, log, store
from omicvae.likelihoods.parameters import Array
from omicvae.likelihoods.saddle_point import (
    HALF_LOG_2PI,
    log_ratio_excess,
    scalar_log_ratio_excess,
    scalar_stirling_error,
    stirling_error,
)


def _log_prob(x: Tensor, mu: Tensor, log_mu: Tensor) -> Tensor:
    """−μ at zeros, x φ((μ − x) / x) − S(x) − ½ log(2π x) at x > 0 (Loader 2000); its slope in log μ is x − μ."""
    mu, is_zero = mu.detach(), (x == 0).to(x.dtype)
    x_safe, mu_safe = x + is_zero, mu.clamp_min(SMALLEST_MEAN)
    difference = mu_safe - x_safe
    value = log_ratio_excess(difference / x_safe, (difference / mu_safe).neg_()).mul_(x_safe)
    value.sub_(stirling_error(x_safe)).sub_(x_safe.log().mul_(0.5)).sub_(HALF_LOG_2PI)
    return with_slopes(torch.lerp(value, -mu, is_zero), x - mu, log_mu)


def poisson_log_prob(x_BG: Tensor, mu_BG: Tensor) -> Tensor:
    """Return log Poisson(x; μ) = x log μ − μ − log x!, in nats; shape (B, G).

    In float32 the absolute error is below 1e-3 + 1e-6 · abs(value) for x up to 1e7 and μ from 1e-6 to 1e7
    (saddle-point form, Loader 2000). Differentiable once in ``mu_BG``.
    """
    return _log_prob(x_BG, mu_BG, mu_BG.log())


class Poisson(CountLikelihood):
    """x ~ Poisson(μ), μ = ℓ · softmax(scale), or s · exp(scale) with a given size factor s. Counts.

    See :class:`~omicvae.likelihoods.Likelihood` for the arguments; there is no dispersion.
    """

    name: ClassVar[str] = "poisson"

    def log_prob(self, batch: Batch, heads: Mapping[str, Tensor]) -> Tensor:
        """Return log p(x | heads) of each count, in nats; shape (B, G)."""
        return _log_prob(batch.x_BG, self.mean(batch, heads), self.log_mean(batch, heads))

    def evaluate(self, batch: Batch, outputs: Mapping[str, HeadOutput], weight_B: Array) -> Evaluated:
        """By a compiled kernel."""
        return run_cells(_poisson_cells, batch, [outputs["scale"]], weight_B, 5, *self.factors(batch)), ()

    def distribution(self, batch: Batch, heads: Mapping[str, Tensor]) -> torch.distributions.Poisson:
        """Return the distribution of the counts; batch shape (B, G)."""
        return torch.distributions.Poisson(self.mean(batch, heads))


@compiled
def _poisson_cells(part, parts, head, rows, weight_B, value_B, memory_PWG, factor_B, softmax):  # type: ignore[no-untyped-def]
    """Poisson of whole cells; zeros cost nothing but their mean."""
    starts, columns, values = rows
    n, n_genes, memory = len(value_B), len(head[2]), memory_PWG[part]
    raw, mu, slope = memory[0, :n_genes], memory[1, :n_genes], memory[2, :n_genes]
    px, pm = memory[3, :n_genes], memory[4, :n_genes]
    for b in range(n * part // parts, n * (part + 1) // parts):
        load(head, b, raw)
        total = np.float64(means(raw, factor_B[b], softmax, mu))
        for g in range(n_genes):
            slope[g] = -mu[g]
            total -= mu[g]
        column, x_row = columns[starts[b] : starts[b + 1]], values[starts[b] : starts[b + 1]]
        for j in range(len(column)):
            px[j], pm[j] = x_row[j], max(mu[column[j]], f4(SMALLEST_MEAN))
        for j in range(len(column)):
            x, m = px[j], pm[j]
            difference = m - x
            deviance = x * scalar_log_ratio_excess(difference / x, -difference / m)
            pm[j] = deviance - scalar_stirling_error(x) - f4(0.5) * log(x) - f4(HALF_LOG_2PI)
        for j in range(len(column)):
            slope[column[j]] += px[j]
            total += np.float64(mu[column[j]]) + pm[j]  # its mean was taken off above, and float32 would round it
        value_B[b] = total
        mean_gradient(slope, mu, factor_B[b], softmax, weight_B[b])
        store(slope, head, b, part)
