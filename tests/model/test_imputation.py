"""Imputation: what stands in a missing entry says nothing, and what stands in the others says more than the mean."""

import numpy as np
import pytest
import scipy.sparse as sp

import omicvae as ov

from .conftest import FAST
from .forms import FORMS, halves_and_model, simulated


def dense(adata):
    return adata.X.toarray() if sp.issparse(adata.X) else np.asarray(adata.X)


@pytest.fixture(scope="module")
def fitted():
    return halves_and_model(500, 400, 60, 4, 60, seed=1)


@pytest.fixture(scope="module")
def halves(fitted):
    return fitted[0]


@pytest.fixture(scope="module")
def model(fitted):
    return fitted[1]


@pytest.fixture(scope="module")
def mask(halves):
    return np.random.default_rng(0).random(halves[1].shape) < 0.2


def test_what_stands_in_a_missing_entry_has_no_influence(model, halves, mask):
    before = model.impute(halves[1], mask, n_samples=5)
    for wrong in (1e6, -3.5, np.nan):
        other = halves[1].copy()
        other.X = np.where(mask, wrong, dense(other))
        assert model.impute(other, mask, n_samples=5).equals(before)


def test_it_beats_the_mean_of_the_gene_on_cells_that_did_not_train(model, halves, mask):
    table, x = model.impute(halves[1], mask), dense(halves[1])
    train = dense(halves[0])
    observed, share = np.where(mask, 0, x).sum(1), train.sum(0) / train.sum()
    depth = observed / np.where(mask, 0, share).sum(1)  # the library, as it is seen without the missing entries
    truth, by_depth = x[mask], (depth[:, None] * share)[mask]
    plain = np.broadcast_to(train.mean(0), x.shape)[mask]

    def error(mean):
        return np.abs(np.sqrt(mean) - np.sqrt(truth)).mean()

    assert error(table["mean"]) < 0.8 * min(error(plain), error(by_depth))


def test_intervals_cover(model, halves, mask):
    table, truth = model.impute(halves[1], mask, level=0.9), dense(halves[1])[mask]
    covered = ((truth >= table["low"]) & (truth <= table["high"])).mean()
    assert 0.85 < covered < 0.98
    narrow = model.impute(halves[1], mask, level=0.5)
    assert (narrow["high"] - narrow["low"]).mean() < (table["high"] - table["low"]).mean() / 1.5


def test_rows_are_the_missing_entries_in_order(model, halves, mask):
    other, few = halves[1][:, ::-1].copy(), np.zeros(halves[1].shape, dtype=bool)
    few[[3, 3, 70], [5, 9, 2]] = True
    table = model.impute(other, sp.csr_matrix(few), n_samples=5)
    assert table["cell"].tolist() == other.obs_names[[3, 3, 70]].tolist()
    assert table["gene"].tolist() == other.var_names[[5, 9, 2]].tolist()
    same = model.impute(halves[1], few[:, ::-1], n_samples=5)
    np.testing.assert_array_equal(np.sort(table["mean"]), np.sort(same["mean"]))
    filled = dense(other).copy()
    filled[few] = table["mean"]
    assert (filled[~few] == dense(other)[~few]).all()


def test_nan_are_the_missing_entries_where_there_is_no_mask():
    adata = simulated("gaussian", 200, 20)
    model = ov.CVAE(adata, "gaussian", 3, n_hidden=16)
    model.train(**FAST)
    mask = np.random.default_rng(1).random(adata.shape) < 0.1
    holes = adata.copy()
    holes.X = np.where(mask, np.nan, adata.X)
    assert model.impute(holes, n_samples=5).equals(model.impute(mask=mask, n_samples=5))
    with pytest.raises(ov.errors.DataError, match="NaN"):
        model.get_elbo(holes)
    with pytest.raises(ov.errors.DataError, match=r"no NaN in adata\.X, and no mask"):
        model.impute()


def test_the_same_numbers_whatever_the_minibatch(model, halves, mask):
    whole = model.impute(halves[1], mask, n_samples=5)
    assert whole.equals(model.impute(halves[1], mask, n_samples=5.0))
    small = model.impute(halves[1], mask, n_samples=5, batch_size=7)
    np.testing.assert_allclose(small["mean"], whole["mean"], rtol=0.05, atol=0.05)
    assert not model.impute(halves[1], mask, n_samples=5, seed=1).equals(whole)


@pytest.mark.parametrize("form", FORMS)
def test_every_likelihood_prior_and_covariate(form):
    adata, model = FORMS[form]()
    model.train(**FAST)
    mask = np.zeros(adata.shape, dtype=bool)
    mask[::3, ::4] = True
    table = model.impute(mask=mask, n_samples=6)
    assert len(table) == mask.sum()
    assert np.isfinite(table[["mean", "sd", "low", "high"]].to_numpy()).all()
    assert (table["low"] <= table["high"]).all()


def test_what_cannot_be_imputed(model, halves):
    empty = np.zeros(halves[1].shape, dtype=bool)
    with pytest.raises(ov.errors.SettingError, match=r"boolean.*got float64"):
        model.impute(halves[1], empty.astype(float))
    with pytest.raises(ov.errors.SettingError, match=r"\(100, 60\), got bool \(100, 59\)"):
        model.impute(halves[1], empty[:, 1:])
    with pytest.raises(ov.errors.DataError, match="No entry"):
        model.impute(halves[1], empty)
    empty[4] = True
    with pytest.raises(ov.errors.DataError, match="Nothing of cell 'cell_404'"):
        model.impute(halves[1], empty)
    with pytest.raises(ov.errors.SettingError, match="level"):
        model.impute(halves[1], empty, level=1)
