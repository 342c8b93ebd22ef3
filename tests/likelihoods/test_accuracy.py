"""Float32 against mpmath with 40 digits on the very same float32 inputs, over eleven orders of magnitude."""

import itertools

import mpmath as mp
import numpy as np
import pytest
import torch

from omicvae.likelihoods import negative_binomial_log_prob, poisson_log_prob, zinb_log_prob

COUNTS = (0, 1, 2, 5, 40, 1_000, 100_000, 10_000_000)


@pytest.fixture(scope="module", autouse=True)
def _forty_digits():
    with mp.workdps(40):
        yield


def grid_points():
    means = 10.0 ** np.linspace(-6, 7, 8)
    dispersions = 10.0 ** np.linspace(-3, 8, 7)
    return list(itertools.product(COUNTS, means, dispersions))


def random_points(n=700):
    """Counts anywhere, at the mean, and within a few standard deviations of it, where terms cancel most."""
    rng = np.random.default_rng(0)
    points = []
    for kind in rng.integers(0, 3, n):
        mu, theta = 10.0 ** rng.uniform(-6, 7), 10.0 ** rng.uniform(-3, 8)
        near = mu + (0.0, 2.0)[kind % 2] * rng.normal() * np.sqrt(mu + mu**2 / theta)
        x = 10.0 ** rng.uniform(0, 7) if kind == 2 else near
        points.append((min(max(round(x), 0), 10_000_000), mu, theta))
    return points


@pytest.fixture(scope="module")
def points():
    """x, μ, θ as float32, the same three as exact Python floats, and logits in [−30, 30]."""
    values = torch.tensor(grid_points() + random_points(), dtype=torch.float32)
    logits = torch.linspace(-30, 30, len(values))[torch.randperm(len(values), generator=torch.Generator())]
    return values.T.contiguous(), [tuple(map(mp.mpf, row)) for row in values.double().tolist()], logits


def log_nb(x, mu, theta):
    value = mp.loggamma(x + theta) - mp.loggamma(theta) - mp.loggamma(x + 1) - theta * mp.log1p(mu / theta)
    return value + (x * mp.log(mu / (theta + mu)) if x else 0)


def log_poisson(x, mu):
    return x * mp.log(mu) - mu - mp.loggamma(x + 1)


def log_zinb(x, mu, theta, logit):
    pi, rest = 1 / (1 + mp.exp(-logit)), 1 / (1 + mp.exp(logit))
    base = log_nb(x, mu, theta)
    return base + mp.log(rest) if x else mp.log(pi + rest * mp.exp(base))


def errors(values, exact):
    return np.array([abs(float(mp.mpf(v) - e)) for v, e in zip(values.tolist(), exact, strict=True)])


def assert_close(values, exact):
    error = errors(values, exact)
    size = np.array([abs(float(e)) for e in exact])
    assert (error <= 1e-3 + 1e-6 * size).all(), (error / (1e-3 + 1e-6 * size)).max()


def arranged(tensor, *, sparse):
    """One row, padded with many zeros where the kernel shall gather the positive counts."""
    padding = torch.full((4 * len(tensor),), float(tensor.min())) if sparse else tensor[:0]
    return torch.cat([tensor, padding])[None]


@pytest.mark.parametrize("sparse", [True, False])
def test_negative_binomial(points, sparse):
    (x, mu, theta), exact, _ = points
    inputs = [arranged(v, sparse=sparse) for v in (x, mu, theta)]
    value = negative_binomial_log_prob(*inputs)[0, : len(x)]
    assert value.dtype == torch.float32
    assert_close(value, [log_nb(*p) for p in exact])


@pytest.mark.parametrize("sparse", [True, False])
def test_zero_inflated(points, sparse):
    (x, mu, theta), exact, logits = points
    inputs = [arranged(v, sparse=sparse) for v in (x, mu, theta, logits)]
    value = zinb_log_prob(*inputs)[0, : len(x)]
    expected = [log_zinb(*p, mp.mpf(a)) for p, a in zip(exact, logits.double().tolist(), strict=True)]
    assert_close(value, expected)


@pytest.mark.parametrize("sparse", [True, False])
def test_poisson(points, sparse):
    (x, mu, _), exact, _ = points
    value = poisson_log_prob(*(arranged(v, sparse=sparse) for v in (x, mu)))[0, : len(x)]
    assert_close(value, [log_poisson(a, b) for a, b, _ in exact])


@pytest.mark.parametrize("sparse", [True, False])
def test_gradients(points, sparse):
    """In log μ: relative 1e-6. In log θ: 1e-4, beside 3e-7 of min(max(x, μ), θ), what float32 resolves."""
    (x, mu, theta), exact, _ = points
    inputs = [arranged(v, sparse=sparse) for v in (x, mu, theta)]
    leaves = [v.requires_grad_() for v in inputs[1:]]
    negative_binomial_log_prob(inputs[0], *leaves).sum().backward()
    slope_mu, slope_theta = ((v.grad * v.detach())[0, : len(x)] for v in leaves)

    expected = [(a - b) * c / (b + c) for a, b, c in exact]
    assert (errors(slope_mu, expected) <= 1e-6 * np.abs(np.array(expected, dtype=float))).all()

    expected = [c * (mp.digamma(a + c) - mp.digamma(c) - mp.log1p(b / c) - (a - b) / (b + c)) for a, b, c in exact]
    size = np.abs(np.array(expected, dtype=float))
    reach = torch.minimum(torch.maximum(x, mu), theta).double().numpy()
    excess = errors(slope_theta, expected) / (1e-4 * size + 3e-7 * reach)
    assert (excess <= 1).all(), excess.max()


def test_large_dispersion_has_an_accurate_gradient():
    """At θ = 1e8 the gradient is 1e-8 and of the right sign: (x − (x − μ)²) / 2θ to first order."""
    x = torch.tensor([[0.0, 0.0, 1.0, 3.0, 0.0, 0.0, 0.0, 0.0]])
    mu = torch.tensor([[0.5, 1.5, 0.8, 2.0, 3.0, 4.0, 0.1, 0.7]])
    theta = torch.full((8,), 1e8, requires_grad=True)
    negative_binomial_log_prob(x, mu, theta).sum().backward()
    expected = (x - (x - mu) ** 2)[0] / 2e8
    torch.testing.assert_close(theta.grad * 1e8, expected, rtol=1e-5, atol=0)


def test_large_dispersion_is_the_poisson_limit():
    x = torch.tensor([[0.0, 1.0, 7.0, 300.0]])
    mu = torch.tensor([[0.3, 2.0, 5.0, 310.0]])
    value = negative_binomial_log_prob(x, mu, torch.full((4,), 4e8))
    torch.testing.assert_close(value, poisson_log_prob(x, mu), rtol=1e-6, atol=2e-6)


def test_float64_is_accurate_to_its_own_precision(points):
    (x, mu, theta), exact, _ = points
    value = negative_binomial_log_prob(*(v.double()[None] for v in (x, mu, theta)))[0]
    expected = [log_nb(*p) for p in exact]
    size = np.array([abs(float(e)) for e in expected])
    assert (errors(value, expected) <= 1e-12 * (1 + size)).all()
