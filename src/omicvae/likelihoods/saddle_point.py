"""Pieces of log-probabilities that stay accurate in float32 for large counts (Loader 2000).

A count's log-probability is a small number left over from large ones: at x = 10^7 the terms of the textbook
formula reach 10^8, where float32 steps are 8 nats. Loader's saddle-point form writes it as deviances, which
are never negative and so cannot cancel, plus Stirling corrections, which are never large. Nothing here
branches on the data, so it runs without a synchronisation on a GPU, and every function accepts float32 and
float64. Functions named ``scalar_...`` are the same for one float32 inside a compiled kernel.

References
----------
Loader C (2000). Fast and accurate computation of binomial probabilities.
"""

import math

import torch
from torch import Tensor

from omicvae._core.native import inlined
from omicvae.likelihoods.kernel_functions import f4, horner, log, log1p

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)

# (atanh(v) − v) / v³ as a polynomial in v² for v² <= 0.0817: minimax for float32, Taylor for float64.
_EDGE = 0.8
_ATANH_TAIL_32 = (0.3333333, 0.20001453, 0.14198605, 0.12757479)
_ATANH_TAIL = {torch.float32: _ATANH_TAIL_32, torch.float64: tuple(1 / (2 * k + 3) for k in range(14))}
# z · stirling_error(z) as a polynomial in 1/z² for z >= 1 (minimax, error 3e-7).
_STIRLING = (0.0833308, -0.00273675, 0.00059672, -0.00012955)
# B_2k / (2k (2k − 1)) and B_2k / 2k: Stirling's series of log Γ and of digamma.
_LOG_GAMMA_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_DIGAMMA_SERIES = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)
# How far digamma's recurrence lifts its argument, and how many terms of the series follow.
_DIGAMMA_PLAN = {torch.float32: (3, 3), torch.float64: (10, 7)}


def polynomial(coefficients: tuple[float, ...], argument: Tensor) -> Tensor:
    """Return Σ_k c_k · argument^k by Horner's rule; any shape."""
    value = argument * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        value.add_(coefficient).mul_(argument)
    return value.add_(coefficients[0])


def log_ratio_excess(excess: Tensor, inverse_excess: Tensor) -> Tensor:
    """Return log(1 + e) − e, which is never positive, with a small relative error for every e > −1.

    With v = e / (2 + e), log(1 + e) = 2 atanh(v), whose leading terms cancel e by hand. Beyond e = 0.8 (or
    the mirror image 1/1.8 − 1) the rest is a plain log1p of the ratio to that edge, zero inside.

    Parameters
    ----------
    excess
        e = r − 1 of a ratio r > 0, computed without forming r. Any shape.
    inverse_excess
        1/r − 1 = −e / (1 + e), likewise; it keeps the precision that e lacks near −1.
    """
    bounded = excess.clamp(-_EDGE / (1 + _EDGE), _EDGE)
    v = bounded / (bounded + 2)
    square = v * v
    series = polynomial(_ATANH_TAIL[excess.dtype], square).mul_(square).mul_(2).sub_(bounded).mul_(v)
    beyond = torch.maximum(excess, inverse_excess).sub_(_EDGE).clamp_min_(0).mul_(1 / (1 + _EDGE)).log1p_()
    return series.add_(beyond.copysign_(excess)).sub_(excess - bounded)


@inlined
def scalar_log_ratio_excess(excess, inverse_excess):  # type: ignore[no-untyped-def]
    """:func:`log_ratio_excess` of one float32."""
    bounded = min(max(excess, f4(-_EDGE / (1 + _EDGE))), f4(_EDGE))
    v = bounded / (bounded + f4(2))
    square = v * v
    near = (horner(_ATANH_TAIL_32, square) * square * f4(2) - bounded) * v
    beyond = log(f4(1) + max(max(excess, inverse_excess) - f4(_EDGE), f4(0)) * f4(1 / (1 + _EDGE)))
    return near + (beyond if excess >= f4(0) else -beyond) - (excess - bounded)


def stirling_error(z: Tensor) -> Tensor:
    """Return log Γ(z + 1) − [(z + ½) log z − z + ½ log 2π] for z >= 1, in nats; any shape.

    The absolute error is below 1e-6 in float32 and 1e-12 in float64.
    """
    inverse = z.reciprocal()
    if z.dtype != torch.float64:
        return polynomial(_STIRLING, inverse * inverse).mul_(inverse)
    series = polynomial(_LOG_GAMMA_SERIES, inverse * inverse) * inverse
    near = z.clamp_max(20.0)
    exact = torch.lgamma(near) - (near - 0.5) * near.log() + near - HALF_LOG_2PI
    return torch.where(z < 20, exact, series)


@inlined
def scalar_stirling_error(z):  # type: ignore[no-untyped-def]
    """:func:`stirling_error` of one float32."""
    inverse = f4(1) / z
    return horner(_STIRLING, inverse * inverse) * inverse


def dispersion_constant(theta: Tensor) -> Tensor:
    """Return θ log θ − θ − log Γ(θ), what θ alone adds to the negative binomial, in nats; any shape."""
    shifted = (theta + 0.5) * theta.reciprocal().log1p() - 1
    return 0.5 * theta.log() - HALF_LOG_2PI - shifted - stirling_error(theta + 1)


def digamma_gap(x: Tensor, theta: Tensor) -> Tensor:
    """Return [ψ(θ + x) − log(θ + x)] − [ψ(θ) − log θ] for x >= 0, without cancellation for large θ.

    The recurrence ψ(z) = ψ(z + 1) − 1/z lifts both arguments until the asymptotic series is exact enough;
    then each difference of two powers is factored, so that x stands in front of everything. Shapes
    broadcast.
    """
    shift, n_terms = _DIGAMMA_PLAN[x.dtype]
    n = x + theta
    gap = (n * theta).reciprocal()
    for step in range(1, shift):
        gap.add_(((n + step) * (theta + step)).reciprocal_())
    a, b = (theta + shift).reciprocal(), (n + shift).reciprocal()
    a2, b2 = a * a, b * b
    factor, power = torch.ones_like(b), b2
    series = factor * _DIGAMMA_SERIES[0]
    for coefficient in _DIGAMMA_SERIES[1:n_terms]:
        factor = factor * a2 + power
        power = power * b2
        series.add_(factor, alpha=coefficient)
    series.mul_(a + b).add_(0.5).mul_(a).mul_(b)
    log_shift = (x / n).mul_(a).mul_(-shift).log1p_()
    return gap.add_(series).mul_(x).add_(log_shift)


@inlined
def scalar_digamma_gap(x, theta):  # type: ignore[no-untyped-def]
    """:func:`digamma_gap` of one float32: three steps of the recurrence, three terms of the series."""
    n = x + theta
    gap = f4(1) / (n * theta) + f4(1) / ((n + f4(1)) * (theta + f4(1))) + f4(1) / ((n + f4(2)) * (theta + f4(2)))
    a, b = f4(1) / (theta + f4(3)), f4(1) / (n + f4(3))
    a2, b2 = a * a, b * b
    factor = a2 + b2
    series = f4(_DIGAMMA_SERIES[0]) + factor * f4(_DIGAMMA_SERIES[1])
    series += (factor * a2 + b2 * b2) * f4(_DIGAMMA_SERIES[2])
    return (gap + (series * (a + b) + f4(0.5)) * a * b) * x + log1p(x / n * a * f4(-3))
