"""CVAE as a scvi-tools model, in scanpy pipelines, and what it refuses."""

import dataclasses
import inspect
import json

import numpy as np
import pytest
from scvi.model.base import ArchesMixin, BaseModelClass, RNASeqMixin, VAEMixin

import omicvae as ov
from omicvae._core import NotSupportedError, SettingError
from omicvae.model.host import REASONS
from omicvae.model.state import HasState
from omicvae.module import Architecture
from omicvae.training import RunSettings

from .conftest import FAST


def test_it_is_a_scvi_tools_model(fitted):
    assert isinstance(fitted, BaseModelClass)
    assert fitted.is_trained
    assert fitted.adata_manager.get_from_registry("X").shape == (120, 30)
    assert fitted.summary_stats["n_batch"] == 2


@pytest.mark.parametrize("name", REASONS)
def test_methods_that_would_be_wrong_refuse_and_say_what_to_use(fitted, name):
    with pytest.raises(NotSupportedError, match=name):
        getattr(fitted, name)()


def test_no_public_method_of_the_mixins_is_inherited_unseen():
    for mixin in (VAEMixin, RNASeqMixin, ArchesMixin):
        for name, _ in inspect.getmembers(mixin, callable):
            if not name.startswith("_"):
                owner = next(c for c in ov.CVAE.__mro__ if name in c.__dict__)
                assert owner.__module__.startswith("omicvae"), f"{name} is scvi-tools' own"


def test_differential_expression_finds_the_marker_and_refuses_other_data(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.poisson(5, (300, 20)).astype(np.float32)
    group = np.arange(300) % 2
    x[group == 1, 3] += 25
    import anndata as ad
    import pandas as pd

    adata = ad.AnnData(x, obs=pd.DataFrame({"g": pd.Categorical(group.astype(str))}, index=map(str, range(300))))
    adata.var_names = [f"g{i}" for i in range(20)]
    model = ov.CVAE(adata, "nb", 2)
    model.train(max_epochs=100, progress_bar=False)
    table = model.differential_expression(groupby="g", group1="1", mode="change", silent=True)
    assert table["lfc_mean"].idxmax() == "g3"
    model.save(tmp_path / "m")
    reordered = ov.CVAE.load(tmp_path / "m", adata=adata[:, ::-1].copy())
    with pytest.raises(NotSupportedError, match="in its order"):
        reordered.differential_expression(groupby="g")
    gaussian = ov.CVAE(adata, "gaussian", 2, n_hidden=8)
    gaussian.train(**FAST)
    with pytest.raises(NotSupportedError, match="get_normalized_expression"):
        gaussian.differential_expression(groupby="g")


def test_criticism_takes_the_model(fitted, counts):
    from scvi.criticism import PosteriorPredictiveCheck

    counts.X = counts.X.toarray()  # its own check fails on sparse float counts
    check = PosteriorPredictiveCheck(counts, {"omicvae": fitted}, n_samples=2)
    check.coefficient_of_variation()
    assert len(check.metrics)


def test_latents_are_written_with_provenance_and_survive_a_file(fitted, counts, tmp_path):
    import anndata as ad

    fitted.write_latent()
    counts.write_h5ad(tmp_path / "a.h5ad")
    stored = ad.read_h5ad(tmp_path / "a.h5ad")
    mean, variance = fitted.get_latent_representation(return_dist=True)
    np.testing.assert_array_equal(stored.obsm["X_omicvae"], mean)
    np.testing.assert_allclose(stored.obsm["X_omicvae_sd"] ** 2, variance, rtol=1e-5)
    provenance = json.loads(stored.uns["omicvae"]["X_omicvae"])
    assert provenance["model"]["likelihood"] == "nb"
    assert provenance["epochs"] == 6
    assert ov.CVAE(stored, "nb").schema.keys.batch_key == "batch"  # the set-up survives as well


def test_scanpy_neighbours_take_the_latent(fitted, counts):
    import scanpy as sc

    fitted.write_latent()
    sc.pp.neighbors(counts, use_rep="X_omicvae", n_neighbors=5)
    assert counts.obsp["connectivities"].shape == (120, 120)


def test_tl_does_everything_in_one_call(counts):
    model = ov.tl.cvae(counts, "nb", 3, batch_key="batch", labels_key="label", train_arguments=FAST, umap=False)
    assert counts.obsm["X_omicvae"].shape == (120, 3)
    assert json.loads(counts.uns["omicvae"]["diagnosis"])["verdict"] == model.diagnosis.verdict


def test_tl_keeps_an_earlier_set_up(counts):
    ov.CVAE.setup_anndata(counts, batch_key="batch")
    assert ov.tl.cvae(counts, "nb", 2, train_arguments=FAST, umap=False).schema.keys.batch_key == "batch"


def test_names_that_omicvae_uses_are_no_keys(fitted):
    with pytest.raises(SettingError, match="choose another"):
        fitted.write_latent(key="setup")


def test_draws_spread_as_the_posterior_says(fitted):
    mean, variance = fitted.get_latent_representation(return_dist=True)
    draws = np.stack([fitted.get_latent_representation(give_mean=False, seed=s) for s in range(200)])
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.5)
    assert abs((draws.std(0) / np.sqrt(variance)).mean() - 1) < 0.02


def test_an_untrained_model_says_what_is_missing(counts):
    with pytest.raises(NotSupportedError, match=r"call train\(\) first"):
        ov.CVAE(counts, "nb").get_latent_representation()


def test_the_parts_of_the_model_stand_side_by_side():
    parts = [base for base in ov.CVAE.__bases__ if base.__module__.startswith("omicvae")]
    assert set(vars(ov.CVAE)).isdisjoint({"train", "diagnose", "save", "get_elbo"})
    for part in parts:
        assert [c for c in part.__mro__ if c.__module__.startswith("omicvae")] in ([part], [part, HasState])
        others = {name for other in parts if other is not part for name in vars(other) if not name.startswith("__")}
        assert not others & set(vars(part)), f"{part.__name__} has names of another part"


@pytest.mark.parametrize(("function", "settings"), [(ov.CVAE.train, RunSettings), (ov.CVAE.__init__, Architecture)])
def test_a_signature_shows_the_settings_with_their_defaults(function, settings):
    shown = inspect.signature(function).parameters
    for setting in dataclasses.fields(settings):
        given = shown[setting.name].default
        # the default of the dropout rate depends on the number of cells
        assert given == setting.default or (setting.name, given) == ("dropout_rate", None), setting.name


def test_a_model_that_takes_over_the_state_of_another_is_that_other(fitted, counts):
    other = ov.CVAE(counts, "nb", 2, n_hidden=8)
    assert other.train_indices is None
    assert other.objective == {}
    other.state = fitted.state
    np.testing.assert_array_equal(other.get_latent_representation(), fitted.get_latent_representation())
    assert repr(other) == repr(fitted)
    assert other.objective == fitted.objective != {}
