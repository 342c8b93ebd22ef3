"""Anomaly scores: uniform where data are the model's, whatever the depth; high where they are not."""

import anndata as ad
import numpy as np
import pytest

import omicvae as ov

from .conftest import FAST
from .forms import FORMS, halves_and_model

TOLERANCE = 0.06


@pytest.fixture(scope="module")
def fitted():
    return halves_and_model(1200, 800, 40, 3, 40)


@pytest.fixture(scope="module")
def halves(fitted):
    return fitted[0]


@pytest.fixture(scope="module")
def model(fitted):
    return fitted[1]


@pytest.fixture(scope="module")
def drawn(model, halves):
    """New cells of the model itself."""
    x = model.posterior_predictive_sample(halves[1], seed=5).todense()
    return ad.AnnData(np.asarray(x, dtype=np.float32), obs=halves[1].obs, var=halves[1].var[[]])


def test_the_tail_is_uniform_for_cells_of_the_model(model, drawn):
    tail = model.anomaly_score(drawn, n_replicates=39, n_samples=1)["tail_share"]
    for share in (0.05, 0.1, 0.25, 0.5, 0.75, 0.9):
        assert (tail <= share + 1e-9).mean() == pytest.approx(share, abs=TOLERANCE + 0.03 * (share > 0.2)), share
    assert tail.min() == pytest.approx(1 / 40)
    assert tail.max() == 1


def test_depth_is_no_anomaly(model, drawn):
    score, depth = model.anomaly_score(drawn), drawn.X.sum(1)
    assert np.corrcoef(score["nll"], depth)[0, 1] > 0.7
    assert abs(np.corrcoef(score["z"], depth)[0, 1]) < 0.35
    deep = depth > np.quantile(depth, 0.9)
    assert (score["tail_share"][deep] <= 0.1).mean() < 0.2


def test_scrambled_cells_and_their_genes_stand_out(model, halves):
    other = halves[1].copy()
    x = other.X.toarray()
    x[:20] = x[:20, ::-1]  # each gene's counts under another name
    rare = x.mean(0).argmin()
    x[20:40, rare] += 300
    other.X = x
    score = model.anomaly_score(other, n_genes=1)
    assert (score["tail_share"][:40] == score["tail_share"].min()).mean() > 0.9
    assert score["z"][:40].min() > score["z"][40:].quantile(0.9)
    assert (score["gene_1"][20:40] == other.var_names[rare]).all()
    assert (score["gene_1_excess"][20:40] > 5).all()


def test_the_nats_are_those_of_the_model(model, halves):
    score = model.anomaly_score(halves[1], n_samples=4)
    np.testing.assert_allclose(score["nll"], -model.get_marginal_ll(halves[1], n_mc_samples=4, return_mean=False))
    assert list(score.index) == list(halves[1].obs_names)


def test_a_cells_score_is_its_own(model, halves):
    whole = model.anomaly_score(halves[1], n_replicates=5, n_genes=2)
    few = model.anomaly_score(halves[1], [7.0, 3.0], n_replicates=5, n_genes=2, batch_size=1)
    numbers = ["nll", "excess", "z", "tail_share", "gene_1_excess"]
    np.testing.assert_allclose(few[numbers], whole[numbers].iloc[[7, 3]], rtol=1e-4, atol=1e-3)
    again = model.anomaly_score(halves[1], n_replicates=5, n_genes=2)
    assert again.equals(whole)
    assert not model.anomaly_score(halves[1], n_replicates=5, n_genes=2, seed=1)["excess"].equals(whole["excess"])


@pytest.mark.parametrize("form", FORMS)
def test_every_likelihood_prior_and_covariate(form):
    adata, model = FORMS[form]()
    model.train(**FAST)
    score = model.anomaly_score(n_replicates=9, n_samples=2, n_genes=1)
    assert len(score) == adata.n_obs
    assert np.isfinite(score[["nll", "excess", "z", "tail_share"]].to_numpy()).all()
    assert score["tail_share"].between(0.1, 1).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_replicates": 1}, "at least 2"),
        ({"n_genes": 41}, "more than the model's 40"),
        ({"n_samples": 0}, "at least 1"),
    ],
)
def test_impossible_settings(model, settings, message):
    with pytest.raises(ov.errors.SettingError, match=message):
        model.anomaly_score(**settings)
