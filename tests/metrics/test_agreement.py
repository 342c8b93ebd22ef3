import numpy as np
import pytest
from scipy.stats import false_discovery_control, norm, spearmanr

from omicvae._core.errors import DataError, SettingError
from omicvae.metrics import benjamini_hochberg, effect_agreement


def test_adjusted_p_values_are_those_of_scipy():
    p = np.random.default_rng(0).uniform(size=200) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))


def test_adjusted_p_values_by_hand_and_untested_genes():
    # sorted 0.01, 0.02, 0.04: 3/1, 3/2, 3/3 times
    np.testing.assert_allclose(benjamini_hochberg([0.04, 0.01, 0.02]), [0.04, 0.03, 0.03])
    np.testing.assert_allclose(benjamini_hochberg([0.04, np.nan, 0.01, 0.02]), [0.04, np.nan, 0.03, 0.03])
    assert benjamini_hochberg([1.0, 1.0]).tolist() == [1.0, 1.0]
    assert len(benjamini_hochberg([])) == 0


def test_agreement_by_hand():
    reference = np.array([2.0, -1.0, 1.0, -3.0, 0.0, 0.0])
    # right sign, right sign, wrong sign, not called, false call, not called
    estimate = np.array([1.0, -2.0, -1.0, -0.1, 1.0, 0.1])
    p = np.array([1e-4, 1e-4, 1e-4, 0.9, 1e-4, 0.9])
    result = effect_agreement(estimate, reference, p_G=p)
    assert (result.n_hits, result.n_called, result.n_reference, result.n_genes) == (2, 4, 4, 6)
    assert result.precision == 2 / 4
    assert result.recall == 2 / 4
    assert result.f1 == 2 / 4
    assert result.sign_agreement == 3 / 4
    assert result.rank_correlation == pytest.approx(spearmanr(estimate, reference).statistic)
    assert result.to_frame().loc[0, "precision"] == 0.5


def test_the_same_effects_agree_fully_and_their_negative_not_at_all():
    rng = np.random.default_rng(0)
    effect, p = rng.normal(size=100), np.where(np.arange(100) < 30, 1e-6, 0.8)
    same = effect_agreement(effect, effect, p_G=p, reference_p_G=p)
    assert (same.precision, same.recall, same.f1, same.sign_agreement) == (1.0, 1.0, 1.0, 1.0)
    assert same.n_hits == 30
    assert same.rank_correlation == pytest.approx(1.0)
    opposite = effect_agreement(-effect, effect, p_G=p, reference_p_G=p)
    assert (opposite.precision, opposite.recall, opposite.sign_agreement) == (0.0, 0.0, 0.0)
    assert opposite.rank_correlation == pytest.approx(-1.0)


def test_unrelated_effects_agree_in_half_of_the_signs():
    rng = np.random.default_rng(0)
    result = effect_agreement(rng.normal(size=4000), rng.normal(size=4000))
    assert result.sign_agreement == pytest.approx(0.5, abs=0.03)
    assert result.rank_correlation == pytest.approx(0.0, abs=0.05)


def test_false_calls_stay_below_the_rate_on_simulated_tests():
    """Mean of 1 − precision over simulations against the truth is at most the FDR times the share of nulls."""
    rng = np.random.default_rng(0)
    truth = np.where(np.arange(500) < 100, rng.choice([-1, 1], 500) * 3.0, 0.0)
    false_rates = []
    for _ in range(200):
        z = truth + rng.normal(size=500)
        result = effect_agreement(z, truth, p_G=2 * norm.sf(np.abs(z)), fdr=0.1)
        false_rates.append(1 - result.precision)
        assert result.recall > 0.4
    assert np.mean(false_rates) == pytest.approx(0.1 * 400 / 500, abs=0.015)


def test_untested_genes_are_not_called():
    result = effect_agreement([1.0, 1.0], [1.0, 1.0], p_G=[np.nan, 1e-9])
    assert (result.n_called, result.precision, result.recall) == (1, 1.0, 0.5)


def test_what_is_undefined_is_nan():
    result = effect_agreement([0.0, 0.0], [0.0, 0.0])
    values = [result.precision, result.recall, result.f1, result.sign_agreement, result.rank_correlation]
    assert np.isnan(values).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [1.0, 2.0]), "got 1 and 2 effects"),
        (([np.nan], [1.0]), "effects must be a vector of finite"),
        (([1.0], [[1.0]]), "reference effects must be a vector"),
        (([], []), "vector of finite numbers"),
    ],
)
def test_unusable_effects_are_explained(arguments, message):
    with pytest.raises(DataError, match=message):
        effect_agreement(*arguments)


def test_unusable_p_values_and_rates_are_explained():
    with pytest.raises(DataError, match="from 0 to 1"):
        benjamini_hochberg([0.5, 1.5])
    with pytest.raises(DataError, match="a p-value for each of the 2 effects, got 1"):
        effect_agreement([1.0, 2.0], [1.0, 2.0], p_G=[0.1])
    with pytest.raises(SettingError, match="fdr must be from 0 to 1"):
        effect_agreement([1.0], [1.0], fdr=5)
