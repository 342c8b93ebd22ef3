"""CPU kernels: log-probability of whole cells and its gradient in one pass, for numba to compile.

Each writes, in float32 with sums in float64, every cell's Σ_g log p, and overwrites what the heads of mean and gate
gave by the gradient of Σ_b weight_b Σ_g log p in it; the gradient in what cells share (a head's bias, a dispersion) is
summed over each part's cells. Formulas are those of the reference in ``_negative_binomial_kernel`` and
``_saddle_point``; zeros cost one logarithm, and what only positive counts need is paid for positive counts alone.

A head comes as bits, uint16: one for a bfloat16 value, two for a float32.

The elementary functions are polynomials (Cephes, Moshier 1992), because a call into a scalar library would keep the
loops from becoming vector instructions.
"""

# numba infers types; annotations would say nothing
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from omicvae._core.native import bfloat16_bits, compiled, inlined
from omicvae.likelihoods._links import LOG_DISPERSION_BOUNDS, LOG_MEAN_BOUNDS

f4, i4 = np.float32, np.int32

HALF_LOG_2PI = f4(0.9189385332)
MEAN_LOW, MEAN_HIGH = f4(LOG_MEAN_BOUNDS[0]), f4(LOG_MEAN_BOUNDS[1])
DISPERSION_LOW, DISPERSION_HIGH = f4(LOG_DISPERSION_BOUNDS[0]), f4(LOG_DISPERSION_BOUNDS[1])
SMALLEST_MEAN = f4(1e-30)
GATE_BOUND = f4(60.0)
APART = 128  # values; a loop reads at most 4 vectors of 16 at a time


@inlined
def _rows(n_rows, n):
    """Return working memory for rows of n values; see :func:`_row`."""
    return np.zeros((n_rows + 1, n + APART), f4)


@inlined
def _row(rows, i):
    """Return row i, apart from the others and from all other memory.

    A loop that writes runs its scalar form where it reads within a few vectors before the place it writes, even if the
    two do not overlap, and that form may sum in another order: results would depend on where the allocator put things.
    """
    return rows[i + 1, : rows.shape[1] - APART]


@inlined
def _exp(x):
    """Return exp(x) for x held within ±87, relative error below 2e-7."""
    x = min(max(x, f4(-87.0)), f4(87.0))
    n = np.floor(x * f4(1.44269504) + f4(0.5))
    r = x - n * f4(0.693359375) - n * f4(-2.12194440e-4)
    p = f4(1.9875691500e-4)
    p = p * r + f4(1.3981999507e-3)
    p = p * r + f4(8.3334519073e-3)
    p = p * r + f4(4.1665795894e-2)
    p = p * r + f4(1.6666665459e-1)
    p = p * r + f4(5.0000001201e-1)
    return (p * r * r + r + f4(1)) * i4((i4(n) + i4(127)) << i4(23)).view(np.float32)


@inlined
def _log_parts(x, exact):
    """Return log(x) for normal positive x; ``exact`` is x − 1, used near 1 where forming x has rounded it."""
    bits = f4(x).view(np.int32)
    e = i4(bits - i4(0x3F3504F3)) >> i4(23)
    m = i4(bits - i4(e << i4(23))).view(np.float32) - f4(1)
    m = exact if e == i4(0) else m
    p = f4(7.0376836292e-2)
    p = p * m + f4(-1.1514610310e-1)
    p = p * m + f4(1.1676998740e-1)
    p = p * m + f4(-1.2420140846e-1)
    p = p * m + f4(1.4249322787e-1)
    p = p * m + f4(-1.6668057665e-1)
    p = p * m + f4(2.0000714765e-1)
    p = p * m + f4(-2.4999993993e-1)
    p = p * m + f4(3.3333331174e-1)
    square = m * m
    return m * square * p + f4(e) * f4(-2.12194440e-4) - f4(0.5) * square + m + f4(e) * f4(0.693359375)


@inlined
def _log(x):
    """Return log(x) for normal positive x, relative error below 2e-7."""
    return _log_parts(x, x - f4(1))


@inlined
def _log1p(u):
    """Return log(1 + u) for u > −0.9, relative error below 2e-7 however small u is."""
    return _log_parts(f4(1) + u, u)


@inlined
def _excess(e, inverse):
    """Return log(1 + e) − e for e > −1, given −e / (1 + e) too; see ``log_ratio_excess``."""
    bounded = min(max(e, f4(-0.8 / 1.8)), f4(0.8))
    v = bounded / (bounded + f4(2))
    q = v * v
    p = f4(0.12757479)
    p = p * q + f4(0.14198605)
    p = p * q + f4(0.20001453)
    p = p * q + f4(0.3333333)
    near = (p * q * f4(2) - bounded) * v
    beyond = _log(f4(1) + max(max(e, inverse) - f4(0.8), f4(0)) * f4(1 / 1.8))
    return near + (beyond if e >= f4(0) else -beyond) - (e - bounded)


@inlined
def _stirling(z):
    """Return Stirling's error at z >= 1; see ``stirling_error``."""
    i = f4(1) / z
    q = i * i
    p = f4(-0.00012955)
    p = p * q + f4(0.00059672)
    p = p * q + f4(-0.00273675)
    return (p * q + f4(0.0833308)) * i


@inlined
def _digamma_gap(x, theta):
    """Return [ψ(θ + x) − log(θ + x)] − [ψ(θ) − log θ]; see ``digamma_gap``."""
    n = x + theta
    gap = f4(1) / (n * theta) + f4(1) / ((n + f4(1)) * (theta + f4(1))) + f4(1) / ((n + f4(2)) * (theta + f4(2)))
    a, b = f4(1) / (theta + f4(3)), f4(1) / (n + f4(3))
    a2, b2 = a * a, b * b
    factor = a2 + b2
    series = f4(1 / 12) - factor * f4(1 / 120) + (factor * a2 + b2 * b2) * f4(1 / 252)
    return (gap + (series * (a + b) + f4(0.5)) * a * b) * x + _log1p(x / n * a * f4(-3))


@compiled
def dispersion_table(part, parts, log_theta_RG, theta_RG, inverse_RG, constant_RG):
    """θ = exp(log θ) within its bounds, 1/θ, and C(θ) = θ log θ − θ − log Γ(θ); see ``dispersion_constant``."""
    start, stop = len(log_theta_RG) * part // parts, len(log_theta_RG) * (part + 1) // parts
    for r in range(start, stop):
        for g in range(log_theta_RG.shape[1]):
            raw = log_theta_RG[r, g]
            theta = _exp(min(max(raw, DISPERSION_LOW), DISPERSION_HIGH)) + _if_nan(raw)
            shifted = (theta + f4(0.5)) * _log1p(f4(1) / theta) - f4(1)
            theta_RG[r, g] = theta
            inverse_RG[r, g] = f4(1) / theta
            constant_RG[r, g] = f4(0.5) * _log(theta) - HALF_LOG_2PI - shifted - _stirling(theta + f4(1))


@inlined
def _if_nan(x):
    """Return NaN for NaN, else 0: bounds and maxima would lose it."""
    return f4(np.nan) if x != x else f4(0)


@inlined
def _load(bits, bias_G, raw_G):
    """Write a cell's outputs of a head with the bias added, as float32."""
    if len(bits) == len(raw_G):
        for g in range(len(raw_G)):
            raw_G[g] = i4(i4(bits[g]) << i4(16)).view(np.float32) + bias_G[g]
    else:
        values = bits.view(np.float32)
        for g in range(len(raw_G)):
            raw_G[g] = values[g] + bias_G[g]


@inlined
def _store(slope_G, bits, sum_G):
    """Write a cell's gradient over the head's outputs, rounded to nearest where they are bfloat16; add it to a sum."""
    if len(bits) == len(slope_G):
        for g in range(len(slope_G)):
            bits[g] = bfloat16_bits(slope_G[g])
    else:
        values = bits.view(np.float32)
        for g in range(len(slope_G)):
            values[g] = slope_G[g]
    for g in range(len(slope_G)):
        sum_G[g] += slope_G[g]


@inlined
def _means(raw_G, factor, softmax, mu_G):
    """Write μ = factor · softmax(raw) or factor · exp(raw); return NaN if a raw value is NaN, else 0."""
    top, lost, total = f4(-np.inf), f4(0), f4(0)
    for g in range(len(raw_G)):
        lost += _if_nan(raw_G[g])
        top = max(top, raw_G[g])
    if softmax:
        for g in range(len(raw_G)):
            mu_G[g] = _exp(raw_G[g] - top)
            total += mu_G[g]
        for g in range(len(raw_G)):
            mu_G[g] *= factor / total
    else:
        for g in range(len(raw_G)):
            mu_G[g] = factor * _exp(min(max(raw_G[g], MEAN_LOW), MEAN_HIGH))
    return lost


@inlined
def _raw_gradient(slope_G, mu_G, factor, softmax, weight):
    """Turn the gradient in log μ into one in the raw values, times the weight."""
    total = f4(0)
    if softmax:
        for g in range(len(slope_G)):
            total += slope_G[g]
        total /= factor
    for g in range(len(slope_G)):
        slope_G[g] = weight * (slope_G[g] - mu_G[g] * total)


@compiled
def negative_binomial_cells(
    part, parts, raw_bits, bias_G, bias_sum_PG, gate_bits, gate_bias_G, gate_sum_PG, inflated, factor_B, softmax,
    starts, columns, values, theta_RG, inverse_RG, constant_RG, table_row_B, weight_B, value_B, theta_gradient_PRG,
):  # fmt: skip
    """NB, or with ``inflated`` ZINB, of whole cells; cell b has the dispersions of row ``table_row_B[b]``."""
    start, stop = len(raw_bits) * part // parts, len(raw_bits) * (part + 1) // parts
    n_genes, table = len(bias_G), part % len(theta_gradient_PRG)
    rows = _rows(10, n_genes)
    raw, mu, value = _row(rows, 0), _row(rows, 1), _row(rows, 2)
    slope, theta_slope, gate = _row(rows, 3), _row(rows, 4), _row(rows, 5)
    px, pm, pt, pc = _row(rows, 6), _row(rows, 7), _row(rows, 8), _row(rows, 9)
    for b in range(start, stop):
        row = table_row_B[b]
        theta, inverse, constant = theta_RG[row], inverse_RG[row], constant_RG[row]
        _load(raw_bits[b], bias_G, raw)
        total = np.float64(_means(raw, factor_B[b], softmax, mu))
        for g in range(n_genes):  # as if all were zero
            u = mu[g] * inverse[g]
            share = f4(1) / (f4(1) + u)
            logarithm = _log1p(u)
            gap = u * share - logarithm
            if u < f4(0.03):
                gap = u * u * (f4(-0.5) + u * (f4(2 / 3) + u * (f4(-0.75) + u * f4(0.8))))
            value[g] = -theta[g] * logarithm
            slope[g] = -mu[g] * share
            theta_slope[g] = theta[g] * gap
        column, x_row = columns[starts[b] : starts[b + 1]], values[starts[b] : starts[b + 1]]
        n = len(column)
        for j in range(n):
            g = column[j]
            px[j], pm[j], pt[j], pc[j] = x_row[j], max(mu[g], SMALLEST_MEAN), theta[g], constant[g]
        for j in range(n):
            x, m, t = px[j], pm[j], pt[j]
            difference, n_total, count = x - m, f4(1) / (t + m), x + t
            s = difference * n_total
            s_inverse = -difference / count
            theta_part = t * _excess(s, s_inverse)
            x_part = x * _excess(-s * t / x, -s_inverse * t / m)
            correction = _stirling(count) - _stirling(x) - f4(0.5) * (_log(count) + _log(x))
            px[j] = theta_part + x_part + pc[j] + correction
            pm[j] = s * t
            pt[j] = theta_part + t * _digamma_gap(x, t)
        if inflated:
            _load(gate_bits[b], gate_bias_G, gate)
            for j in range(n):
                pc[j] = gate[column[j]]
            for g in range(n_genes):  # p₀ = π + (1 − π) NB(0), held in terms that cannot overflow
                a = min(max(gate[g], -GATE_BOUND), GATE_BOUND)
                small = _exp(-abs(a))
                inverse_odds = f4(1) / (f4(1) + small)
                pi = (f4(1) if a >= f4(0) else small) * inverse_odds
                p_zero = pi + (small if a >= f4(0) else f4(1)) * inverse_odds * _exp(value[g])
                extra = pi / p_zero  # probability that a zero is one of the extra ones
                theta_slope[g] *= f4(1) - extra
                slope[g] *= f4(1) - extra
                value[g] = _log(p_zero) + _if_nan(gate[g] + value[g])
                gate[g] = weight_B[b] * (extra - pi)
            for j in range(n):  # log (1 − π) beside the count's own
                a = min(max(pc[j], -GATE_BOUND), GATE_BOUND)
                small = _exp(-abs(a))
                px[j] += _if_nan(pc[j]) - max(a, f4(0)) - _log1p(small)
                pc[j] = -weight_B[b] * (f4(1) if a >= f4(0) else small) / (f4(1) + small)
            for j in range(n):
                gate[column[j]] = pc[j]
            _store(gate, gate_bits[b], gate_sum_PG[part])
        for j in range(n):
            g = column[j]
            value[g], slope[g], theta_slope[g] = px[j], pm[j], pt[j]
        theta_gradient = theta_gradient_PRG[table, row]
        for g in range(n_genes):
            total += value[g]
            theta_gradient[g] += weight_B[b] * theta_slope[g]
        value_B[b] = total
        _raw_gradient(slope, mu, factor_B[b], softmax, weight_B[b])
        _store(slope, raw_bits[b], bias_sum_PG[part])


@compiled
def poisson_cells(
    part, parts, raw_bits, bias_G, bias_sum_PG, factor_B, softmax, starts, columns, values, weight_B, value_B
):  # fmt: skip
    """Poisson of whole cells."""
    start, stop = len(raw_bits) * part // parts, len(raw_bits) * (part + 1) // parts
    n_genes = len(bias_G)
    rows = _rows(5, n_genes)
    raw, mu, slope, px, pm = _row(rows, 0), _row(rows, 1), _row(rows, 2), _row(rows, 3), _row(rows, 4)
    for b in range(start, stop):
        _load(raw_bits[b], bias_G, raw)
        total = np.float64(_means(raw, factor_B[b], softmax, mu))
        for g in range(n_genes):
            slope[g] = -mu[g]
            total -= mu[g]
        column, x_row = columns[starts[b] : starts[b + 1]], values[starts[b] : starts[b + 1]]
        n = len(column)
        for j in range(n):
            px[j], pm[j] = x_row[j], max(mu[column[j]], SMALLEST_MEAN)
        for j in range(n):
            x, m = px[j], pm[j]
            difference = m - x
            deviance = x * _excess(difference / x, -difference / m)
            pm[j] = deviance - _stirling(x) - f4(0.5) * _log(x) - HALF_LOG_2PI + m
        for j in range(n):
            slope[column[j]] += px[j]
            total += pm[j]
        value_B[b] = total
        _raw_gradient(slope, mu, factor_B[b], softmax, weight_B[b])
        _store(slope, raw_bits[b], bias_sum_PG[part])


@compiled
def bernoulli_cells(part, parts, raw_bits, bias_G, bias_sum_PG, starts, columns, values, weight_B, value_B):
    """Bernoulli of whole cells: Σ_g [x a − softplus(a)] with the gradient x − σ(a)."""
    start, stop = len(raw_bits) * part // parts, len(raw_bits) * (part + 1) // parts
    n_genes = len(bias_G)
    rows = _rows(3, n_genes)
    logit, value, gradient = _row(rows, 0), _row(rows, 1), _row(rows, 2)
    for b in range(start, stop):
        total = np.float64(0)
        _load(raw_bits[b], bias_G, logit)
        for g in range(len(logit)):
            a = logit[g]
            small = _exp(-abs(a))
            value[g] = max(a, f4(0)) + _log1p(small) + _if_nan(a)
            gradient[g] = -weight_B[b] * (f4(1) if a >= f4(0) else small) / (f4(1) + small)
        for g in range(len(logit)):  # apart, because float64 halves the width of a vector
            total -= value[g]
        column, x_row = columns[starts[b] : starts[b + 1]], values[starts[b] : starts[b + 1]]
        for j in range(len(column)):
            total += x_row[j] * logit[column[j]]
            gradient[column[j]] += weight_B[b] * x_row[j]
        value_B[b] = total
        _store(gradient, raw_bits[b], bias_sum_PG[part])


@compiled
def gaussian_cells(
    part, parts, raw_bits, bias_G, bias_sum_PG, starts, columns, values, location_G, inverse_scale_G,
    log_variance_RG, precision_RG, table_row_B, weight_B, value_B, variance_gradient_PRG,
):  # fmt: skip
    """Σ_g −½ [(z − m)² exp(−l) + l + log 2π] of whole cells, z = (x − a) / b; genes with 1/b = 0 are left out.

    ``precision_RG`` is exp(−l).
    """
    start, stop = len(raw_bits) * part // parts, len(raw_bits) * (part + 1) // parts
    n_genes, table = len(bias_G), part % len(variance_gradient_PRG)
    rows = _rows(4, n_genes)
    x, slope, value, mean = _row(rows, 0), _row(rows, 1), _row(rows, 2), _row(rows, 3)
    for b in range(start, stop):
        column, x_row = columns[starts[b] : starts[b + 1]], values[starts[b] : starts[b + 1]]
        for j in range(len(column)):
            x[column[j]] = x_row[j]
        row, total = table_row_B[b], np.float64(0)
        _load(raw_bits[b], bias_G, mean)
        log_variance, precision = log_variance_RG[row], precision_RG[row]
        for g in range(n_genes):
            inverse = inverse_scale_G[g]
            used = f4(0) if inverse == f4(0) else f4(1)
            residual = ((x[g] - location_G[g]) * inverse - mean[g]) * used
            weighted = residual * precision[g]
            square = residual * weighted
            value[g] = used * (f4(0.5) * (square + log_variance[g]) + HALF_LOG_2PI)
            mean[g] = weight_B[b] * weighted
            slope[g] = weight_B[b] * f4(0.5) * used * (square - f4(1))
        variance_gradient = variance_gradient_PRG[table, row]
        for g in range(n_genes):
            variance_gradient[g] += slope[g]
            total -= value[g]
        for j in range(len(column)):
            x[column[j]] = f4(0)
        value_B[b] = total
        _store(mean, raw_bits[b], bias_sum_PG[part])


@compiled
def log1p_scaled(part, parts, starts, values, scale_B, out_M):
    """log1p(x · scale of its cell) at each non-zero."""
    start, stop = len(scale_B) * part // parts, len(scale_B) * (part + 1) // parts
    for b in range(start, stop):
        x, y = values[starts[b] : starts[b + 1]], out_M[starts[b] : starts[b + 1]]
        for j in range(len(x)):
            y[j] = _log1p(x[j] * scale_B[b])
