"""The model's own AnnData changed in place: every public method refuses or computes anew, never answers from before."""

import inspect

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import omicvae as ov
from omicvae._core import DataError, NotSupportedError
from omicvae.data import Identity

from .conftest import FAST, SETUP

KEYS = {**SETUP, "size_factor_key": "size", "layer": "counts"}


def _swap(values):
    values = np.array(values)
    place = int(np.flatnonzero(values != values[0])[0])
    values[[0, place]] = values[[place, 0]]
    return values


def _edit_matrix(adata):
    adata.layers["counts"].data[3] += 1


def _swap_genes_of_matrix(adata):
    adata.layers["counts"] = adata.layers["counts"][:, ::-1].tocsr()


def _swap_cells_of_matrix(adata):
    adata.layers["counts"] = adata.layers["counts"][::-1].tocsr()


def _rename(axis):
    def rename(adata):
        setattr(adata, f"{axis}_names", _swap(getattr(adata, f"{axis}_names").astype(object)))

    return rename


def _column(key):
    def change(adata):
        adata.obs[key] = _swap(adata.obs[key])

    return change


def _drop(key):
    def drop(adata):
        del adata.obs[key]

    return drop


MUTATIONS = {
    "an entry": _edit_matrix,
    "columns of the matrix": _swap_genes_of_matrix,
    "rows of the matrix": _swap_cells_of_matrix,
    "no layer": lambda adata: adata.layers.pop("counts"),
    "obs_names": _rename("obs"),
    "var_names": _rename("var"),
    "cells filtered": lambda adata: adata._inplace_subset_obs(np.arange(adata.n_obs) != 1),
    "cells in another order": lambda adata: adata._inplace_subset_obs(np.arange(adata.n_obs)[::-1]),
    "genes filtered": lambda adata: adata._inplace_subset_var(np.arange(adata.n_vars) != 1),
    **{f"obs[{key}]": _column(key) for key in ("batch", "donor", "age", "size")},
    "no obs[batch]": _drop("batch"),
}
#: public methods that answer from the own cells, and how they are called
CALLS = {
    "get_latent_representation": lambda m: m.get_latent_representation(),
    "get_latent_representation(adata=own)": lambda m: m.get_latent_representation(m.adata),
    "write_latent": lambda m: m.write_latent(),
    "get_elbo": lambda m: m.get_elbo(),
    "get_reconstruction_error": lambda m: m.get_reconstruction_error(),
    "get_marginal_ll": lambda m: m.get_marginal_ll(n_mc_samples=2),
    "get_normalized_expression": lambda m: m.get_normalized_expression(),
    "posterior_predictive_sample": lambda m: m.posterior_predictive_sample(),
    "differential_expression": lambda m: m.differential_expression(groupby="label", silent=True),
    "effects": lambda m: m.effects("batch", groups=m.schema.categorical[0].levels[:2], n_samples=2),
    "get_likelihood_parameters": lambda m: m.get_likelihood_parameters(),
    "predictive_interval": lambda m: m.predictive_interval(level=0.5, n_samples=7),
    "write_expression": lambda m: m.write_expression("/nonexistent/expression.h5ad"),
    "reconstruct": lambda m: m.reconstruct(n_samples=2),
    "generate": lambda m: m.generate(3),
    "interpolate": lambda m: m.interpolate(0, 1),
    "traverse": lambda m: m.traverse(0, [0.0]),
    "counterfactual": lambda m: m.counterfactual(to={"batch": m.schema.categorical[0].levels[0]}, n_samples=2),
    "map_query": lambda m: m.map_query(m.adata.copy()),
    "diagnose": lambda m: m.diagnose(umap=False),
    "diagnosis_inputs": lambda m: m.diagnosis_inputs(),
    "report": lambda m: m.report("/nonexistent/report.html", umap=False),
    "anomaly_score": lambda m: m.anomaly_score(n_replicates=2),
    "impute": lambda m: m.impute(mask=np.eye(120, 30, dtype=bool)),
    "minify_adata": lambda m: m.minify_adata(),
    "train": lambda m: m.train(**FAST),
    "save with the data": lambda m: m.save("/nonexistent/model", save_anndata=True),
    "train_indices": lambda m: m.train_indices,
    "validation_indices": lambda m: m.validation_indices,
}
#: what depends on no cell, or refuses always
WITHOUT_CELLS = {
    "decode",
    "load_query_data",  # of the network alone
    "setup_anndata",
    "load",
    "save",  # of weights and split, which belong to the data whose checksum goes with them
    "register_manager",
    "deregister_manager",
    "get_anndata_manager",
    "get_from_registry",
    "get_setup_arg",
    "get_state_registry",
    "get_var_names",
    "get_normalized_function_name",
    "to_device",
    "transfer_fields",
    "update_setup_method_args",
    "view_anndata_setup",
    "view_setup_method_args",
    "data_registry",
}


@pytest.fixture
def own(counts):
    counts.layers["counts"] = counts.X.copy()
    counts.obs["size"] = np.linspace(0.5, 2, counts.n_obs)
    ov.CVAE.setup_anndata(counts, **KEYS)
    model = ov.CVAE(counts, "nb", 3, n_hidden=16)
    model.train(**FAST)
    return model


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_changed_anndata_is_refused_by_every_method(own, mutation):
    MUTATIONS[mutation](own.adata)
    for name, call in CALLS.items():
        with pytest.raises(DataError, match=r"changed|has no"):
            pytest.fail(f"{name} answered {call(own)!r}")


def test_the_error_names_every_change_and_the_way_out(own):
    _edit_matrix(own.adata)
    _column("donor")(own.adata)
    with pytest.raises(DataError, match=r"layers\['counts'\], adata.obs\['donor'\].*adata=adata.copy\(\)") as error:
        own.get_elbo()
    assert "obs['batch']" not in str(error.value)
    assert own.get_latent_representation(own.adata.copy()).shape == (own.adata.n_obs, 3)


def test_every_public_method_is_called_or_knows_no_cells():
    called = {name.split("(")[0] for name in CALLS}
    offered = {
        name
        for name, value in inspect.getmembers(ov.CVAE)
        if not name.startswith("_") and callable(value) and "Not offered" not in (value.__doc__ or "")
    }
    assert offered - called - WITHOUT_CELLS == set()


def test_what_means_the_same_is_no_change(own):
    adata, before = own.adata, own.get_latent_representation()
    adata.layers["counts"] = sp.csc_array(adata.layers["counts"].astype(np.float64))
    adata.obs["donor"] = pd.Categorical(adata.obs["donor"]).rename_categories(str)
    adata.obs["donor"] = adata.obs["donor"].cat.reorder_categories(adata.obs["donor"].cat.categories[::-1])
    adata.obs["label"] = "another annotation"  # is read when it is used
    adata.obsm["X_other"] = np.zeros((adata.n_obs, 2))
    adata.X = adata.X * 2  # the model reads a layer
    np.testing.assert_array_equal(own.get_latent_representation(), before)
    assert len(own.train_indices) + len(own.validation_indices) == adata.n_obs


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), axis=st.sampled_from(["matrix", "dense", "obs", "obs_names", "var_names"]))
def test_a_random_change_never_goes_unnoticed(own_pair, place, axis):
    model, original = own_pair
    adata = model.state.adata = original.copy()
    if axis == "matrix":
        values = adata.layers["counts"].data
        values[place % len(values)] = -values[place % len(values)]
    elif axis == "dense":
        adata.layers["counts"] = adata.layers["counts"].toarray()
        assert len(model.get_latent_representation()) == adata.n_obs
        adata.layers["counts"].flat[place % adata.layers["counts"].size] += 1
    elif axis == "obs":
        key = ("batch", "donor", "age", "size")[place % 4]
        values = np.array(adata.obs[key])
        other = np.flatnonzero(values != values[place % len(values)])[0]
        values[place % len(values)] = values[other]
        adata.obs[key] = values
    else:
        names = np.array(getattr(adata, axis), dtype=object)
        names[place % len(names)] += "x"
        setattr(adata, axis, names)
    with pytest.raises(DataError, match="has changed"):
        model.get_latent_representation()


@pytest.fixture
def own_pair(own):
    return own, own.adata.copy()


def test_another_anndata_cannot_take_the_place_of_the_own_one(own):
    with pytest.raises(NotSupportedError, match=r"CVAE.load\(path, adata=adata\)"):
        own.adata = own.adata.copy()


def test_levels_that_mean_the_same_number_are_told_apart():
    adata = ov.datasets.simulate_counts(40, 20, n_types=2, seed=0)
    adata.obs["lot"] = ["1.1", "1.10"] * 20
    ov.CVAE.setup_anndata(adata, batch_key="lot")
    model = ov.CVAE(adata)
    model.train(1, progress_bar=False, objective={"schedule": "constant"})
    adata.obs["lot"] = ["1.10", "1.1"] * 20
    with pytest.raises(DataError, match="lot"):
        model.get_latent_representation()


def test_construction_reads_the_matrix_once(counts, monkeypatch):
    from omicvae.data import identity

    ov.CVAE.setup_anndata(counts, batch_key="batch")
    taken, fingerprint = [], identity.fingerprint
    monkeypatch.setattr(identity, "fingerprint", lambda *given: (taken.append(1), fingerprint(*given))[1])
    ov.CVAE(counts, "nb", 2)
    assert len(taken) == 1


def test_a_call_looks_at_the_data_once_or_twice(own, monkeypatch, tmp_path):
    looks, require = [], Identity.require
    monkeypatch.setattr(Identity, "require", lambda *given: (looks.append(1), require(*given))[1])
    model, adata = own, own.adata
    first, second = adata.obs["batch"].astype(str).unique()[:2]
    for call in (
        lambda: model.differential_expression(groupby="batch", group1=first, group2=second),
        lambda: model.diagnose(umap=False),
        lambda: model.get_elbo(),
        lambda: model.train(**FAST),
        lambda: ov.rescue(model, max_attempts=1, **FAST),
        lambda: model.train(**FAST, rescue={"max_attempts": 1}),
        lambda: model.report(tmp_path / "report.html", umap=False),
        lambda: model.get_normalized_expression(credible_interval=0.5, n_samples=7),
        lambda: model.predictive_interval(level=0.5, n_samples=7),
        lambda: model.generate(3, source="aggregate"),
        lambda: model.interpolate(0, 1),
        lambda: model.traverse(0, [0.0], 0),
        lambda: model.anomaly_score(n_replicates=2, n_samples=1),
        lambda: model.reconstruct(n_samples=2),
        lambda: model.counterfactual(to={"batch": first}, n_samples=2),
        lambda: model.effects("batch", groups=(first, second), n_samples=2),
        lambda: model.write_expression(tmp_path / "expression.h5ad", n_samples=2),
        lambda: ov.stability(model, 2),
    ):
        looks.clear()
        call()
        assert 1 <= len(looks) <= 2
    adata.layers["counts"].data[0] += 1
    with pytest.raises(DataError, match="has changed"):  # the next call looks again
        model.get_elbo()
