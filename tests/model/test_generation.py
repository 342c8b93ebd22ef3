"""Decoding and generation: right values by name, the same numbers for the same seed, for every likelihood and prior."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import omicvae as ov
from omicvae._core import DataError, NotSupportedError, SettingError

from .conftest import FAST, SETUP

AT = {"batch": "b1", "donor": "x", "age": 50.0}
LIKELIHOODS = ("nb", "zinb", "poisson", "gaussian", "student_t", "bernoulli")


def fit(counts, likelihood="nb", **settings):
    if likelihood == "bernoulli":
        counts.X = (counts.X > 3).astype(np.float32)
    ov.CVAE.setup_anndata(counts, **SETUP)
    model = ov.CVAE(counts, likelihood, 3, n_hidden=16, **settings)
    model.train(**FAST)
    return model


def dense(values):
    return values.toarray() if sp.issparse(values) else np.asarray(values)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_decoding_the_latent_of_cells_at_their_covariates_gives_their_expression(counts, likelihood):
    model = fit(counts, likelihood)
    z = pd.DataFrame(model.get_latent_representation(), index=counts.obs_names)
    made = model.decode(z, counts.obs[list(AT)])
    np.testing.assert_allclose(made.X, model.get_normalized_expression(return_numpy=True), rtol=1e-4, atol=1e-6)
    assert list(made.obs_names) == list(counts.obs_names)
    assert tuple(made.var_names) == model.schema.gene_names
    pd.testing.assert_frame_equal(made.obs[list(AT)].astype(str), counts.obs[list(AT)].astype(str))
    library = counts.X.sum(1).A1 if sp.issparse(counts.X) else np.ones(120)
    found = model.get_likelihood_parameters()
    assert set(found) == {"mean", *made.layers}
    if model.module.likelihood.support == "counts":
        made = model.decode(z, counts.obs[list(AT)], library_size=library)
    np.testing.assert_allclose(made.X, found["mean"], rtol=1e-4, atol=1e-4)
    for name, values in made.layers.items():
        np.testing.assert_allclose(values, found[name], rtol=1e-4)


def test_what_is_not_named_is_listed_and_names_are_checked(fitted):
    z = np.zeros((2, 3))
    with pytest.raises(SettingError, match="must name 'donor', 'age' as well"):
        fitted.decode(z, {"batch": "b1"})
    with pytest.raises(SettingError, match=r"'tissue'.*Its covariates: 'batch', 'donor', 'age'"):
        fitted.decode(z, {**AT, "tissue": "skin"})
    with pytest.raises(DataError, match=r"Known levels: 'b1', 'b2'"):
        fitted.decode(z, {**AT, "batch": "b7"})
    with pytest.raises(DataError, match="3 values for 2 points"):
        fitted.decode(z, {**AT, "age": [1, 2, 3]})
    with pytest.raises(DataError, match=r"shape \(points, 3\), got \(2, 4\)"):
        fitted.decode(np.zeros((2, 4)), AT)
    with pytest.raises(DataError, match="finite"):
        fitted.decode(z * np.nan, AT)
    with pytest.raises(DataError, match="finite"):
        fitted.decode(z + 1e300, AT)
    with pytest.raises(DataError, match=r"covariates\['batch'\] names levels that the model does not know: 'b7', 'b8'"):
        fitted.decode(z, {**AT, "batch": ["b7", "b8"]})
    for size in (-1, 1e300, np.nan, "1", [1, 2, 3]):
        with pytest.raises(SettingError, match="library_size must be a number above 0"):
            fitted.decode(z, AT, library_size=size)
    np.testing.assert_array_equal(fitted.decode([[0, 0, 0.0]], pd.DataFrame([AT])).X, fitted.decode(z[:1], AT).X)


def test_a_covariate_of_one_level_needs_no_name(counts):
    counts.obs["site"], counts.obs["dose"] = "here", 2.0
    ov.CVAE.setup_anndata(counts, batch_key="site", continuous_covariate_keys=["dose"])
    model = ov.CVAE(counts, "nb", 2, n_hidden=8)
    model.train(**FAST)
    made = model.decode(np.zeros((1, 2)))
    assert made.obs[["site", "dose"]].to_numpy().tolist() == [["here", 2.0]]


def test_covariates_of_named_points_are_matched_by_name(fitted, counts):
    z = pd.DataFrame(fitted.get_latent_representation(), index=counts.obs_names)
    at, other = counts.obs[list(AT)], counts.obs[list(AT)].iloc[::-1]
    expected = fitted.decode(z, at).X
    np.testing.assert_array_equal(fitted.decode(z, other).X, expected)
    np.testing.assert_array_equal(fitted.decode(z, {key: other[key] for key in AT}).X, expected)
    by_place = fitted.decode(z.to_numpy(), other).X  # points without names
    np.testing.assert_array_equal(by_place, fitted.decode(z, other.to_dict("list")).X)


def test_a_generated_cell_does_not_depend_on_how_many_there_are(fitted):
    for source in ("prior", "aggregate"):
        few, many = (fitted.generate(n, {"batch": "b1"}, source, seed=3) for n in (4, 9))
        assert few.obs["source_cell"].tolist() == many.obs["source_cell"].tolist()[:4]
        np.testing.assert_allclose(few.obsm["X_omicvae"], many.obsm["X_omicvae"][:4], rtol=1e-5)
    made = fitted.generate(5)
    recorded = json.loads(made.uns["omicvae"]["generation"])["seed"]
    np.testing.assert_array_equal(dense(fitted.generate(5, seed=recorded).X), dense(made.X))


@pytest.mark.parametrize("prior", ["standard", "conditional", "vamp"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_generated_cells_are_a_function_of_the_seed(counts, likelihood, prior):
    encoding = "embedding" if prior == "vamp" else "one_hot"
    model = fit(counts, likelihood, prior=prior, n_pseudo_inputs=5, covariate_encoding=encoding)
    for source in ("prior", "aggregate", [3, 5.0]):
        one, two, other = (model.generate(30.0, {"batch": "b2"}, source, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(dense(one.X), dense(two.X))
        np.testing.assert_array_equal(one.obsm["X_omicvae"], two.obsm["X_omicvae"])
        assert not np.array_equal(dense(one.X), dense(other.X))
        assert set(one.obs["batch"]) == {"b2"}
        assert len(np.unique(one.obsm["X_omicvae"], axis=0)) == 30
    assert sp.issparse(one.X) == (model.module.likelihood.support != "real")
    assert one.obs["source_cell"].tolist()[:4] == ["cell3", "cell5", "cell3", "cell5"]
    assert model.get_latent_representation(one).shape == (30, 3)
    assert json.loads(one.uns["omicvae"]["generation"])["source"] == "cells"


def test_covariates_and_libraries_that_are_not_named_are_those_of_a_like_cell(fitted, counts):
    made = fitted.generate(40, {"batch": ["b1", "b2"] * 20})
    behind = counts[made.obs["source_cell"]]
    assert (made.obs["batch"].astype(str) == behind.obs["batch"].astype(str).to_numpy()).all()
    for key in ("donor", "age"):
        assert made.obs[key].astype(str).tolist() == behind.obs[key].astype(str).tolist()
    np.testing.assert_allclose(made.obs["library_size"], behind.X.sum(1).A1)
    assert made.obs["source_cell"].isin(counts.obs_names[fitted.train_indices]).all()
    chosen = fitted.generate(40, library_size=1e5)
    assert chosen.X.sum(1).mean() == pytest.approx(1e5, rel=0.1)


def test_generated_cells_look_like_those_that_they_are_drawn_from():
    adata = ov.datasets.simulate_counts(600, 40, n_types=3, n_batches=2, batch_sd=1.0, seed=0)
    ov.CVAE.setup_anndata(adata, batch_key="batch")
    model = ov.CVAE(adata, "nb", 3, n_hidden=32)
    model.train(40, progress_bar=False, accelerator="cpu")
    data = adata.X.toarray() / adata.X.sum(1).A1[:, None]
    own = (adata.obs["batch"] == "batch_0").to_numpy()
    for source in ("prior", "aggregate"):
        made = model.generate(600, {"batch": "batch_0"}, source)
        rate = (made.X.toarray() / made.X.sum(1).A1[:, None]).mean(0)
        near, far = (np.abs(np.log(rate / data[rows].mean(0))).mean() for rows in (own, ~own))
        assert near < 0.25 < far, source


def test_temperature_scales_the_spread_of_z(fitted):
    wide, cold = (fitted.generate(200, temperature=t).obsm["X_omicvae"] for t in (2, 0))
    np.testing.assert_array_equal(cold, np.zeros((200, 3)))
    assert wide.std() == pytest.approx(2, rel=0.1)
    means = fitted.get_latent_representation()
    cold = fitted.generate(4, source=[7, 8], temperature=0).obsm["X_omicvae"]
    np.testing.assert_allclose(cold, means[[7, 8, 7, 8]], rtol=1e-4, atol=1e-6)
    with pytest.raises(SettingError, match="temperature must be at least 0"):
        fitted.generate(3, temperature=-1)
    with pytest.raises(SettingError, match="'prior', 'aggregate'"):
        fitted.generate(3, source="posterior")


def test_draws_of_the_prior_are_the_priors(counts):
    model = fit(counts, prior="conditional")
    at = model.module.prior
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at.mean_CK, "data", at.mean_CK.data * 0 + 5.0)  # every level and unit of age moves z by 5
        z = model.generate(400, {**AT, "age": counts.obs["age"].mean()}).obsm["X_omicvae"]
    assert z.mean() == pytest.approx(10, abs=0.5)  # batch and donor; age is near its mean


def test_a_model_without_data_says_what_it_lacks(fitted, counts, tmp_path):
    fitted.save(tmp_path / "model")
    model = ov.CVAE.load(tmp_path / "model")
    np.testing.assert_array_equal(model.decode(np.zeros((1, 3)), AT).X, fitted.decode(np.zeros((1, 3)), AT).X)
    assert model.generate(5, AT, library_size=500).shape == (5, 30)
    with pytest.raises(NotSupportedError, match="library_size="):
        model.generate(5, AT)
    with pytest.raises(SettingError, match="must name 'donor', 'age'"):
        model.generate(5, {"batch": "b1"}, library_size=500)
    for call in (
        lambda: model.generate(5, source="aggregate"),
        lambda: model.interpolate(0, 1),
        lambda: model.traverse(0, [1]),
    ):
        with pytest.raises(NotSupportedError, match="loaded without data"):
            call()
    with pytest.raises(NotSupportedError, match="needs a trained model"):
        ov.CVAE(counts, "nb", 3).generate(5)


def test_interpolation_goes_from_cell_to_cell(fitted, counts):
    fitted.write_latent()
    line = fitted.interpolate("cell4", 9.0, 5)
    ends = fitted.decode(counts.obsm["X_omicvae"][[4, 9]], counts.obs.iloc[[4, 9]][list(AT)])
    np.testing.assert_allclose(line.X[[0, 4]], ends.X, rtol=1e-4)
    np.testing.assert_allclose(line.obs["fraction"], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(line.obs["age"].iloc[2], counts.obs["age"].iloc[[4, 9]].mean())
    z = line.obsm["X_omicvae"]
    np.testing.assert_allclose(z[2], (z[0] + z[4]) / 2, rtol=1e-5, atol=1e-6)


def test_interpolation_between_levels_mixes_what_is_decoded_at_each(fitted, counts):
    with pytest.raises(SettingError, match="several levels of 'donor'"):
        fitted.interpolate({"batch": "b1"}, {"batch": "b2"}, 3)
    line = fitted.interpolate({"batch": "b1"}, {"batch": "b2"}, 3, covariates={"donor": "x"}, library_size=100)
    assert line.obs["batch"].tolist() == ["b1", "b1 → b2", "b2"]
    half = {"donor": "x", "age": line.obs["age"].iloc[1]}
    ends = [fitted.decode(line.obsm["X_omicvae"][1:2], {**half, "batch": b}, 100).X for b in ("b1", "b2")]
    np.testing.assert_allclose(line.X[1:2], (ends[0] + ends[1]) / 2, rtol=1e-4)
    z = fitted.get_latent_representation()[(counts.obs["batch"] == "b1").to_numpy()]
    np.testing.assert_allclose(line.obsm["X_omicvae"][0], z.mean(0), rtol=1e-4, atol=1e-5)
    for where, message in (
        ({"batch": "b9"}, "no level 'b9'"),
        ("cell999", "0 cells"),
        (120, "120 cells"),
        ({"site": 1}, "no column"),
    ):
        with pytest.raises((DataError, SettingError), match=message):
            fitted.interpolate(where, 0)


def test_a_traversal_moves_one_dimension(fitted):
    made = fitted.traverse(1.0, [-1, 0, 2], at="cell3")
    z = fitted.get_latent_representation(indices=[3])
    np.testing.assert_allclose(made.obsm["X_omicvae"][:, [0, 2]], np.tile(z[:, [0, 2]], (3, 1)), rtol=1e-5)
    assert made.obsm["X_omicvae"][:, 1].tolist() == made.obs["value"].tolist() == [-1, 0, 2]
    there = fitted.traverse(1, [2.0], at=[0.1, 0, 0.3], covariates=AT)
    np.testing.assert_array_equal(there.X, fitted.decode([[0.1, 2, 0.3]], AT).X)
    mean = fitted.traverse(0, [0.0], covariates={"batch": "b1", "donor": "x"})
    np.testing.assert_allclose(
        mean.obsm["X_omicvae"][0, 1:], fitted.get_latent_representation().mean(0)[1:], rtol=1e-4, atol=1e-5
    )
    with pytest.raises(SettingError, match="from 0 to 2, got 3"):
        fitted.traverse(3, [0])
    for values in ([np.inf], ["a"], []):
        with pytest.raises(SettingError, match="finite"):
            fitted.traverse(0, values)


def test_size_factors_and_layers_come_back_as_the_model_reads_them(counts):
    counts.obs["size"] = np.random.default_rng(0).uniform(0.5, 2, counts.n_obs)
    counts.layers["raw"] = counts.X
    ov.CVAE.setup_anndata(counts, layer="raw", size_factor_key="size")
    model = ov.CVAE(counts, "nb", 2, n_hidden=8)
    model.train(**FAST)
    made = model.generate(20)
    assert made.obs["size"].isin(counts.obs["size"]).all()
    assert np.isfinite(model.get_elbo(made))


def test_a_covariate_keeps_its_name(counts):
    counts.obs["library_size"] = np.log(counts.X.sum(1).A1)
    ov.CVAE.setup_anndata(counts, continuous_covariate_keys=["library_size"])
    model = ov.CVAE(counts, "nb", 2, n_hidden=8)
    model.train(**FAST)
    made = model.generate(20)
    expected = counts.obs.loc[made.obs["source_cell"], "library_size"]
    np.testing.assert_allclose(made.obs["library_size"], expected)
