import numpy as np
import pytest

import omicvae as ov
from omicvae._core import SettingError

from .conftest import FAST, SETUP, STEPS

DATA = {
    "nb": lambda x: x,
    "zinb": lambda x: x,
    "poisson": lambda x: x,
    "gaussian": lambda x: x * 0.7 - 3,
    "bernoulli": lambda x: (x > 3).astype(np.float32),
}


def model_of(counts, likelihood, **settings):
    adata = counts.copy()
    adata.X = DATA[likelihood](counts.X.toarray())
    ov.CVAE.setup_anndata(adata, **SETUP)
    return ov.CVAE(adata, likelihood, 3, n_hidden=16, **settings)


@pytest.mark.parametrize("likelihood", DATA)
def test_every_likelihood_trains_and_answers_every_method(counts, likelihood):
    model = model_of(counts, likelihood)
    model.train(**{**STEPS, "max_epochs": 10})
    assert model.history["elbo_validation"].iloc[-1] > model.history["elbo_validation"].iloc[0]
    assert model.get_latent_representation().shape == (120, 3)
    assert np.isfinite(model.get_normalized_expression(return_numpy=True)).all()
    assert model.posterior_predictive_sample(n_samples=2, indices=range(5)).shape == (5, 30, 2)
    assert model.get_marginal_ll(n_mc_samples=50) > model.get_elbo()
    checks = model.diagnose(umap=False).evidence.set_index("check")["value"]
    assert checks["rate (KL)"] > 0
    assert np.isfinite(checks["gain over null"])


@pytest.mark.parametrize(
    ("likelihood", "dispersion"),
    [
        ("nb", "gene-batch"),
        ("nb", "gene-cell"),
        ("zinb", "gene-batch"),
        ("zinb", "gene-cell"),
        ("gaussian", "fixed"),
        ("gaussian", "gene-cell"),
    ],
)
def test_dispersions(counts, likelihood, dispersion):
    model = model_of(counts, likelihood, dispersion=dispersion)
    model.train(**FAST)
    assert np.isfinite(model.get_elbo())


def test_gaussian_data_units_in_and_out(counts):
    model = model_of(counts, "gaussian")
    model.train(**{**STEPS, "max_epochs": 25})
    x = model.adata.X
    predicted = model.get_normalized_expression(return_numpy=True)
    np.testing.assert_allclose(predicted.mean(0), x.mean(0), atol=1.0)
    scaled = counts.copy()
    scaled.X = x * 10
    ov.CVAE.setup_anndata(scaled, **SETUP)
    other = ov.CVAE(scaled, "gaussian", 3, n_hidden=16)
    other.train(**{**STEPS, "max_epochs": 25})
    # a density per unit shrinks tenfold for each of the 30 genes
    assert other.get_elbo() == pytest.approx(model.get_elbo() - 30 * np.log(10), abs=0.5)


def test_constant_genes_are_named_and_left_out(counts, caplog):
    x = counts.X.toarray()
    x[:, 4] = 2.5
    counts.X = x
    model = ov.CVAE(counts, "gaussian", 2, n_hidden=8)
    model.train(**FAST)
    assert "gene4" in caplog.text
    assert np.isfinite(model.get_elbo())


@pytest.mark.parametrize(
    "settings",
    [
        {"covariate_encoding": "embedding"},
        {"encode_covariates": False},
        {"decode_covariates": False},
        {"n_layers": 2},
        {"n_layers": 2, "deeply_inject_covariates": False},
        {"normalization": "layer"},
        {"normalization": "none", "activation": "silu"},
    ],
)
def test_covariate_and_network_choices(counts, settings):
    model = model_of(counts, "nb", **settings)
    model.train(**FAST)
    assert np.isfinite(model.get_elbo())


def test_switches_decide_where_covariates_enter(counts):
    other = counts.copy()
    other.obs["batch"] = other.obs["batch"].cat.rename_categories({"b1": "b2", "b2": "b1"})
    encoder_off = model_of(counts, "nb", encode_covariates=False)
    encoder_off.train(**FAST)
    np.testing.assert_array_equal(encoder_off.get_latent_representation(other), encoder_off.get_latent_representation())
    assert encoder_off.get_elbo(other) != encoder_off.get_elbo()
    decoder_off = model_of(counts, "nb", decode_covariates=False)
    decoder_off.train(**FAST)
    assert not np.array_equal(decoder_off.get_latent_representation(other), decoder_off.get_latent_representation())


def test_size_factors_replace_the_library(counts):
    rng = np.random.default_rng(0)
    counts.obs["size"] = rng.uniform(0.5, 2, counts.n_obs)
    ov.CVAE.setup_anndata(counts, size_factor_key="size")
    model = ov.CVAE(counts, "nb", 2, n_hidden=16)
    model.train(**{**STEPS, "max_epochs": 15})
    rate = model.get_normalized_expression(return_numpy=True).mean(0)
    x, s = counts.X.toarray(), counts.obs["size"].to_numpy()
    np.testing.assert_allclose(rate, x.sum(0) / s.sum(), rtol=0.5, atol=0.5)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_size_factors_are_for_counts(counts, likelihood):
    counts.X = DATA[likelihood](counts.X.toarray())
    counts.obs["size"] = 1.0
    ov.CVAE.setup_anndata(counts, size_factor_key="size")
    with pytest.raises(SettingError, match="without size_factor_key"):
        ov.CVAE(counts, likelihood)


def test_expression_of_counts_is_a_share_of_the_library(fitted, counts):
    table = fitted.get_normalized_expression()
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-4)
    assert list(table.columns) == list(counts.var_names)
    assert list(table.index) == list(counts.obs_names)
    scaled = fitted.get_normalized_expression(library_size=1e4, gene_list=["gene3", "gene1"])
    np.testing.assert_allclose(scaled, table[["gene1", "gene3"]] * 1e4, rtol=1e-5)


def test_transform_batch_by_level_name(fitted):
    as_b1 = fitted.get_normalized_expression(transform_batch="b1", return_numpy=True)
    as_b2 = fitted.get_normalized_expression(transform_batch="b2", return_numpy=True)
    both = fitted.get_normalized_expression(transform_batch=["b1", "b2"], return_numpy=True)
    assert not np.allclose(as_b1, as_b2)
    np.testing.assert_allclose(both, (as_b1 + as_b2) / 2, rtol=1e-5)


@pytest.mark.parametrize("level", [np.int64(1), 1, 1.0, "1"])
def test_transform_batch_takes_levels_in_any_type(counts, level):
    counts.obs["batch"] = (counts.obs["batch"] == "b2").astype(int)
    ov.CVAE.setup_anndata(counts, batch_key="batch")
    model = ov.CVAE(counts, "nb", 2, n_hidden=8)
    model.train(**FAST)
    expected = model.get_normalized_expression(transform_batch=[1], return_numpy=True)
    np.testing.assert_array_equal(model.get_normalized_expression(transform_batch=level, return_numpy=True), expected)
    with pytest.raises(SettingError, match=r"known levels of 'batch' are \(0, 1\)"):
        model.get_normalized_expression(transform_batch=7)


def test_expression_draws_have_the_shapes_of_scvi_tools(fitted):
    assert fitted.get_normalized_expression(n_samples=3, return_mean=False).shape == (3, 120, 30)
    assert fitted.get_normalized_expression(n_samples_overall=50, indices=range(10)).shape == (50, 30)
