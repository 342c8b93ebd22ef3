import numpy as np
import pandas as pd
import pytest

from omicvae._core.errors import DataError, SettingError
from omicvae.metrics import beta_vae_score, dci, factor_vae_score, mig, sap
from omicvae.metrics.factors import as_factors, quantile_codes

SCORES = {
    "mig": lambda z, v: mig(z, v).score,
    "sap": lambda z, v: sap(z, v).score,
    "disentanglement": lambda z, v: dci(z, v).disentanglement,
    "completeness": lambda z, v: dci(z, v).completeness,
    "beta_vae": lambda z, v: beta_vae_score(z, v, n_points=400).above_chance,
    "factor_vae": lambda z, v: factor_vae_score(z, v, n_points=400).above_chance,
}
by_score = pytest.mark.parametrize("score", SCORES.values(), ids=SCORES.keys())


@pytest.fixture(scope="module")
def grid():
    """Every combination of 4 × 3 levels, 40 times: factors that are exactly independent."""
    first, second = np.meshgrid(np.arange(4), np.arange(3), indexing="ij")
    return np.tile(np.column_stack([first.ravel(), second.ravel()]), (40, 1))


@pytest.fixture(scope="module")
def continuous():
    return np.random.default_rng(0).uniform(-1, 1, (1000, 2))


def rotated(z):
    z = (z - z.mean(0)) / z.std(0)
    return z @ np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2)


@by_score
def test_latents_that_are_the_factors_score_one(score, grid):
    assert score(grid.astype(float), grid) == pytest.approx(1.0, abs=1e-6)


@by_score
def test_continuous_factors_themselves_score_nearly_one(score, continuous):
    # the joint histogram of independent uniforms holds (20 − 1)² / 2N = 0.18 of log 20 = 3 nats by chance
    assert score(continuous, continuous) > 0.9


def test_latents_that_know_nothing_score_nearly_zero(continuous, grid):
    z = np.random.default_rng(1).normal(size=(1000, 3))
    for factors in (continuous, np.tile(grid, (3, 1))[:1000]):
        assert mig(z, factors).score < 0.02
        assert sap(z, factors).score < 0.05
        assert dci(z, factors).informativeness < 0.05


@pytest.mark.parametrize("score", [beta_vae_score, factor_vae_score])
def test_latents_that_know_nothing_guess_the_factor_of_a_group(score):
    """What groups share by chance does not carry over to the other half of the cells, on average over data sets."""
    rng = np.random.default_rng(0)
    scores = [score(rng.normal(size=(1000, 3)), rng.uniform(size=(1000, 2)), n_points=400) for _ in range(12)]
    assert np.mean([each.above_chance for each in scores]) == pytest.approx(0.0, abs=0.1)


@by_score
def test_rotation_lowers_the_score(score, continuous):
    assert score(rotated(continuous), continuous) < score(continuous, continuous) - 0.4


@by_score
def test_order_of_dimensions_does_not_matter(score, continuous):
    noise = np.random.default_rng(2).normal(size=(1000, 1))
    z = np.column_stack([continuous + 0.3 * noise, noise])
    assert score(z[:, [2, 0, 1]], continuous) == pytest.approx(score(z, continuous), abs=0.01)


@pytest.mark.parametrize("name", ["mig", "disentanglement", "completeness"])
def test_increasing_transformations_do_not_matter(name, continuous):
    z = continuous + 0.1 * np.random.default_rng(3).normal(size=continuous.shape)
    bent = np.column_stack([np.exp(3 * z[:, 0]), z[:, 1] ** 3])
    # thresholds of trees lie between values: out of sample a cell may fall on the other side
    assert SCORES[name](bent, continuous) == pytest.approx(SCORES[name](z, continuous), abs=0.02)


def test_mig_is_exactly_invariant_to_increasing_transformations(continuous):
    z = continuous + 0.1
    assert mig(np.exp(z), continuous).score == mig(z, continuous).score
    assert mig(z, np.exp(continuous)).score == mig(z, continuous).score


@pytest.mark.parametrize("name", ["sap", "beta_vae", "factor_vae"])
def test_scale_of_dimensions_does_not_matter(name, continuous):
    assert SCORES[name](continuous * [1e3, 1e-3] + 5, continuous) == pytest.approx(
        SCORES[name](continuous, continuous), abs=1e-6
    )


def test_mig_by_hand():
    # z_0 tells two of four equally frequent levels apart: log 2 of log 4 nats; z_1 knows nothing
    levels = np.repeat([0, 1, 2, 3], 2)
    z = np.column_stack([levels // 2, np.tile([0, 1], 4)])
    score = mig(z, levels[:, None])
    np.testing.assert_allclose(score.association_KF, [[0.5], [0.0]], atol=1e-12)
    assert score.score == pytest.approx(0.5)
    # a second dimension that knows as much leaves no gap
    assert mig(np.column_stack([z, levels // 2]), levels[:, None]).score == pytest.approx(0.0)


def test_sap_of_two_levels_reaches_one_and_follows_correlation():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2000, 2))
    assert sap(z, (z[:, :1] > 0.3)).score > 0.95
    factor = 2 * z[:, 0] + z[:, 1]
    squared = [np.corrcoef(column, factor)[0, 1] ** 2 for column in z.T]
    assert sap(z, factor[:, None]).score == pytest.approx(squared[0] - squared[1])
    assert sap(np.column_stack([z, np.zeros(2000)]), factor[:, None]).association_KF[2, 0] == 0


def test_sap_needs_thresholds_only():
    """Levels need not be in order along the dimension; bent dimensions give the same trees."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 3, 300)
    z = np.column_stack([np.array([2.0, 0.0, 1.0])[levels] + 0.1 * rng.normal(size=300), rng.normal(size=300)])
    assert sap(z, levels[:, None]).score > 0.8
    assert sap(np.exp(z), levels[:, None]).score == pytest.approx(sap(z, levels[:, None]).score, abs=0.02)


def test_dci_tells_one_factor_in_two_dimensions_from_two_factors_in_one():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 2, (2, 600))
    # the first factor, four levels, lies half in z_0 and half in z_1; the second is z_2
    z = np.column_stack([first, rng.integers(0, 2, 600), second]).astype(float)
    split = dci(z, np.column_stack([2 * z[:, 0] + z[:, 1], second]))
    assert split.disentanglement > 0.95
    assert split.completeness == pytest.approx((1 - np.log(2) / np.log(3) + 1) / 2, abs=0.05)
    # both factors in z_0
    joint = dci(np.column_stack([2 * first + second, rng.normal(size=600)]), np.column_stack([first, second]))
    assert joint.completeness > 0.95
    assert joint.disentanglement < 0.1
    assert joint.informativeness == pytest.approx(1.0)


def test_dci_of_constant_latents_is_zero(grid):
    score = dci(np.ones((480, 2)), grid)
    assert (score.disentanglement, score.completeness, score.informativeness) == (0.0, 0.0, 0.0)


def test_dci_is_bounded_and_seeded(continuous):
    bounded = [dci(continuous, continuous, max_cells=200, seed=seed).informativeness for seed in (0, 0, 1)]
    assert bounded[0] == bounded[1] != bounded[2]
    assert dci(continuous, continuous).to_frame().columns.tolist() == [
        "disentanglement",
        "completeness",
        "informativeness",
    ]


def test_group_scores_leave_out_constant_dimensions(grid):
    padded = np.column_stack([np.ones(480), grid])
    assert factor_vae_score(padded, grid).score == 1.0
    assert beta_vae_score(padded, grid).score == 1.0
    with pytest.raises(DataError, match="All latents are constant"):
        factor_vae_score(np.ones((480, 2)), grid)


def test_factors_that_go_together_lower_the_group_score():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 4, 1000)
    second = np.where(rng.random(1000) < 0.95, first, rng.integers(0, 4, 1000))
    factors = np.column_stack([first, second])
    noisy = factors + 0.5 * rng.normal(size=(1000, 2))
    free = np.column_stack([first, rng.permutation(second)])
    apart = factor_vae_score(free + (noisy - factors), free).score
    assert factor_vae_score(noisy, factors).score < apart - 0.1


def test_frames(grid):
    frame = mig(grid, pd.DataFrame(grid, columns=["dose", "batch"])).to_frame()
    assert frame["factor"].tolist() == ["dose", "batch"]
    assert frame["best_dimension"].tolist() == [0, 1]
    assert frame["mig"].tolist() == pytest.approx([1.0, 1.0])
    frame = factor_vae_score(grid, grid).to_frame()
    assert frame["factor"].tolist() == ["0", "1", "all"]
    assert (frame["factor_vae_score"] == 1.0).all()
    assert (frame["chance"] == 0.5).all()


def test_columns_are_read_as_levels_or_numbers():
    table = pd.DataFrame(
        {
            "text": list("abab") * 10,
            "category": pd.Categorical([1.5, 2.5] * 20),
            "truth": [True, False] * 20,
            "few": [0.0, 1.0, 2.0, 3.0] * 10,
            "many": np.arange(40),
            "real": np.linspace(0, 1, 40),
        }
    )
    factors = as_factors(table)
    assert factors.discrete_F.tolist() == [True, True, True, True, False, False]
    assert factors.codes_NF.max(0).tolist() == [1, 1, 1, 3, 19, 19]
    mixed = as_factors(np.array([["a", 0.5], ["b", 1.5], ["a", 2.5]], dtype=object))
    assert mixed.discrete_F.tolist() == [True, False]


def test_quantile_codes_fill_bins_alike_and_keep_ties_together():
    values = np.random.default_rng(0).normal(size=1000)
    assert np.bincount(quantile_codes(values, 20)).tolist() == pytest.approx([50] * 20, abs=1)
    assert quantile_codes(np.array([5.0, 7.0, 5.0, 9.0]), 20).tolist() == [0, 1, 0, 2]
    for sign in (1, -1):  # most values tied at the lower or at the upper end
        codes = quantile_codes(sign * np.concatenate([np.zeros(900), np.arange(1, 101)]), 10)
        assert len(set(codes[:900])) == 1
        assert len(set(codes)) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mig(np.zeros((4, 1)), np.eye(4)), "compares latent dimensions and needs at least 2"),
        (lambda: mig(np.zeros((3, 2)), np.eye(4)), "a row for each of the 4"),
        (lambda: mig(np.zeros((4, 2)), np.ones(4)), "two-dimensional"),
        (lambda: mig(np.zeros((4, 2)), np.ones((4, 1))), "same in all 4 cells"),
        (lambda: mig(np.zeros((4, 2)), pd.DataFrame({"dose": [1, None, 2, 3]})), "'dose' is missing in 1 cells"),
        (lambda: mig(np.zeros((2, 2)), np.array([[0.5], [np.inf]])), "must be finite"),
        (lambda: dci(np.zeros((4, 2)), np.eye(4)[:, :1]), "needs at least 2, got 1"),
        (lambda: sap(np.zeros((9, 2)), np.arange(9)[:, None] > 6), "needs at least 5 cells, the smallest has 2"),
        (lambda: beta_vae_score(np.eye(4), np.eye(4)[:, :1]), "needs at least 2, got 1"),
        (lambda: factor_vae_score(np.eye(4), np.column_stack([range(4), [0, 0, 1, 1]])), "no two share a level"),
    ],
)
def test_unusable_input_is_explained(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_settings_are_checked(grid):
    with pytest.raises(SettingError, match="n_bins must be at least 2"):
        mig(grid, grid, n_bins=1)
    with pytest.raises(SettingError, match="n_points must be at least 2"):
        factor_vae_score(grid, grid, n_points=1)


def test_whole_numbers_may_be_doubles_as_r_sends_them(grid):
    assert mig(grid, grid, n_bins=20.0).score == pytest.approx(1.0)
    assert sap(grid, grid, seed=1.0).score == pytest.approx(1.0)
    assert dci(grid, grid, seed=1.0, max_cells=200.0).informativeness == pytest.approx(1.0)
    assert factor_vae_score(grid, grid, n_points=100.0, seed=1.0).score == 1.0
