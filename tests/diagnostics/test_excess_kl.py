"""Tempered posteriors against the closed form of a linear-Gaussian VAE."""

import numpy as np
import pytest

from omicvae.diagnostics import POWERS, excess_kl, tempered
from omicvae.diagnostics.excess_kl import ExcessKL


def bound(x_NK, slopes_K, mean_NK, variance_NK):
    """E_q[log p(x | z)] − KL of x_k = a_k z_k + noise of variance 1, up to a constant."""
    expected = -0.5 * ((x_NK - slopes_K * mean_NK) ** 2 + slopes_K**2 * variance_NK)
    kl = 0.5 * (variance_NK + mean_NK**2 - 1 - np.log(variance_NK))
    return (expected - kl).sum(axis=1)


def fitted_at(beta: float, x_NK, slopes_K):
    """The best posterior at KL weight β: precision 1 + a²/β."""
    variance_K = 1 / (1 + slopes_K**2 / beta)
    return x_NK * slopes_K / beta * variance_K, np.broadcast_to(variance_K, x_NK.shape)


def measured(beta: float) -> ExcessKL:
    rng = np.random.default_rng(0)
    slopes_K = np.array([0.0, 2.0, 4.0])
    x_NK = slopes_K * rng.standard_normal((500, 3)) + rng.standard_normal((500, 3))
    mean_NK, variance_NK = fitted_at(beta, x_NK, slopes_K)
    own_N = bound(x_NK, slopes_K, mean_NK, variance_NK)
    bounds = {s: bound(x_NK, slopes_K, *tempered(mean_NK, variance_NK, s)) for s in POWERS}
    return excess_kl(0.0, 0.0, None, own_N, bounds)


def test_the_posterior_of_a_dear_or_cheap_kl_is_tempered_back_to_the_exact_one():
    rng = np.random.default_rng(1)
    slopes_K = np.array([0.0, 0.3, 5.0])
    x_NK = rng.normal(size=(20, 3))
    exact = fitted_at(1.0, x_NK, slopes_K)
    for beta in (0.01, 0.25, 4.0):
        for found, wanted in zip(tempered(*fitted_at(beta, x_NK, slopes_K), beta), exact, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)


def test_the_exact_posterior_cannot_be_improved():
    exact = measured(1.0)
    assert exact.widened.high < 0
    assert exact.narrowed.high < 0
    assert exact.from_narrowness == 0
    assert exact.narrow_enough


@pytest.mark.parametrize("beta", [1 / 64, 1 / 4, 4.0])
def test_the_best_power_is_the_weight_of_the_kl(beta):
    found = measured(beta)
    assert max(found.change, key=lambda s: found.change[s].mean) == beta
    better, worse = (found.widened, found.narrowed) if beta < 1 else (found.narrowed, found.widened)
    assert better.low > 0 > worse.high
    assert found.from_narrowness == (found.widened.mean if beta < 1 else 0)
    assert list(found.change) == list(POWERS)


def test_dimensions_as_wide_as_the_prior_stay():
    mean, variance = np.array([[0.5, 0.01]]), np.array([[1.0, 1.3]])
    for power in POWERS:
        np.testing.assert_array_equal(tempered(mean, variance, power), (mean, variance))
