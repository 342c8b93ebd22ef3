"""Log-probability of the negative binomial and its analytic gradient.

NB(x; μ, θ) = Γ(x + θ) / (Γ(θ) x!) · (θ / (θ + μ))^θ · (μ / (θ + μ))^x, with mean μ and variance μ + μ² / θ.

With n = x + θ, t = θ + μ, s = (x − μ) / t, e = −(x − μ) θ / (t x), and φ(e) = log(1 + e) − e,

    log NB = θ φ(s) + x φ(e) + C(θ) − ½ log(n x) + S(n) − S(x)      for x > 0 (Loader 2000, rearranged),
    log NB = −θ log1p(μ / θ)                                         for x = 0,

where −θ φ(s) and −x φ(e) are Loader's two deviances, S is Stirling's error and C(θ) = θ log θ − θ − log Γ(θ).
The gradients are

    ∂ / ∂ log μ = (x − μ) θ / t,
    ∂ / ∂ log θ = θ φ(s) + θ {[ψ(n) − log n] − [ψ(θ) − log θ]}.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from omicvae.likelihoods._entries import (
    blocks,
    positive_entries,
    put,
    rows_of,
    sum_to_shape,
    take,
    take_by_gene,
    zero_mask,
)
from omicvae.likelihoods._links import LOG_DISPERSION, PLAIN, Link
from omicvae.likelihoods._saddle_point import (
    digamma_gap,
    dispersion_constant,
    log_ratio_excess,
    stirling_error,
)

# A mean of exactly 0 under a positive count has no finite log-probability; softmax underflows to it.
_SMALLEST_MEAN = 1e-30
# From here on the plain float32 form of the zeros' gradient in log θ is worse than 1e-4 (relative).
_LARGE_DISPERSION = 1e3


def _deviances(x: Tensor, mu: Tensor, theta: Tensor, x_safe: Tensor) -> tuple[Tensor, Tensor]:
    """Return θ φ(s) and x φ(e); shapes broadcast to that of ``x``.

    ``x_safe`` is ``x`` with something positive in place of zeros, for which the second value is 0.
    """
    total = theta + mu
    difference = x - mu
    s = difference / total
    e = (difference * (theta / total)).div_(x_safe).neg_()
    # the inverses of the two ratios n / t and n μ / (t x), as excesses over 1
    s_inverse = difference.div_(x + theta)
    e_inverse = (s_inverse * theta).div_(mu)
    phi_s, phi_e = log_ratio_excess(torch.stack([s, e]), torch.stack([s_inverse.neg_(), e_inverse]))
    return phi_s * theta, phi_e.mul_(x)


def _correction(x: Tensor, theta: Tensor) -> Tensor:
    """−½ log(n x) + S(n) − S(x): what Stirling's formula leaves over, for x > 0."""
    n = x + theta
    error_n, error_x = stirling_error(torch.stack([n, x]))
    return error_n.sub_(error_x).sub_((n * x).log_().mul_(0.5))


def _dense_value(x: Tensor, mu: Tensor, theta: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability at every entry, zeros included, and its part θ φ(s)."""
    is_zero = zero_mask(x)
    x_safe = x + is_zero
    theta_part, x_part = _deviances(x, mu.clamp_min(_SMALLEST_MEAN), theta, x_safe)
    x_part.add_(_correction(x_safe, theta)).add_(constant)
    # −θ log1p(μ / θ) = θ φ(s) − μ θ / (θ + μ) at x = 0
    zero_part = (theta / (theta + mu)).mul_(mu).neg_()
    return torch.lerp(x_part, zero_part, is_zero).add_(theta_part), theta_part


def _dense_forward(x_BG: Tensor, mu_BG: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability and θ φ(s) of a minibatch, block by block."""
    constant = dispersion_constant(theta)
    value, theta_part = torch.empty_like(mu_BG), torch.empty_like(mu_BG)
    for rows in blocks(x_BG):
        value[rows], theta_part[rows] = _dense_value(
            x_BG[rows], mu_BG[rows], rows_of(theta, rows), rows_of(constant, rows)
        )
    return value, theta_part


def _dense_dispersion_slope(x_BG: Tensor, theta: Tensor, theta_part_BG: Tensor) -> Tensor:
    """∂ log NB / ∂ log θ of a minibatch, block by block."""
    slope = torch.empty_like(theta_part_BG)
    for rows in blocks(x_BG):
        theta_rows = rows_of(theta, rows)
        slope[rows] = digamma_gap(x_BG[rows], theta_rows).mul_(theta_rows).add_(theta_part_BG[rows])
    return slope


def _positive_forward(x_M: Tensor, mu_M: Tensor, theta_M: Tensor, constant_M: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability and θ φ(s) of positive counts, block by block."""
    value, theta_part = torch.empty_like(x_M), torch.empty_like(x_M)
    for part in blocks(x_M):
        x, theta = x_M[part], theta_M[part]
        theta_part[part], x_part = _deviances(x, mu_M[part].clamp_min_(_SMALLEST_MEAN), theta, x)
        value[part] = x_part.add_(theta_part[part]).add_(constant_M[part]).add_(_correction(x, theta))
    return value, theta_part


class _NegativeBinomial(torch.autograd.Function):
    """log NB(x; μ, θ) with hand-written gradients in the mean's and the dispersion's raw values."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BG: Tensor,
        raw_mean_BG: Tensor,
        raw_dispersion: Tensor,
        factor_B1: Tensor | None,
        nonzero_M: Tensor | None,
        links: tuple[Link, Link],
    ) -> Tensor:
        mu = links[0].forward(raw_mean_BG, factor_B1)
        theta = links[1].forward(raw_dispersion, None)
        positions = positive_entries(x_BG, nonzero_M)
        ctx.links = links
        ctx.sparse = positions is not None
        if positions is None:
            value, theta_part = _dense_forward(x_BG, mu, theta)
            ctx.save_for_backward(x_BG, mu, theta, factor_B1, theta_part)
            return value
        log_term = (mu / theta).log1p_()
        value = log_term * -theta
        columns = positions % x_BG.shape[-1]
        x, theta_M = take(x_BG, positions), take_by_gene(theta, positions, columns)
        per_gene = theta.dim() == 1
        constant = dispersion_constant(theta if per_gene else theta_M)
        constant_M = constant.index_select(0, columns) if per_gene else constant
        value_M, theta_part = _positive_forward(x, take(mu, positions), theta_M, constant_M)
        put(value, positions, value_M)
        ctx.save_for_backward(x_BG, mu, theta, factor_B1, theta_part, log_term, positions, x, theta_M)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BG: Tensor) -> tuple[Tensor | None, ...]:
        x_BG, mu, theta, factor_B1 = ctx.saved_tensors[:4]
        mean_link, dispersion_link = ctx.links
        # (x − μ) θ / (θ + μ)
        slope = (x_BG - mu).div_((mu / theta).add_(1))
        grad_mean = grad_dispersion = None
        if ctx.needs_input_grad[2]:
            if ctx.sparse:
                slope_theta = _sparse_dispersion_slope(slope, mu, theta, *ctx.saved_tensors[4:])
            else:
                slope_theta = _dense_dispersion_slope(x_BG, theta, ctx.saved_tensors[4])
            summed = sum_to_shape(slope_theta.mul_(gradient_BG), theta)
            grad_dispersion = dispersion_link.backward(summed, theta, None)
        if ctx.needs_input_grad[1]:
            grad_mean = mean_link.backward(slope.mul_(gradient_BG), mu, factor_B1)
        return None, grad_mean, grad_dispersion, None, None, None


def _sparse_dispersion_slope(
    slope_BG: Tensor,
    mu_BG: Tensor,
    theta: Tensor,
    theta_part_M: Tensor,
    log_term_BG: Tensor,
    positions_M: Tensor,
    x_M: Tensor,
    theta_M: Tensor,
) -> Tensor:
    """∂ log NB / ∂ log θ: θ [μ / (θ + μ) − log1p(μ / θ)] at zeros, the full form at positive counts."""
    result = torch.addcmul(-slope_BG, log_term_BG, theta, value=-1)
    large = (theta.reshape(-1, mu_BG.shape[-1]).amax(0) > _LARGE_DISPERSION).nonzero().squeeze(1)
    if large.numel():
        mu, theta_large = mu_BG.index_select(-1, large), theta.index_select(-1, large)
        total = mu + theta_large
        excess = log_ratio_excess((mu / total).neg_(), mu / theta_large)
        result.index_copy_(-1, large, excess.mul_(theta_large))
    put(result, positions_M, digamma_gap(x_M, theta_M).mul_(theta_M).add_(theta_part_M))
    return result


def negative_binomial_from_heads(
    x_BG: Tensor,
    raw_mean_BG: Tensor,
    raw_dispersion: Tensor,
    *,
    mean_link: Link,
    dispersion_link: Link = LOG_DISPERSION,
    factor_B1: Tensor | None = None,
    nonzero_M: Tensor | None = None,
) -> Tensor:
    """Return log NB(x; μ, θ) with μ and θ given by links from raw values, in nats; differentiable once.

    Parameters
    ----------
    x_BG
        Counts.
    raw_mean_BG, raw_dispersion
        What the links turn into μ (counts) and θ; the dispersion is (G,) or (B, G).
    mean_link, dispersion_link
        See :mod:`omicvae.likelihoods._links`.
    factor_B1
        Library size or size factor of each cell, for links that take one.
    nonzero_M
        Flat positions of the non-zero counts, where they are known.
    """
    links = (mean_link, dispersion_link)
    # flat positions need rows that follow one another in memory
    x_BG, raw_mean_BG = x_BG.contiguous(), raw_mean_BG.contiguous()
    return _NegativeBinomial.apply(x_BG, raw_mean_BG, raw_dispersion, factor_B1, nonzero_M, links)


def negative_binomial_log_prob(
    x_BG: Tensor, mu_BG: Tensor, theta: Tensor, *, nonzero_M: Tensor | None = None
) -> Tensor:
    """Return log NB(x; μ, θ) for counts of mean μ and variance μ + μ² / θ, in nats; shape (B, G).

    In float32 the absolute error is below 1e-3 + 1e-6 · abs(value) for x from 0 to 1e7, μ from 1e-6 to 1e7
    and θ from 1e-3 to 1e8 (saddle-point form, Loader 2000). Differentiable once in ``mu_BG`` (B, G) and in
    ``theta``, of shape (G,) or (B, G).
    """
    return negative_binomial_from_heads(x_BG, mu_BG, theta, mean_link=PLAIN, dispersion_link=PLAIN, nonzero_M=nonzero_M)
