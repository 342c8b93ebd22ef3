import numpy as np
import pytest

from omicvae._core import DataError
from omicvae.metrics import change_agreement


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    mean_G, change_G = rng.normal(3, 1, 50), np.where(np.arange(50) < 10, 2.0, 0.05)
    return rng.normal(mean_G, 0.5, (200, 50)), rng.normal(mean_G + change_G, 0.5, (300, 50))


def test_the_truth_scores_one(cells):
    own, observed = cells
    result = change_agreement(own, observed, observed.mean(0), observed.var(0), n_top=10)
    scores = result.to_frame().iloc[0]
    assert scores[:6].to_list() == pytest.approx([1.0] * 6)
    assert (result.n_top, result.n_genes) == (10, 50)


def test_no_change_scores_badly_where_genes_change(cells):
    own, observed = cells
    result = change_agreement(own, observed, own.mean(0), n_top=10)
    assert result.r2_means_top < 0 < result.r2_means
    assert np.isnan(result.pearson)
    assert np.isnan(result.r2_variances)
    assert result.direction_top == 0


def test_numbers_are_those_of_sklearn_and_scipy(cells):
    from scipy.stats import ttest_ind
    from sklearn.metrics import r2_score

    own, observed = cells
    guess = own.mean(0) + np.random.default_rng(1).normal(0.2, 0.5, 50)
    result = change_agreement(own, observed, guess, own.var(0), n_top=7)
    top = np.argsort(-np.abs(ttest_ind(observed, own, equal_var=False).statistic))[:7]
    truth = observed.mean(0)
    assert result.r2_means == pytest.approx(r2_score(truth, guess))
    assert result.r2_means_top == pytest.approx(r2_score(truth[top], guess[top]))
    assert result.r2_variances == pytest.approx(r2_score(observed.var(0), own.var(0)))
    assert result.pearson == pytest.approx(np.corrcoef(guess - own.mean(0), truth - own.mean(0))[0, 1])


@pytest.mark.parametrize(
    "arguments",
    [
        (np.zeros((3, 5)), np.zeros((3, 4)), np.zeros(5)),
        (np.zeros((3, 5)), np.zeros((3, 5)), np.zeros(4)),
        (np.zeros((1, 5)), np.zeros((3, 5)), np.zeros(5)),
        (np.full((3, 5), np.nan), np.zeros((3, 5)), np.zeros(5)),
        (np.zeros((3, 5)), np.zeros((3, 5)), np.full(5, np.inf)),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments):
    with pytest.raises(DataError):
        change_agreement(*arguments)
