"""Every public method on every kind of model: its own data there, on another machine, minified, or mapped cells."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import omicvae as ov

from .conftest import FAST
from .forms import FORMS

QUICK = {**FAST, "max_epochs": 2}
LATENT = 3


def _first(model):
    """The first level or the mean of every covariate."""
    levels = {part.key: part.levels[0] for part in model.schema.categorical}
    return levels | {scaling.key: scaling.mean for scaling in model.schema.continuous}


def _last(model):
    """The last level of the batch, a new one of mapped cells."""
    return model.schema.categorical[0].levels[-1]


def _pair(model):
    return model.schema.categorical[0].levels[:2]


def _library(model):
    return 5.0 if model.module.likelihood.support == "counts" else None


#: what the network and covariates say; all there is of a model without cells
OF_THE_NETWORK = {
    "decode": lambda m: m.decode(np.zeros((2, LATENT)), {**_first(m), "batch": _last(m)}, _library(m)),
    "generate": lambda m: m.generate(3, {**_first(m), "batch": _last(m)}, library_size=_library(m)),
    "traverse": lambda m: m.traverse(0, [-1, 1], np.zeros(LATENT), covariates=_first(m)),
}
#: what the posterior of the own cells says
OF_LATENTS = {
    "generate, aggregate": lambda m: m.generate(3, source="aggregate"),
    "generate, cells": lambda m: m.generate(3, {"batch": _last(m)}, [1, 2]),
    "interpolate": lambda m: m.interpolate(0, 1, 3),
    "traverse, a cell": lambda m: m.traverse(0, [-1, 1], 0),
    "train_indices": lambda m: m.train_indices,
}
#: the same of the own cells (None) or of others
OF_ANY_LATENTS = {
    "get_latent_representation": lambda m, a: m.get_latent_representation(a, give_mean=False),
    "write_latent": lambda m, a: m.write_latent("X_new", a),
    "get_normalized_expression": lambda m, a: m.get_normalized_expression(a, transform={"batch": _last(m)}),
    "an interval": lambda m, a: m.get_normalized_expression(a, credible_interval=0.5, n_samples=7)["upper"],
    "get_likelihood_parameters": lambda m, a: m.get_likelihood_parameters(a, n_samples=2)["mean"],
    "predictive_interval": lambda m, a: m.predictive_interval(a, level=0.5, n_samples=7)["upper"],
    "posterior_predictive_sample": lambda m, a: m.posterior_predictive_sample(a).todense(),
}
#: what reads data
OF_ANY_DATA = {
    "get_elbo": lambda m, a: m.get_elbo(a, return_mean=False),
    "get_reconstruction_error": lambda m, a: m.get_reconstruction_error(a)["reconstruction_loss"],
    "get_marginal_ll": lambda m, a: m.get_marginal_ll(a, n_mc_samples=2, return_mean=False),
    "write_expression": lambda m, a: m.write_expression(m.path / "e.h5ad", a, n_samples=2, overwrite=True),
    "reconstruct": lambda m, a: m.reconstruct(a, n_samples=2).predicted_NG,
    "counterfactual": lambda m, a: m.counterfactual(a, to={"batch": _first(m)["batch"]}, n_samples=2),
    "effects": lambda m, a: m.effects("batch", groups=_pair(m), adata=a, n_samples=2).to_frame()[["effect"]],
    "anomaly_score": lambda m, a: m.anomaly_score(a, n_replicates=2, n_samples=1),
    "impute": lambda m, a: m.impute(a, _mask(m, a), n_samples=2)[["mean", "sd"]],
}


def _mask(model, adata):
    n = model.schema.n_cells if adata is None else adata.n_obs
    return np.eye(n, model.schema.n_genes, dtype=bool)


def _numbers(answer):
    """The numbers of an answer, as far as it is made of them."""
    answer = answer.X if isinstance(answer, AnnData) else answer
    answer = answer.toarray() if sp.issparse(answer) else answer
    answer = answer.to_numpy() if isinstance(answer, pd.DataFrame) else answer
    return answer if isinstance(answer, np.ndarray) else np.zeros(0)


def _holds(calls, *given, refused=None):
    """Every call gives finite numbers, or every one is refused."""
    for name, call in calls.items():
        if refused is None:
            assert np.isfinite(_numbers(call(*given)).astype(float)).all(), name
        else:
            with pytest.raises(ov.errors.NotSupportedError, match=refused):
                pytest.fail(f"{name} answered {call(*given)!r}")


@pytest.fixture(scope="module", params=FORMS)
def fit(request, tmp_path_factory):
    """A trained model, and the folder in which it is saved."""
    _, model = FORMS[request.param]()
    model.train(**QUICK)
    folder = tmp_path_factory.mktemp("saved")
    model.save(folder)
    return model, folder


def _mapped(reference):
    query = reference.adata[:100].copy()
    query.obs["batch"] = query.obs["batch"].astype(str)
    query.obs.iloc[:50, query.obs.columns.get_loc("batch")] = "new"
    return ov.CVAE.load_query_data(query, reference)


def test_a_model_without_data(fit, tmp_path):
    (whole, folder), cells = fit, fit[0].adata[:60].copy()
    model = ov.CVAE.load(folder)
    model.path = tmp_path
    _holds(OF_THE_NETWORK, model)
    _holds(OF_ANY_LATENTS | OF_ANY_DATA, model, cells)
    own = OF_ANY_LATENTS | {name: call for name, call in OF_ANY_DATA.items() if name != "counterfactual"}
    _holds(own, model, None, refused="without data")
    _holds({name: call for name, call in OF_LATENTS.items() if name != "train_indices"}, model, refused="without data")
    before = whole.get_latent_representation(cells)
    np.testing.assert_array_equal(model.get_latent_representation(cells), before)


def test_a_minified_model(fit, tmp_path):
    whole, folder = fit
    model = ov.CVAE.load(folder, adata=whole.adata.copy())
    model.minify_adata()
    model.path = whole.path = tmp_path
    _holds(OF_THE_NETWORK | OF_LATENTS, model)
    _holds(OF_ANY_LATENTS, model, None)
    _holds(OF_ANY_DATA, model, None, refused="minified")
    _holds(OF_ANY_LATENTS | OF_ANY_DATA, model, whole.adata[:60].copy())
    # its cells as others of the model that made them
    _holds(OF_ANY_LATENTS, whole, model.adata)
    _holds(OF_ANY_DATA, whole, model.adata, refused="minified")
    with pytest.raises(ov.errors.NotSupportedError, match="minified"):
        ov.CVAE.load_query_data(model.adata.copy(), whole)
    for ask in OF_LATENTS:
        np.testing.assert_allclose(
            _numbers(OF_LATENTS[ask](model)).astype(float), _numbers(OF_LATENTS[ask](whole)), rtol=1e-3, atol=1e-3
        )
    if model.module.likelihood.support == "counts":
        first, last = map(str, whole.schema.categorical[0].levels[:2])
        asked = {"groupby": "batch", "group1": first, "group2": last, "silent": True}
        assert len(model.differential_expression(whole.adata.copy(), **asked)) == whole.schema.n_genes


def test_a_model_of_mapped_cells(fit, tmp_path):
    whole, cells = fit[0], fit[0].adata[:60].copy()
    model = _mapped(whole)
    if whole.config.architecture.encode_covariates:
        model.train(**QUICK)
    assert _last(model) == "new"
    model.path = tmp_path
    _holds(OF_THE_NETWORK | OF_LATENTS, model)
    for other in (None, cells):
        _holds(OF_ANY_LATENTS | OF_ANY_DATA, model, other)
    np.testing.assert_array_equal(model.get_latent_representation(cells), whole.get_latent_representation(cells))
    before = model.get_latent_representation()
    model.minify_adata()
    model.save(tmp_path / "small", save_anndata=True)
    loaded = ov.CVAE.load(tmp_path / "small")
    loaded.path = tmp_path
    np.testing.assert_array_equal(loaded.get_latent_representation(), before)
    _holds(OF_THE_NETWORK | OF_LATENTS, loaded)
    _holds(OF_ANY_DATA, loaded, None, refused="minified")


def test_the_public_surface_has_nothing_of_the_workshop(fit):
    documented = {"adata", "state", "attempts"}
    own = {name for name in vars(fit[0]) if not name.startswith("_") and not name.endswith("_")}
    assert own - documented - {"path", "id", "summary_stats"} == set()  # the last two are scvi-tools'
