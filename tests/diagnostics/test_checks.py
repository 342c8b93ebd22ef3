"""Rate, active units, decoder use and gain against closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicvae._core.errors import DataError
from omicvae.diagnostics import decoder_use, gain_over_null, latent_usage, permute_within_strata


def linear_gaussian(n, slope, noise, seed=0):
    """x = slope · z + noise · ε with z ~ N(0, 1): the exact posterior N(m x, s²) and its information."""
    rng = np.random.default_rng(seed)
    x = slope * rng.normal(size=n) + noise * rng.normal(size=n)
    variance = noise**2 / (slope**2 + noise**2)
    return x, slope * x / (slope**2 + noise**2), np.full(n, variance)


def test_rate_of_a_linear_gaussian_posterior_is_its_mutual_information():
    # exact posteriors aggregate to the prior, so the rate is the mutual information ½ log(1 + slope²/noise²)
    _, mean, variance = linear_gaussian(200_000, slope=2.0, noise=0.5)
    kl = 0.5 * (mean**2 + variance - 1 - np.log(variance))
    usage = latent_usage(mean[:, None], kl[:, None])
    assert usage.rate.mean == pytest.approx(0.5 * np.log(1 + 16), rel=0.01)
    assert usage.variance_K[0] == pytest.approx(16 / 17, rel=0.02)
    assert usage.n_active == 1


def test_gain_and_use_of_a_linear_gaussian_model():
    slope, noise = 1.5, 1.0
    x, mean, variance = linear_gaussian(200_000, slope, noise)
    rng = np.random.default_rng(1)
    z = mean + np.sqrt(variance) * rng.normal(size=len(x))

    def nll(latent):
        return 0.5 * ((x - slope * latent) / noise) ** 2 + 0.5 * np.log(2 * np.pi * noise**2)

    total = slope**2 + noise**2
    null = 0.5 * x**2 / total + 0.5 * np.log(2 * np.pi * total)
    kl = 0.5 * (mean**2 + variance - 1 - np.log(variance))
    # one feature has no correlations to explain: with exact posteriors the bound is tight, the gain exactly 0
    gain = gain_over_null(-nll(z) - kl, null).gain
    assert abs(gain.mean) < 4 * gain.se
    # E[(x − slope z')² − (x − slope z)²] / 2 noise² = cov(x, slope z) / noise²
    cost = decoder_use(nll(z), nll(rng.permutation(z))).cost
    expected = slope * np.cov(x, z)[0, 1] / noise**2
    assert cost.mean == pytest.approx(expected, abs=4 * cost.se)


def test_active_units_count_dimensions_above_a_hundredth():
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(50_000, 4)) * np.sqrt([1.0, 0.02, 0.005, 0.0])
    usage = latent_usage(mean, np.zeros((3, 4)))
    assert usage.n_active == 2
    np.testing.assert_allclose(usage.variance_K, [1.0, 0.02, 0.005, 0.0], rtol=0.03)
    assert usage.rate.mean == 0


def test_a_deaf_decoder_costs_exactly_nothing():
    nll = np.array([3.0, 5.0, 9.0])
    cost = decoder_use(nll, nll).cost
    assert (cost.mean, cost.se, cost.margin) == (0.0, 0.0, 0.0)


def test_errors_are_paired_over_cells():
    rng = np.random.default_rng(0)
    depth = 500 * rng.normal(size=50)
    gain = gain_over_null(-depth + 3 + 0.1 * rng.normal(size=50), depth).gain
    assert gain.mean == pytest.approx(3, abs=0.1)
    assert gain.se < 0.05
    assert gain.low < gain.mean < gain.high


def test_interval_of_few_cells_is_wide():
    eight = gain_over_null(np.arange(8.0), np.zeros(8)).gain
    one = gain_over_null(np.ones(1), np.zeros(1)).gain
    assert eight.margin == pytest.approx(2.365 * eight.se, rel=1e-3)
    assert one.margin == np.inf


def test_coverage_of_the_interval_at_eight_cells():
    rng = np.random.default_rng(0)
    estimates = [gain_over_null(rng.normal(1.0, 5.0, 8), np.zeros(8)).gain for _ in range(2000)]
    covered = np.mean([estimate.low <= 1.0 <= estimate.high for estimate in estimates])
    assert covered == pytest.approx(0.95, abs=0.015)


@given(
    codes=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=150),
    minimum=st.integers(2, 30),
    seed=st.integers(0, 100),
)
def test_permutation_stays_in_large_strata_and_moves_every_cell(codes, minimum, seed):
    codes = np.array(codes)
    index = permute_within_strata(codes, np.random.default_rng(seed), minimum=minimum)
    assert sorted(index) == list(range(len(codes)))
    if len(codes) > 1:
        assert (index != np.arange(len(codes))).all()
    joint = codes[:, 0] * 2 + codes[:, 1]
    sizes = np.bincount(joint)
    large = np.flatnonzero(sizes >= minimum)
    crossing = {code for code in large if (joint[index[joint == code]] != code).any()}
    lonely = sizes[sizes < minimum].sum() == 1
    # one large stratum may open its doors, and only for a cell that would be alone
    assert len(crossing) <= (1 if lonely else 0)


def test_permutation_without_covariates_is_one_stratum():
    index = permute_within_strata(np.empty((50, 0)), np.random.default_rng(0))
    assert sorted(index) == list(range(50))
    assert (index != np.arange(50)).all()


def test_permutation_takes_names_and_no_cells():
    strata = np.array(["a"] * 25 + ["b"] * 25)
    index = permute_within_strata(strata, np.random.default_rng(0))
    assert (strata[index] == strata).all()
    assert len(permute_within_strata(np.empty(0), np.random.default_rng(0))) == 0
    with pytest.raises(DataError, match="one- or two-dimensional"):
        permute_within_strata(np.zeros((2, 2, 2)), np.random.default_rng(0))


def test_a_rate_is_summed_over_dimensions_and_averaged_over_cells():
    usage = latent_usage(np.array([[0.0, 0.0, 0.0], [2.0, 0.1, 0.0]]), np.array([[1.0, 2.0, 0.0], [3.0, 6.0, 0.0]]))
    assert usage.rate.mean == 6
    assert usage.kl_K.tolist() == [2, 4, 0]
    assert (usage.n_active, usage.n_latent) == (1, 3)
    assert "of 3 dimensions" in usage.to_frame()["meaning"][1]
    assert "2 unused" in usage.to_frame()["meaning"][1]


def test_cells_without_a_level_are_a_stratum_of_their_own():
    strata = np.array(["a"] * 25 + [None] * 25, dtype=object)
    index = permute_within_strata(strata, np.random.default_rng(0))
    assert sorted(index[25:]) == list(range(25, 50))


def test_a_cost_of_just_two_facts_is_use():
    assert decoder_use(np.zeros(3), np.full(3, 2 * np.log(2))).to_frame()["passed"].tolist() == [True]
    assert decoder_use(np.zeros(3), np.full(3, 1.38)).to_frame()["passed"].tolist() == [False]
