"""Surgery: what a model says of a reference's levels stays the same to the last bit, and only new weights are trained."""

import numpy as np
import pandas as pd
import pytest
import torch

from omicvae import CVAE
from omicvae._core import DataError, NotSupportedError

LIKELIHOODS = [
    ("nb", "gene"),
    ("nb", "gene-batch"),
    ("nb", "gene-cell"),
    ("zinb", "gene-batch"),
    ("poisson", None),
    ("gaussian", "gene"),
    ("gaussian", "gene-cell"),
    ("gaussian", "fixed"),
    ("bernoulli", None),
    ("student_t", None),
]


def as_support(adata, likelihood):
    """The counts in the form that a likelihood takes."""
    adata = adata.copy()
    if likelihood in ("gaussian", "student_t"):
        adata.X = adata.X.toarray() - 3.5
    elif likelihood == "bernoulli":
        adata.X = (adata.X.toarray() > 3).astype(np.float32)
    return adata


def query_of(adata, **levels):
    """Cells with other genes' order, and levels of which ``b0`` and ``a`` come before those of the reference."""
    query = adata[::2, ::-1].copy()
    query.obs = query.obs.astype({"batch": object, "donor": object})
    for key, values in levels.items():
        query.obs[key] = np.resize(values, query.n_obs)
    return query


def outputs(model, adata):
    """All that a model says of cells: posterior, bounds, likelihood's own draws, decoded expression, prior."""
    mean, variance = model.get_latent_representation(adata, return_dist=True)
    passes = model.state.passes("test", adata, None)
    prior = passes.prior_moments()
    sample = model.posterior_predictive_sample(adata, seed=1).todense()
    expression = model.get_normalized_expression(adata, return_numpy=True)
    return [mean, variance, *prior, model.get_elbo(adata, return_mean=False), expression, sample]


def check_identical(before, after):
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def fitted(counts, setup=None, **settings):
    reference = counts.copy()
    keys = {
        "batch_key": "batch",
        "categorical_covariate_keys": ["donor"],
        "continuous_covariate_keys": ["age"],
    } | (setup or {})
    CVAE.setup_anndata(reference, **keys)
    model = CVAE(reference, **{"n_latent": 4, "n_hidden": 16, **settings})
    model.train(3, progress_bar=False)
    return model


def trained_by_surgery(model, reference, query, **training):
    """Map ``query``, hold that the reference's outputs stay, and return the mapped model."""
    before, weights = outputs(model, reference), {k: v.clone() for k, v in model.module.state_dict().items()}
    mapped = CVAE.load_query_data(query, model)
    check_identical(before, outputs(mapped, reference))
    start = mapped.get_latent_representation()
    mapped.train(3, progress_bar=False, **training)
    check_identical(before, outputs(mapped, reference))
    check_identical(before, outputs(model, reference))
    for name, value in weights.items():
        assert torch.equal(value, mapped.module.state_dict()[name]), name
        assert torch.equal(value, model.module.state_dict()[name]), name
    assert not np.array_equal(start, mapped.get_latent_representation())
    return mapped


@pytest.mark.parametrize(("likelihood", "dispersion"), LIKELIHOODS)
def test_every_likelihood(counts, likelihood, dispersion):
    adata = as_support(counts, likelihood)
    model = fitted(adata, likelihood=likelihood, dispersion=dispersion)
    trained_by_surgery(model, adata, query_of(adata, batch=["b0"], donor=["a", "y"]))


@pytest.mark.parametrize("prior", ["standard", "conditional", "vamp"])
@pytest.mark.parametrize("encoding", ["one_hot", "embedding"])
@pytest.mark.parametrize("deep", [True, False])
def test_every_prior_and_encoding(counts, prior, encoding, deep):
    settings = {"prior": prior, "covariate_encoding": encoding, "deeply_inject_covariates": deep, "n_layers": 2}
    model = fitted(counts, **settings, n_pseudo_inputs=5)
    query = query_of(counts, batch=["b0", "b3", "b1"], donor=["a", "y", "zz", "x"])
    trained_by_surgery(model, counts, query)


@pytest.mark.parametrize("encoding", ["one_hot", "embedding"])
def test_reference_of_one_batch(counts, encoding):
    reference = counts[counts.obs["batch"] == "b1"].copy()
    model = fitted(
        reference, {"categorical_covariate_keys": None, "continuous_covariate_keys": None}, covariate_encoding=encoding
    )
    mapped = trained_by_surgery(model, reference, counts[counts.obs["batch"] == "b2"].copy())
    assert mapped.schema.categorical[0].levels == ("b1", "b2")
