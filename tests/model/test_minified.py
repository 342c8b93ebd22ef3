"""Minified cells: what needs the latent alone answers as before, what reads data refuses."""

import gc
import weakref

import anndata as ad
import numpy as np
import pytest
from scvi.model.base import BaseMinifiedModeModelClass

import omicvae as ov

from .conftest import FAST
from .forms import FORMS, simulated

ANSWERS = {
    "get_latent_representation": lambda m, a: m.get_latent_representation(a),
    "a draw": lambda m, a: m.get_latent_representation(a, give_mean=False),
    "mean and variance": lambda m, a: np.stack(m.get_latent_representation(a, return_dist=True)),
    "get_normalized_expression": lambda m, a: m.get_normalized_expression(a, n_samples=2),
    "in another batch": lambda m, a: m.get_normalized_expression(a, [4, 2], m.schema.categorical[0].levels[1]),
    "posterior_predictive_sample": lambda m, a: m.posterior_predictive_sample(a, n_samples=2).todense(),
}
REFUSALS = {
    "get_elbo": lambda m: m.get_elbo(),
    "get_reconstruction_error": lambda m: m.get_reconstruction_error(),
    "get_marginal_ll": lambda m: m.get_marginal_ll(n_mc_samples=2),
    "train": lambda m: m.train(**FAST),
    "diagnose": lambda m: m.diagnose(umap=False),
    "report": lambda m: m.report("/nonexistent/report.html", umap=False),
    "rescue": lambda m: ov.rescue(m),
    "anomaly_score": lambda m: m.anomaly_score(n_replicates=2),
    "impute": lambda m: m.impute(mask=np.ones(m.adata.shape, dtype=bool)),
    "minify_adata": lambda m: m.minify_adata(),
    "differential_expression": lambda m: m.differential_expression(groupby="cell_type"),
    "a new model": lambda m: ov.CVAE(m.adata),
    "set-up": lambda m: ov.CVAE.setup_anndata(m.adata),
    "stability": lambda m: ov.stability(m, 2),
}


@pytest.mark.parametrize("form", FORMS)
def test_latents_expression_and_samples_are_as_before(form, tmp_path):
    adata, model = FORMS[form]()
    model.train(**FAST)
    before = {name: np.asarray(ask(model, None)) for name, ask in ANSWERS.items()}
    model.minify_adata()
    model.save(tmp_path, save_anndata=True)
    loaded = ov.CVAE.load(tmp_path)
    for name, ask in ANSWERS.items():
        for now in (ask(model, None), ask(loaded, None), ask(loaded, model.adata)):
            np.testing.assert_allclose(np.asarray(now), before[name], rtol=2e-3, atol=2e-3, err_msg=name)
    assert loaded.minified_data_type == "latent_posterior_parameters"
    np.testing.assert_array_equal(loaded.validation_indices, model.validation_indices)
    assert adata.X.sum() > 0  # left alone


@pytest.fixture
def minified():
    _, model = FORMS["nb"]()
    model.train(**FAST)
    model.minify_adata()
    return model


@pytest.mark.parametrize("name", REFUSALS)
def test_what_reads_data_refuses(minified, name):
    with pytest.raises(ov.errors.NotSupportedError, match="minified"):
        REFUSALS[name](minified)


def test_it_is_in_scvi_tools_form(minified):
    assert isinstance(minified, BaseMinifiedModeModelClass)
    assert minified.adata.X.nnz == 0
    assert minified.adata.uns["_scvi_adata_minify_type"] == minified.minified_data_type
    assert {"X_latent_qzm", "X_latent_qzv"} <= set(minified.adata.obsm)
    assert (minified.adata.obs["observed_lib_size"] > 1).all()
    with pytest.raises(ov.errors.SettingError, match="latent_posterior_parameters"):
        minified.minify_adata("latent_posterior_parameters_with_counts")


def test_the_data_are_free():
    adata, model = FORMS["nb"]()
    model.train(**FAST)
    left = [weakref.ref(thing) for thing in (adata, adata.X, model.state.store.indptr)]
    model.minify_adata()
    del adata
    gc.collect()
    assert [thing() for thing in left] == [None] * 3
    assert model.get_latent_representation().shape == (150, 3)


def test_latents_belong_to_the_weights_that_made_them(minified, tmp_path):
    adata, other = FORMS["nb"]()
    other.train(**{**FAST, "max_epochs": 7})
    with pytest.raises(ov.errors.DataError, match="not of this model"):
        other.get_latent_representation(minified.adata)
    minified.adata.write_h5ad(tmp_path / "small.h5ad")
    minified.save(tmp_path / "m")
    loaded = ov.CVAE.load(tmp_path / "m", adata=ad.read_h5ad(tmp_path / "small.h5ad"))
    np.testing.assert_array_equal(loaded.get_latent_representation(), minified.get_latent_representation())
    np.testing.assert_allclose(
        loaded.get_latent_representation(adata), minified.get_latent_representation(), rtol=1e-4, atol=1e-4
    )
    assert np.isfinite(loaded.get_elbo(adata))


@pytest.mark.parametrize("place", ["X_latent_qzm", "X_latent_qzv", "observed_lib_size"])
def test_a_changed_latent_is_seen(minified, place):
    values = minified.adata.obs if place in minified.adata.obs else minified.adata.obsm
    values[place] = values[place] * 2
    with pytest.raises(ov.errors.DataError, match=place):
        minified.get_latent_representation()


def test_cells_in_another_order_are_not_those_of_the_fit(tmp_path):
    adata = simulated("nb")
    model = ov.CVAE(adata, "nb", 3, n_hidden=16)  # without covariates, which would tell
    model.train(**FAST)
    model.minify_adata()
    model.save(tmp_path)
    assert ov.CVAE.load(tmp_path, adata=model.adata.copy()).validation_indices is not None
    assert ov.CVAE.load(tmp_path, adata=model.adata[::-1].copy()).validation_indices is None


def test_the_full_data_bring_back_what_needs_them(tmp_path):
    adata, model = FORMS["nb"]()
    model.train(**FAST)
    split, elbo = model.validation_indices, model.get_elbo()
    model.minify_adata()
    for _ in range(2):  # a minified model saved, loaded and saved
        model.save(tmp_path, save_anndata=True, overwrite=True)
        model = ov.CVAE.load(tmp_path)
    full = ov.CVAE.load(tmp_path, adata=adata)
    np.testing.assert_array_equal(full.validation_indices, split)
    assert full.get_elbo() == pytest.approx(elbo)
    assert full.diagnose(umap=False).verdict
    other = adata.copy()
    other.X[0, 0] += 1
    assert ov.CVAE.load(tmp_path, adata=other).validation_indices is None


def test_work_is_not_begun_on_minified_cells(minified, monkeypatch):
    adata = FORMS["nb"]()[0]
    adata.obs["batch"] = "new"
    for name in ("contrast", "CellPasses"):
        monkeypatch.setattr(f"omicvae.model.counterfactual.{name}", None)
    monkeypatch.setattr(ov.CVAE, "train", None)
    level = minified.schema.categorical[0].levels[0]
    for ask in (lambda: minified.counterfactual(to={"batch": level}), lambda: minified.map_query(adata)):
        with pytest.raises(ov.errors.NotSupportedError, match="minified"):
            ask()


def test_a_changed_covariate_is_seen(minified):
    minified.adata.obs["age"] += 1
    with pytest.raises(ov.errors.DataError, match="age"):
        minified.get_latent_representation()
