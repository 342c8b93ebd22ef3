import importlib

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import kstest

from omicvae._core.errors import DataError, SettingError
from omicvae.metrics import calibration, randomised_pit

# the package's attribute of this name is the function
module = importlib.import_module("omicvae.metrics.calibration")

MEAN = np.geomspace(0.05, 50, 12)
THETA = 2.0


def nb(rng, n_cells=400, mean=MEAN, theta=THETA):
    """Negative binomial counts with the given means and variance μ + μ²/θ."""
    return rng.negative_binomial(theta, theta / (theta + np.broadcast_to(mean, (n_cells, len(mean)))))


@pytest.mark.parametrize("n_draws", [1, 3, 50])
def test_a_true_model_of_counts_is_calibrated_for_any_number_of_draws(n_draws):
    rng = np.random.default_rng(n_draws)
    x = nb(rng)
    u = randomised_pit(x, (nb(rng) for _ in range(n_draws)))
    assert ((u >= 0) & (u < 1)).all()
    assert kstest(u.ravel(), "uniform").pvalue > 0.01
    # gene by gene too: the smallest mean gives 95 % zeros, the largest hardly any tie
    assert min(kstest(u[:, gene], "uniform").pvalue for gene in (0, 6, 11)) > 0.001


def test_coverage_of_a_true_model_is_its_level():
    rng = np.random.default_rng(0)
    result = calibration(nb(rng, 1000), (nb(rng, 1000) for _ in range(40)))
    assert result.n_draws == 40
    assert (np.abs(result.coverage_L - result.levels_L) < 4 * result.coverage_se_L).all()
    # independent entries: the standard error is the binomial one
    expected = np.sqrt(result.levels_L * (1 - result.levels_L) / 12_000)
    np.testing.assert_allclose(result.coverage_se_L, expected, rtol=0.15)
    assert result.pit_distance < 0.02
    assert result.coverage_error < 0.01
    assert result.zero_rate_error < 0.02


def test_gene_statistics_are_those_of_the_distribution():
    rng = np.random.default_rng(0)
    result = calibration(nb(rng, 2000), (nb(rng, 2000) for _ in range(30)), genes=[f"g{i}" for i in range(12)])
    frame = result.genes_to_frame()
    assert frame.index.tolist() == [f"g{i}" for i in range(12)]
    np.testing.assert_allclose(frame["mean_predicted"], MEAN, rtol=0.05)
    np.testing.assert_allclose(frame["variance_predicted"], MEAN + MEAN**2 / THETA, rtol=0.05)
    np.testing.assert_allclose(frame["zeros_predicted"], (1 + MEAN / THETA) ** -THETA, atol=0.01)
    np.testing.assert_allclose(frame["zeros_observed"], frame["zeros_predicted"], atol=0.05)
    np.testing.assert_allclose(frame["coverage_0.9"], 0.9, atol=0.04)


def test_observed_statistics_are_those_of_the_data():
    x = nb(np.random.default_rng(0))
    result = calibration(x, [x, x])
    np.testing.assert_allclose(result.mean_observed_G, x.mean(0))
    np.testing.assert_allclose(result.variance_observed_G, x.var(0, ddof=1))
    np.testing.assert_allclose(result.zeros_observed_G, (x == 0).mean(0))
    np.testing.assert_allclose(result.variance_predicted_G, result.variance_observed_G)
    assert result.zero_rate_error == 0


def test_a_poisson_model_of_overdispersed_counts_is_convicted():
    rng = np.random.default_rng(0)
    result = calibration(nb(rng), (rng.poisson(MEAN, (400, 12)) for _ in range(50)))
    assert (result.coverage_L < result.levels_L - 0.05).all()
    # too narrow: the outer bins are fullest; too few zeros and too little variance where counts are large
    assert min(result.pit_B[0], result.pit_B[-1]) > 2 * result.pit_B[5:15].max()
    assert (result.zeros_predicted_G[-4:] <= result.zeros_observed_G[-4:]).all()
    assert (result.variance_predicted_G[-4:] < 0.5 * result.variance_observed_G[-4:]).all()
    true = calibration(nb(rng), (nb(rng) for _ in range(50)))
    assert result.zero_rate_error > 2 * true.zero_rate_error


def test_wide_and_shifted_models_of_real_values_show_in_the_pit():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    wide = calibration(x, 3 * rng.normal(size=(60, 300, 4)))
    assert (wide.coverage_L > wide.levels_L).all()
    low = calibration(x, rng.normal(size=(60, 300, 4)) - 1)
    assert low.pit_B[-1] > 5 * low.pit_B[0]
    assert low.pit_distance > 0.3
    true = calibration(x, rng.normal(size=(60, 300, 4)))
    assert true.pit_distance < 0.05
    assert true.pit_B.sum() == pytest.approx(1.0)


def test_pit_by_hand():
    draws = np.array([[[0.0, 0.0]], [[1.0, 2.0]], [[1.0, 2.0]]])
    u = randomised_pit(np.array([[1.0, 3.0]]), draws)
    # 1 lies above one draw and equals two: between 1/4 and 4/4; 3 lies above all three: between 3/4 and 4/4
    assert 1 / 4 <= u[0, 0] < 1
    assert 3 / 4 <= u[0, 1] < 1
    v = np.random.default_rng(0).random((1, 2))
    np.testing.assert_allclose(u, [[(1 + 3 * v[0, 0]) / 4, (3 + v[0, 1]) / 4]])


def test_sparse_and_streamed_draws_give_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    x, samples = nb(rng), np.stack([nb(rng) for _ in range(5)])
    whole = calibration(x, samples, seed=1)
    sparse = calibration(sp.csr_array(x), (sp.csr_matrix(draw) for draw in samples), seed=1)
    monkeypatch.setattr(module, "CELLS_AT_A_TIME", 7)
    blocks = calibration(x, iter(samples), seed=1)
    for other in (sparse, blocks):
        np.testing.assert_allclose(other.coverage_L, whole.coverage_L)
        np.testing.assert_allclose(other.coverage_GL, whole.coverage_GL)
        np.testing.assert_array_equal(other.pit_B, whole.pit_B)
    assert (randomised_pit(x, samples, seed=1) == randomised_pit(x, samples, seed=1)).all()
    assert (randomised_pit(x, samples, seed=1) == randomised_pit(x, samples, seed=1.0)).all()
    assert (randomised_pit(x, samples, seed=1) != randomised_pit(x, samples, seed=2)).any()


def test_draws_are_taken_one_at_a_time():
    alive = 0

    class Draw(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def draws():
        nonlocal alive
        for number in range(5):
            alive += 1
            assert alive <= 2  # the one in use and the next
            yield np.full((3, 2), float(number)).view(Draw)

    assert calibration(np.ones((3, 2)), draws()).n_draws == 5


def test_frame_has_a_row_for_each_level():
    x = nb(np.random.default_rng(0))
    frame = calibration(x, [x], levels=(0.25, 0.75)).to_frame()
    assert frame["level"].tolist() == [0.25, 0.75]
    assert frame.columns.tolist() == ["level", "coverage", "se"]


@pytest.mark.parametrize(
    ("x", "draws", "message"),
    [
        (np.ones((2, 2)), [], "at least one draw"),
        (np.ones((2, 2)), [np.ones((2, 2)), np.ones((2, 3))], r"draw 1 has \(2, 3\)"),
        (np.ones((2, 2)), [np.full((2, 2), np.nan)], "draw 0 must be finite; 4 entries"),
        (np.ones(2), [np.ones(2)], "data must be a matrix"),
        (np.ones((1, 2)), [np.ones((1, 2))], "at least 2 cells, got 1"),
    ],
)
def test_unusable_input_is_explained(x, draws, message):
    with pytest.raises(DataError, match=message):
        calibration(x, draws)


def test_settings_are_checked(monkeypatch):
    x = np.ones((2, 2))
    with pytest.raises(SettingError, match="level must be from 0 to 1"):
        calibration(x, [x], levels=[95])
    with pytest.raises(SettingError, match="at least one level"):
        calibration(x, [x], levels=[])
    with pytest.raises(DataError, match="each of the 2 columns"):
        calibration(x, [x], genes=["a"])
    monkeypatch.setattr(module, "MAX_DRAWS", 3)
    with pytest.raises(DataError, match="At most 3 draws"):
        calibration(x, [x] * 4)
