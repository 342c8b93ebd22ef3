"""Every compiled kernel, value and gradients, against 40 digits over the documented range, bulk depth included."""

import mpmath as mp
import numpy as np
import pytest
import scipy.stats as st
import torch
from scipy.special import softmax

from omicvae._core import Batch, SparseRows
from omicvae.likelihoods import LIKELIHOODS

from .test_accuracy import errors, grid_points, log_nb, log_poisson, log_zinb, random_points

#: copies of an entry in a cell: full vectors of genes, and some that are left over
COPIES = 37


@pytest.fixture(scope="module", autouse=True)
def _forty_digits():
    with mp.workdps(40):
        yield


@pytest.fixture(scope="module")
def counts():
    """x, μ, log θ and gates in float32, and a point (x, μ, θ, gate) of exact numbers for each."""
    x, mu, theta = np.array(grid_points() + random_points(), dtype=np.float32).T
    gate = np.random.default_rng(1).uniform(-30, 30, len(x)).astype(np.float32)
    columns = (x, mu, np.log(theta), gate)
    points = [tuple(map(mp.mpf, row)) for row in np.stack(columns, 1).astype(np.float64).tolist()]
    return columns, [(a, b, mp.exp(log_theta), c) for a, b, log_theta, c in points]


def by_kernel(name, x, factor, heads, *, dispersion=None, prepare=lambda model: None):
    """Value of each entry and its gradient in each head, of cells whose genes are all alike."""
    model = LIKELIHOODS[name](COPIES, dispersion=dispersion, size_factor=LIKELIHOODS[name].support == "counts")
    prepare(model)
    wide = lambda column: torch.from_numpy(np.repeat(column[:, None], COPIES, 1))  # noqa: E731
    leaves = [wide(values).requires_grad_() for values in heads.values()]
    batch = Batch(
        SparseRows.from_dense(wide(x)), torch.from_numpy(factor[:, None]), torch.zeros(len(x), 0).long(), torch.zeros(0)
    )
    value_B = model.cell_log_prob(batch, dict(zip(heads, leaves, strict=True)))
    gradients = torch.autograd.grad(value_B.sum(), leaves)
    return value_B.detach().numpy() / COPIES, *(gradient.numpy() for gradient in gradients)


def assert_close(values, exact, *, relative=1e-6, absolute=1e-3):
    """Within relative · abs(exact) + absolute; the default is what the documentation says of a log-probability."""
    bound = absolute + relative * np.abs(np.array(exact, dtype=np.float64)) + 1e-30
    for column in values.T if values.ndim > 1 else [values]:
        excess = errors(column, exact) / bound
        assert (excess <= 1).all(), (excess.max(), int(excess.argmax()))


def nb_slopes(x, mu, theta):
    """In log μ and in log θ."""
    gap = mp.digamma(x + theta) - mp.digamma(theta) - mp.log1p(mu / theta)
    return (x - mu) * theta / (mu + theta), theta * (gap - (x - mu) / (mu + theta))


def resolved(x, mu, log_theta):
    """What float32 resolves of a slope in log θ."""
    return 3e-7 * np.minimum(np.maximum(x, mu), np.exp(log_theta)).astype(np.float64)


def test_poisson(counts):
    (x, mu, *_), points = counts
    value, slope = by_kernel("poisson", x, mu, {"scale": np.zeros_like(x)})
    assert_close(value, [log_poisson(x, mu) for x, mu, *_ in points])
    assert_close(slope, [x - mu for x, mu, *_ in points], absolute=0)


def test_negative_binomial(counts):
    (x, mu, log_theta, _), points = counts
    heads = {"scale": np.zeros_like(x), "dispersion": log_theta}
    value, slope, theta_slope = by_kernel("nb", x, mu, heads, dispersion="gene-cell")
    slopes, theta_slopes = zip(*(nb_slopes(*point[:3]) for point in points), strict=True)
    assert_close(value, [log_nb(*point[:3]) for point in points])
    assert_close(slope, slopes, absolute=0)
    assert_close(theta_slope, theta_slopes, relative=1e-4, absolute=resolved(x, mu, log_theta))


def test_zero_inflated(counts):
    (x, mu, log_theta, gate), points = counts
    heads = {"scale": np.zeros_like(x), "dispersion": log_theta, "zero_logit": gate}
    value, slope, theta_slope, gate_slope = by_kernel("zinb", x, mu, heads, dispersion="gene-cell")
    slopes, theta_slopes = map(np.array, zip(*(nb_slopes(*point[:3]) for point in points), strict=True))
    share = np.array([1 / (1 + mp.exp(-gate)) for *_, gate in points])
    extra = np.array([0 if p[0] else pi / mp.exp(log_zinb(*p)) for p, pi in zip(points, share, strict=True)])
    assert_close(value, [log_zinb(*point) for point in points])
    # a share of extra zeros is known to 1e-7
    assert_close(slope, (1 - extra) * slopes, absolute=2e-7 * np.abs(slopes.astype(float)))
    size = resolved(x, mu, log_theta) + 2e-7 * np.abs(theta_slopes.astype(float))
    assert_close(theta_slope, (1 - extra) * theta_slopes, relative=1e-4, absolute=size)
    assert_close(gate_slope, extra - share, absolute=2e-7)


def test_bernoulli():
    logit = np.concatenate([np.linspace(-100, 100, 401), np.linspace(-1, 1, 101) ** 3 * 1e-2]).astype(np.float32)
    x = (np.arange(len(logit)) % 2).astype(np.float32)
    value, slope = by_kernel("bernoulli", x, np.ones_like(x), {"logit": logit})
    towards = [mp.mpf(float(a if x else -a)) for a, x in zip(logit, x, strict=True)]
    assert_close(value, [-mp.log1p(mp.exp(-a)) for a in towards], absolute=1e-5)
    signs = 2 * x.astype(np.float64) - 1
    assert_close(slope, [s / (1 + mp.exp(a)) for a, s in zip(towards, signs, strict=True)], absolute=2e-7)


#: location and scale of a gene: standardised, log intensities, shares, large numbers
UNITS = [(0.0, 1.0), (25.5, 1.3), (0.1, 1e-3), (1e6, 300.0)]


def real_points(location, scale):
    """Values up to 12 SD from a gene's mean and the decoder's means, near them and far."""
    rng, n = np.random.default_rng(2), 300
    z = rng.standard_t(2, n).clip(-12, 12)
    mean = np.where(rng.random(n) < 0.5, z + 0.03 * rng.normal(size=n), rng.normal(size=n)).astype(np.float32)
    x = (location + scale * z).astype(np.float32)
    exact = [(mp.mpf(a) - mp.mpf(float(np.float32(location)))) / mp.mpf(float(np.float32(scale))) for a in x.tolist()]
    return x, mean, [z - mp.mpf(m) for z, m in zip(exact, mean.tolist(), strict=True)]


def bounded(raw, limit):
    return limit * mp.tanh(mp.mpf(float(np.float32(raw))) / limit)


def prepared(location, scale, **raws):
    """Give a model these units, and its parameters these raw values."""

    def prepare(model):
        model.location_G.fill_(location)
        model.scale_G.fill_(scale)
        for name, raw in raws.items():
            torch.nn.init.constant_(getattr(model, name).raw, raw)

    return prepare


@pytest.mark.parametrize(("location", "scale"), UNITS)
@pytest.mark.parametrize("raw", [-30.0, -5.0, 0.0, 4.0])
def test_gaussian(location, scale, raw):
    x, mean, residuals = real_points(location, scale)
    raws, log_variance, log_scale = np.full_like(x, raw), bounded(raw, 10), mp.log(float(np.float32(scale)))
    value, slope, raw_slope = by_kernel(
        "gaussian", x, np.ones_like(x), {"mean": mean, "log_variance": raws},
        dispersion="gene-cell", prepare=prepared(location, scale),
    )  # fmt: skip
    squares = np.array([r * r * mp.exp(-log_variance) for r in residuals])
    exact = -(squares + log_variance + mp.log(2 * mp.pi)) / 2 - log_scale
    # what float32 leaves of z − mean, whose terms are up to 12
    lost = 2e-6 * np.sqrt((squares * mp.exp(-log_variance)).astype(float))
    assert_close(value, exact, relative=2e-6, absolute=1e-3 + lost)
    assert_close(
        slope,
        [r * mp.exp(-log_variance) for r in residuals],
        relative=2e-6,
        absolute=2e-6 * float(mp.exp(-log_variance)),
    )
    factor = 1 - mp.tanh(raw / mp.mpf(10)) ** 2  # near its bound float32 holds it to 1e-5
    assert_close(raw_slope, factor * (squares - 1) / 2, relative=1e-5, absolute=float(factor) * (lost + 1e-6))


@pytest.mark.parametrize(("location", "scale"), UNITS)
@pytest.mark.parametrize(("raw_scale", "raw_degrees"), [(0.0, 2.0), (-6.0, -8.0), (-3.0, 8.0), (5.0, 0.0)])
def test_student_t(location, scale, raw_scale, raw_degrees):
    x, mean, residuals = real_points(location, scale)
    log_s, nu = bounded(raw_scale, 5), 2 + mp.exp(bounded(raw_degrees, 5))
    value, slope = by_kernel(
        "student_t", x, np.ones_like(x), {"mean": mean},
        prepare=prepared(location, scale, log_scale=raw_scale, log_degrees=raw_degrees),
    )  # fmt: skip
    constant = mp.loggamma((nu + 1) / 2) - mp.loggamma(nu / 2) - mp.log(mp.pi * nu) / 2 - log_s
    constant -= mp.log(float(np.float32(scale)))
    ratios = [r * mp.exp(-2 * log_s) / nu for r in residuals]
    exact = [constant - (nu + 1) / 2 * mp.log1p(r * q) for r, q in zip(residuals, ratios, strict=True)]
    slopes = [(nu + 1) * q / (1 + r * q) for r, q in zip(residuals, ratios, strict=True)]
    assert_close(value, exact, absolute=1e-3 + 2e-6 * np.abs(np.array(slopes, dtype=float)))
    assert_close(slope, slopes, relative=3e-6, absolute=2e-6 * float((nu + 1) * mp.exp(-2 * log_s) / nu))


@pytest.mark.parametrize("name", ["poisson", "nb", "zinb"])
@pytest.mark.parametrize(("n_genes", "highest"), [(200, 7), (20_000, 4)])
def test_whole_cells_of_bulk_depth(name, n_genes, highest):
    """Means from a softmax, over a whole profile: a hundredth of a nat of thousands."""
    rng, n = np.random.default_rng(3), 6
    mu = 10 ** rng.uniform(-2, highest, (n, n_genes))
    x, raw, theta = rng.poisson(mu).astype(np.float32), np.log(mu).astype(np.float32), float(np.exp(np.float32(9.0)))
    library = x.sum(1, keepdims=True, dtype=np.float64)
    mu = library * softmax(raw.astype(np.float64), axis=1)
    exact = st.poisson.logpmf(x, mu) if name == "poisson" else st.nbinom.logpmf(x, theta, theta / (theta + mu))
    model = LIKELIHOODS[name](n_genes)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 9.0)  # log θ
    heads = {head: torch.full((n, n_genes), -40.0) for head in model.heads} | {"scale": torch.from_numpy(raw)}
    rows, none = SparseRows.from_dense(torch.from_numpy(x)), torch.zeros(n, 0)
    with torch.no_grad():
        value_B = model.cell_log_prob(Batch(rows, torch.from_numpy(library).float(), none.long(), none), heads)
    np.testing.assert_allclose(value_B.numpy(), exact.sum(1), rtol=0, atol=1e-2)
