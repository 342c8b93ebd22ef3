"""What a model holds is free once the model and its AnnData are gone."""

import gc
import weakref

import pytest

import omicvae as ov

from .conftest import FAST, SETUP


def _refused(model):
    with pytest.raises(ov.errors.NotSupportedError):
        model.get_elbo()


USES = {
    "made": lambda m: None,
    "trained": lambda m: m.train(**FAST),
    "trained with a rescue": lambda m: m.train(**FAST, rescue={"max_attempts": 1}),
    "diagnosed": lambda m: (m.train(**FAST), m.diagnose(umap=False)),
    "asked for expression": lambda m: (
        m.train(**FAST),
        m.get_normalized_expression(),
        m.get_marginal_ll(n_mc_samples=2),
    ),
    "tested for differences": lambda m: (m.train(**FAST), m.differential_expression(groupby="label", silent=True)),
    "failed": lambda m: _refused(m),
}


@pytest.mark.parametrize("use", USES)
def test_nothing_stays_behind(counts, use):
    adata = counts.copy()
    ov.CVAE.setup_anndata(adata, **SETUP)
    model = ov.CVAE(adata, "nb", 3, n_hidden=16)
    USES[use](model)
    left = {
        name: weakref.ref(thing)
        for name, thing in {
            "AnnData": adata,
            "model": model,
            "network": model.module,
            "matrix": adata.X,
            "codes": model.state.store.codes_ND,
        }.items()
    }
    del adata, model
    gc.collect()
    assert {name for name, thing in left.items() if thing() is not None} == set()


def test_the_data_are_free_though_another_model_of_other_data_lives(fitted, counts):
    adata = counts[:60].copy()
    held = weakref.ref(adata)
    ov.CVAE(adata, "nb", 2, n_hidden=8)
    del adata
    gc.collect()
    assert held() is None
    assert fitted.adata_manager.adata is fitted.adata


def test_of_two_models_of_the_same_data_either_may_go_first(counts):
    for last in (False, True):
        first, second = (ov.CVAE(counts, "nb", 2, n_hidden=8) for _ in range(2))
        kept = second if last else first
        del first, second
        gc.collect()
        assert kept.get_anndata_manager(counts, required=True).adata is counts


def test_a_loaded_model_frees_its_data(fitted, counts, tmp_path):
    fitted.save(tmp_path, save_anndata=True)
    loaded = ov.CVAE.load(tmp_path)
    loaded.get_elbo()
    held = weakref.ref(loaded.adata)
    del loaded
    gc.collect()
    assert held() is None
