"""A cell's noise is its own: whatever is drawn depends on no minibatch and on no other cell."""

import numpy as np
import pytest

import omicvae as ov

from .conftest import FAST, SETUP

CALLS = {
    "latent": lambda m, **which: m.get_latent_representation(give_mean=False, **which),
    "elbo": lambda m, **which: m.get_elbo(return_mean=False, **which),
    "elbo of 3": lambda m, **which: m.get_elbo(return_mean=False, n_samples=3, **which),
    "reconstruction": lambda m, **which: m.get_reconstruction_error(return_mean=False, **which)["reconstruction_loss"],
    "marginal": lambda m, **which: m.get_marginal_ll(n_mc_samples=5, return_mean=False, **which),
    "expression": lambda m, **which: m.get_normalized_expression(n_samples=4, return_numpy=True, **which),
    "draws": lambda m, **which: m.get_normalized_expression(
        n_samples=2, return_mean=False, return_numpy=True, **which
    ).transpose(1, 0, 2),
    "sample": lambda m, **which: m.posterior_predictive_sample(**which).todense(),
    "interval": lambda m, **which: m.get_normalized_expression(
        n_samples=39, credible_interval=0.95, return_numpy=True, **which
    )["lower"],
    "sample mean": lambda m, **which: m.predictive_interval(n_samples=39, return_numpy=True, **which)["mean"],
    "parameters": lambda m, **which: m.get_likelihood_parameters(n_samples=2, give_mean=True, **which)["mean"],
    "samples": lambda m, **which: m.posterior_predictive_sample(n_samples=2, **which).todense(),
}


@pytest.fixture(scope="module", params=["nb", "zinb", "poisson", "gaussian", "student_t", "bernoulli"])
def model(request):
    adata = ov.datasets.simulate_counts(120, 30, n_types=3, n_batches=2, seed=0)
    if request.param == "bernoulli":
        adata.X = (adata.X > 1).astype(np.float32)
    ov.CVAE.setup_anndata(adata, batch_key="batch")
    made = ov.CVAE(adata, request.param, 3, n_hidden=16, prior="vamp" if request.param == "poisson" else "standard")
    made.train(**FAST)
    return made


@pytest.mark.parametrize("name", CALLS)
def test_what_is_drawn_for_a_cell_depends_on_no_other_cell(model, name):
    call, rows = CALLS[name], np.random.default_rng(0).permutation(120)[:50]
    whole = call(model)
    # products of matrices round by their size; a count at the edge of two may then be the other one
    close = {"rtol": 1e-4, "atol": 1e-4}
    for found, expected in (
        (call(model, batch_size=7), whole),
        (call(model, indices=rows), whole[rows]),
        (call(model, indices=rows[:1], batch_size=1), whole[rows[:1]]),
    ):
        agree = np.isclose(found, expected, **close)
        assert agree.mean() > (0.99 if name.startswith("sample") else 0.9999), name
    assert not np.isclose(whole[0], whole[1], **close).all()


def test_differential_expression_is_that_of_the_model(counts):
    ov.CVAE.setup_anndata(counts, **SETUP)
    model = ov.CVAE(counts, "nb", 3, n_hidden=16)
    model.train(**FAST)
    tables = [
        model.differential_expression(
            groupby="batch", group1="b1", group2="b2", mode="change", batch_size=size, silent=True
        )
        for size in (None, 7)
    ]
    np.testing.assert_allclose(*(t.loc[sorted(t.index), "lfc_mean"] for t in tables), rtol=1e-4, atol=1e-5)
