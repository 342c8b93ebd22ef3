"""Cells in another state, beside what was observed and what simple baselines say."""

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

import omicvae as ov
from omicvae._core import DataError, NotSupportedError, SettingError
from omicvae.likelihoods import LIKELIHOODS
from omicvae.priors import PRIORS

from .conftest import FAST, SETUP

DONE = {"n_samples": 3}


def said(result):
    return result.uns["omicvae"]["counterfactual"]


@pytest.fixture(scope="module")
def held_out():
    """Simulated types in two states; a model that has not seen type_0 in the second."""
    adata = ov.datasets.simulate_counts(900, 120, n_types=4, seed=1)
    unseen = ((adata.obs["cell_type"] == "type_0") & (adata.obs["batch"] == "batch_1")).to_numpy()
    fitted = adata[~unseen].copy()
    ov.CVAE.setup_anndata(fitted, batch_key="batch")
    model = ov.CVAE(fitted, n_latent=5, n_hidden=32, encode_covariates=False)
    model.train(40, progress_bar=False)
    own = np.flatnonzero((adata.obs["cell_type"] == "type_0") & (adata.obs["batch"] == "batch_0"))
    return model, adata, own, np.flatnonzero(unseen)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_likelihood_and_covariate(counts, likelihood):
    support = LIKELIHOODS[likelihood].support
    if support == "binary":
        counts.X = (counts.X > 2).astype(np.float32)
    elif support == "real":
        counts.X = np.log1p(counts.X.toarray())
    ov.CVAE.setup_anndata(counts, **SETUP)
    model = ov.CVAE(counts, likelihood, 3, n_hidden=16, covariate_encoding="embedding")
    model.train(**FAST)
    result = model.counterfactual(to={"batch": "b2", "donor": "x", "age": 60.0}, groupby="label", **DONE)
    assert result.shape == counts.shape
    assert list(result.obs_names) == list(counts.obs_names)
    for values in (result.X, *result.layers.values()):
        assert np.isfinite(values).all()
    np.testing.assert_allclose(result.X, result.layers["target"] - result.layers["own"], atol=1e-5)
    assert (result.layers["variance"] >= 0).all()
    assert (result.layers["lower"] <= result.X + 1e-6).all()
    assert "cannot" not in said(result)["summary"]
    assert "No cells in the target state" in said(result)["summary"]  # nobody is exactly 60 years old


@pytest.mark.parametrize("prior", PRIORS)
def test_every_prior(counts, prior):
    ov.CVAE.setup_anndata(counts, **SETUP)
    model = ov.CVAE(counts, "nb", 3, n_hidden=16, prior=prior, n_pseudo_inputs=5)
    model.train(**FAST)
    result = model.counterfactual(to={"batch": "b2"}, groupby="label", **DONE)
    assert np.abs(result.X).max() > 0


def test_with_size_factors(counts):
    counts.obs["size"] = np.asarray(counts.X.sum(1)).ravel() / counts.X.sum(1).mean()
    ov.CVAE.setup_anndata(counts, batch_key="batch", size_factor_key="size")
    model = ov.CVAE(counts, "nb", 3, n_hidden=16)
    model.train(**FAST)
    result = model.counterfactual(to={"batch": "b2"}, **DONE)
    z = model.get_normalized_expression(transform_batch="b2", n_samples=50, return_numpy=True)
    assert np.corrcoef(np.expm1(result.layers["target"]).mean(0), z.mean(0))[0, 1] > 0.99
    assert "size factor" in said(result)["summary"]


def test_cells_that_are_there_already_do_not_change(fitted, counts):
    result = fitted.counterfactual(to={"batch": "b2"}, **DONE)
    there = (counts.obs["batch"] == "b2").to_numpy()
    assert (result.X[there] == 0).all()
    assert (np.abs(result.X[~there]).max(1) > 0).all()
    assert said(result)["groups"]["n"].sum() == (~there).sum()


def test_two_calls_give_the_same_numbers_whatever_the_batches_and_the_choice_of_cells(fitted, counts):
    rows = np.flatnonzero(counts.obs["batch"] == "b1")[[9, 3, 20]]
    first = fitted.counterfactual(to={"batch": "b2"}, groupby="label", **DONE)
    again = fitted.counterfactual(to={"batch": "b2"}, groupby="label", n_samples=3.0, batch_size=7)
    part = fitted.counterfactual(None, rows, {"batch": "b2"}, **DONE)
    for layer in first.layers:
        np.testing.assert_allclose(first.layers[layer], again.layers[layer], atol=1e-4)
        np.testing.assert_allclose(first.layers[layer][rows], part.layers[layer], atol=1e-4)
    other = fitted.counterfactual(to={"batch": "b2"}, groupby="label", seed=5, **DONE)
    assert np.abs(other.layers["mean"] - first.layers["mean"]).max() > 0.1


def test_samples_scatter_as_cells_do(counts):
    counts.X = np.log1p(counts.X.toarray())
    ov.CVAE.setup_anndata(counts, batch_key="batch")
    model = ov.CVAE(counts, "gaussian", 3, n_hidden=16)
    model.train(**FAST)
    result = model.counterfactual(to={"batch": "b2"}, n_samples=60)
    np.testing.assert_allclose(result.layers["mean"].mean(0), result.layers["target"].mean(0), atol=0.05)
    genes = said(result)["genes"]
    within, between = result.layers["variance"], result.layers["mean"]
    moving = (counts.obs["batch"] != "b2").to_numpy()
    total = within[moving].mean(0) * 59 / 60 + between[moving].var(0)
    np.testing.assert_allclose(genes["predicted_variance"], total, rtol=1e-3)
    assert np.corrcoef(total, counts.X.var(0))[0, 1] > 0.8


def test_the_effect_of_a_simulated_state_is_found_in_a_type_that_was_not_seen_in_it(held_out):
    model, adata, own, _ = held_out
    result = model.counterfactual(adata, own, {"batch": "batch_1"}, groupby="cell_type", n_samples=10)
    row = said(result)["groups"].loc["type_0"]
    assert row["against_no_change"] == "beats"
    assert row["trained_on"] == "no"
    assert row["r2_model"] > max(0.85, row["r2_no_change"])
    assert "fit, not prediction" not in said(result)["summary"]
    effect = adata.varm["batch_effect"]["batch_1"] - adata.varm["batch_effect"]["batch_0"]
    assert np.corrcoef(result.X.mean(0), effect)[0, 1] > 0.6


def test_nothing_of_the_held_out_cells_reaches_the_prediction(held_out):
    model, adata, own, unseen = held_out
    before = model.counterfactual(adata, own, {"batch": "batch_1"}, groupby="cell_type", **DONE)
    other, rng = adata.copy(), np.random.default_rng(0)
    values = other.X.toarray()
    values[unseen] = rng.poisson(3, (len(unseen), adata.n_vars))
    other.X = sp.csr_matrix(values)
    after = model.counterfactual(other, own, {"batch": "batch_1"}, groupby="cell_type", **DONE)
    np.testing.assert_array_equal(before.X, after.X)
    for layer in before.layers:
        np.testing.assert_array_equal(before.layers[layer], after.layers[layer])
    for column in ("predicted_mean", "predicted_variance", "mean_shift", "change"):
        np.testing.assert_array_equal(said(before)["genes"][column], said(after)["genes"][column])
    assert said(before)["groups"]["r2_model"].item() > said(after)["groups"]["r2_model"].item()


def test_groups_that_were_fitted_are_called_so(held_out):
    model = held_out[0]
    result = model.counterfactual(to={"batch": "batch_1"}, groupby="cell_type", **DONE)
    groups, summary = said(result)["groups"], said(result)["summary"]
    assert groups["trained_on"].to_dict() == {"type_0": "no", "type_1": "yes", "type_2": "yes", "type_3": "yes"}
    assert groups.loc["type_0", "against_mean_shift"] == "cannot be judged"
    assert "judge the prediction with: type_0" in summary
    assert "fit, not prediction" in summary


def test_labels_that_mean_nothing_have_no_changed_genes(counts):
    counts.obs["batch"] = np.random.default_rng(3).permutation(counts.obs["batch"].to_numpy())
    ov.CVAE.setup_anndata(counts, batch_key="batch")
    model = ov.CVAE(counts, "nb", 3, n_hidden=16)
    model.train(40, progress_bar=False)
    genes = said(model.counterfactual(to={"batch": "b2"}, groupby="label"))["genes"]
    assert (genes["q_value"] < 0.05).mean() < 0.02


def test_the_result_can_be_written_and_a_loaded_model_without_data_says_what_it_does_not_know(fitted, counts, tmp_path):
    fitted.save(tmp_path / "run")
    loaded = ov.CVAE.load(tmp_path / "run")
    result = loaded.counterfactual(counts, to={"batch": "b2"}, groupby="label", **DONE)
    assert "is not known" in said(result)["summary"]
    result.write_h5ad(tmp_path / "result.h5ad")
    back = ad.read_h5ad(tmp_path / "result.h5ad")
    assert said(back)["summary"] == said(result)["summary"]
    assert list(said(back)["genes"].columns) == list(said(result)["genes"].columns)


def test_cells_given_in_place_of_those_of_the_training_are_not_called_trained(fitted, counts, tmp_path):
    fitted.save(tmp_path / "run")
    other = counts[::-1].copy()
    loaded = ov.CVAE.load(tmp_path / "run", adata=other)
    query = other.copy()
    query.obs["batch"] = query.obs["batch"].astype(str).where(np.arange(query.n_obs) % 4 > 0, "new")
    mapped = ov.CVAE.load_query_data(query, fitted)
    mapped.train(**FAST)
    for model in (loaded, mapped):
        result = model.counterfactual(to={"batch": "b2"}, groupby="label", **DONE)
        assert set(said(result)["groups"]["trained_on"]) == {"unknown"}
        assert "is not known" in said(result)["summary"]


def test_cells_without_a_group_take_no_part(fitted, counts):
    counts.obs["kind"] = counts.obs["label"].astype(object).where(np.arange(120) % 2 == 0, None)
    result = fitted.counterfactual(to={"batch": "b2"}, groupby="kind", **DONE)
    moving = (counts.obs["batch"] != "b2").to_numpy()
    assert said(result)["groups"]["n"].sum() == moving[::2].sum()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"to": None}, SettingError, "'batch', 'donor', 'age'"),
        ({"to": {}}, SettingError, "needs the state to go to"),
        ({"to": {"label": "type 1"}}, SettingError, "not conditioned"),
        ({"to": {"batch": "b9"}}, DataError, "b1"),
        ({"to": {"age": 1e6}}, DataError, "limit"),
        ({"to": {"batch": "b2"}, "groupby": "lable"}, DataError, "label"),
        ({"to": {"batch": "b2"}, "n_samples": 1}, SettingError, "at least 2"),
        ({"to": {"batch": "b2"}, "interval": 1.0}, SettingError, "between 0 and 1"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_fix(fitted, arguments, error, message):
    with pytest.raises(error, match=message):
        fitted.counterfactual(**arguments)


def test_a_state_that_all_cells_have_is_refused(fitted, counts):
    there = np.flatnonzero(counts.obs["batch"] == "b2")
    with pytest.raises(DataError, match="in that state already"):
        fitted.counterfactual(None, there, {"batch": "b2"})


def test_a_decoder_without_covariates_is_refused(counts):
    ov.CVAE.setup_anndata(counts, batch_key="batch")
    model = ov.CVAE(counts, "nb", 3, n_hidden=16, decode_covariates=False)
    model.train(**FAST)
    with pytest.raises(NotSupportedError, match="decode_covariates=True"):
        model.counterfactual(to={"batch": "b2"})
