import numpy as np
import pytest
from scipy.stats import nbinom, poisson

import omicvae as ov
from omicvae.data import CellStore, DataSchema, SetupKeys
from omicvae.model.config import ModelConfig, build_null
from omicvae.training import null_log_likelihood


def null_of(adata, likelihood, batch_key=None, train=None, judged=None):
    schema = DataSchema.register(adata, SetupKeys(batch_key=batch_key))
    store = CellStore.build(adata, schema)
    every = np.arange(adata.n_obs)
    train, judged = every if train is None else train, every if judged is None else judged
    model = build_null(ModelConfig(likelihood), schema)
    return null_log_likelihood(model, store, train, judged, seed=0, device="cpu")


def test_it_reaches_the_closed_form_of_the_poisson(counts):
    x = counts.X.toarray()
    library = x.sum(1, keepdims=True)
    mu = library * x.sum(0) / x.sum()  # maximum likelihood
    expected = poisson.logpmf(x, mu).sum()
    assert null_of(counts, "poisson").sum() == pytest.approx(expected, rel=1e-4)


def test_it_uses_the_batch_where_that_helps():
    adata = ov.datasets.simulate_counts(400, 40, n_types=1, n_batches=2, seed=0)
    adata.X = adata.X.astype(np.float32)
    second = (adata.obs["batch"] == adata.obs["batch"].cat.categories[1]).to_numpy()
    x = adata.X.toarray()
    x[second, :10] += 60
    adata.X = x
    assert null_of(adata, "nb", "batch").mean() > null_of(adata, "nb").mean() + 5


def test_many_tiny_batches_do_not_make_it_worse(counts):
    rng = np.random.default_rng(0)
    counts.obs["noise"] = rng.integers(0, 30, counts.n_obs).astype(str)
    counts.obs["noise"] = counts.obs["noise"].astype("category")
    judged = np.arange(0, 120, 4)
    train = np.setdiff1d(np.arange(120), judged)
    with_noise = null_of(counts, "nb", "noise", train, judged).mean()
    without = null_of(counts, "nb", None, train, judged).mean()
    assert with_noise > without - 1.5


def test_the_negative_binomial_null_beats_any_single_dispersion(counts):
    x = counts.X.toarray()
    mu = x.sum(1, keepdims=True) * x.sum(0) / x.sum()
    best = max(nbinom.logpmf(x, theta, theta / (theta + mu)).sum() for theta in (0.5, 1, 2, 5))
    assert null_of(counts, "nb").sum() > best
