"""What the likelihoods' compiled kernels are made of: elementary functions, and heads in and out.

A kernel works on the rows of one part, with arguments as :func:`omicvae.likelihoods.base.run_cells` gives them. It
writes, in float32 with sums in float64, every cell's Σ_g log p, and overwrites what the heads gave by the gradient of
Σ_b weight_b Σ_g log p in it; the gradient in what cells share (a head's bias, a dispersion) is summed over each part's
cells. A head's outputs are float32 or, as bits in uint16, bfloat16: one of the two arrays is empty, so that a kernel is
compiled once for both.

The elementary functions are polynomials (Cephes, Moshier 1992), because a call into a scalar library would keep the
loops from becoming vector instructions.

The kernels' cache does not notice a change of this file, nor that of another file with functions for kernels: clear
``__pycache__`` after changing one. An installation replaces all files, and all is compiled anew.
"""

# numba infers types; annotations would say nothing
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from omicvae._core.native import bfloat16_bits, inlined

f4, i4 = np.float32, np.int32
# Values between two rows of working memory, and before the first; a loop reads at most 4 vectors of 16 at a time. A
# loop that writes runs its scalar form where it reads within a few vectors before the place it writes, even if the two
# do not overlap, and that form may sum in another order: results would depend on where the allocator put things.
APART = 128

# exp(r) = 1 + r + r² p(r) for abs(r) <= ½ log 2, and log(1 + m) = m − m²/2 + m³ p(m) for 1 + m in [√½, √2]
_EXP = (5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4)
_LOG = (
    3.3333331174e-1, -2.4999993993e-1, 2.0000714765e-1, -1.6668057665e-1, 1.4249322787e-1, -1.2420140846e-1,
    1.1676998740e-1, -1.1514610310e-1, 7.0376836292e-2,
)  # fmt: skip
# log 2 in two parts, the first exact in few bits
_LOG_2_HIGH, _LOG_2_LOW = f4(0.693359375), f4(-2.12194440e-4)


@inlined
def horner(coefficients, x):
    """Return Σ_k c_k x^k for a tuple of constants, which the compiler unrolls."""
    value = f4(coefficients[len(coefficients) - 1])
    for k in range(len(coefficients) - 2, -1, -1):
        value = value * x + f4(coefficients[k])
    return value


@inlined
def exp(x):
    """Return exp(x) for x held within ±87, relative error below 2e-7."""
    x = min(max(x, f4(-87.0)), f4(87.0))
    n = np.floor(x * f4(1.44269504) + f4(0.5))
    r = x - n * _LOG_2_HIGH - n * _LOG_2_LOW
    return (horner(_EXP, r) * r * r + r + f4(1)) * i4((i4(n) + i4(127)) << i4(23)).view(np.float32)


@inlined
def _log_parts(x, exact):
    """Return log(x) for normal positive x; ``exact`` is x − 1, used near 1 where forming x has rounded it."""
    bits = f4(x).view(np.int32)
    e = i4(bits - i4(0x3F3504F3)) >> i4(23)
    m = i4(bits - i4(e << i4(23))).view(np.float32) - f4(1)
    m = exact if e == i4(0) else m
    square = m * m
    return m * square * horner(_LOG, m) + f4(e) * _LOG_2_LOW - f4(0.5) * square + m + f4(e) * _LOG_2_HIGH


@inlined
def log(x):
    """Return log(x) for normal positive x, relative error below 2e-7."""
    return _log_parts(x, x - f4(1))


@inlined
def log1p(u):
    """Return log(1 + u) for u > −0.9, relative error below 2e-7 however small u is."""
    return _log_parts(f4(1) + u, u)


@inlined
def if_nan(x):
    """Return NaN for NaN, else 0: bounds and maxima would lose it."""
    return f4(np.nan) if x != x else f4(0)


@inlined
def load(head, b, raw_G):
    """Write a cell's outputs of a head with the bias added, as float32."""
    bits_BG, values_BG, bias_G, _ = head
    if len(bits_BG) > 0:
        bits = bits_BG[b]
        for g in range(len(raw_G)):
            raw_G[g] = i4(i4(bits[g]) << i4(16)).view(np.float32) + bias_G[g]
    else:
        values = values_BG[b]
        for g in range(len(raw_G)):
            raw_G[g] = values[g] + bias_G[g]


@inlined
def store(slope_G, head, b, part):
    """Write a cell's gradient over the head's outputs, rounded to nearest where they are bfloat16; add it to a sum."""
    bits_BG, values_BG, _, sum_PG = head
    sum_G = sum_PG[part]
    if len(bits_BG) > 0:
        bits = bits_BG[b]
        for g in range(len(slope_G)):
            bits[g] = bfloat16_bits(slope_G[g])
    else:
        values = values_BG[b]
        for g in range(len(slope_G)):
            values[g] = slope_G[g]
    for g in range(len(slope_G)):
        sum_G[g] += slope_G[g]
