"""Functions of a user: what their errors say, and what an encoder may return."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributions import Independent, Laplace, Normal

import omicvae as ov
from omicvae._core.errors import DataError
from omicvae.readers.callables import Functions

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def encode(x):
    return x[:, :2], 0 * x[:, :2] + 0.5


def nll(x, z):
    return ((x - z.sum(1)[:, None]) ** 2).sum(1)


def test_a_normal_distribution_is_read_however_it_is_wrapped_and_no_other():
    mean, sd = encode(X)
    for wrap in (lambda q: q, lambda q: Independent(q, 1)):
        functions = Functions(lambda x, wrap=wrap: wrap(Normal(*encode(x))), nll, torch.from_numpy(X), None, 3)
        for found, expected in zip(functions.encode(), (mean, sd), strict=True):
            np.testing.assert_array_equal(found, expected)
    with pytest.raises(DataError, match=r"must be a normal distribution.*Laplace"):
        Functions(lambda x: Laplace(*encode(x)), nll, torch.from_numpy(X), None, 3).encode()


def test_an_error_of_a_function_says_what_it_was_called_with():
    with pytest.raises(TypeError) as missing:
        ov.audit(lambda x, c: encode(x), nll, X)
    called = "encode raised this when it was called as encode(x: ndarray (4, 3) float32)."
    assert missing.value.__notes__ == [f"{called} There is a c only with covariates=."]
    covariates = pd.DataFrame({"batch": list("abab")})
    functions = Functions(lambda x, c: torch.cat([x, c], 1), nll, torch.from_numpy(X), covariates, 3)
    with pytest.raises(TypeError) as table:
        functions.encode()
    assert "c: DataFrame (3, 1))." in table.value.__notes__[0]
    functions = Functions(encode, lambda z, x: x[:, 2], X, None, 3)  # the other order
    with pytest.raises(IndexError) as order:
        functions.nll(np.zeros((4, 2)), np.arange(4))
    assert order.value.__notes__[0].startswith(
        "nll raised this when it was called as nll(x: ndarray (3, 3) float32, z: ndarray (3, 2) float32)."
    )


def test_sparse_tensors_are_data_as_dense_ones_are():
    functions = Functions(encode, nll, torch.from_numpy(X).to_sparse(), None, 3)
    np.testing.assert_array_equal(functions.encode()[0], X[:, :2])


def test_the_constant_of_a_gaussian_of_fixed_variance_is_paid_by_both():
    """As −Normal(x̂, σ).log_prob(x).sum(1): a decoder without z has the constant too, and a live fit keeps its gain."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 200)
    x = (rng.normal(0, 1.5, (3, 30))[kind] + rng.normal(size=(200, 30))).astype(np.float32)
    weights = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:2].T
    variance = ((x - x.mean(0)) @ weights).var(0) - 1  # probabilistic PCA

    def posterior(x):
        shrink = 1 / (1 + variance)
        return (x - rows_mean) @ weights * np.sqrt(variance) * shrink, np.full((len(x), 2), np.sqrt(shrink))

    def expected(z):
        return rows_mean + z * np.sqrt(variance) @ weights.T

    rows_mean = x.mean(0)
    for sd in (1.0, 0.98, 2.0):

        def whole(x, z, sd=sd):
            return 0.5 * (((x - expected(z)) / sd) ** 2 + np.log(2 * np.pi * sd**2)).sum(1)

        def squares(x, z, sd=sd):
            return 0.5 * (((x - expected(z)) / sd) ** 2).sum(1)

        alike = {"labels": kind, "validation": np.arange(50), "likelihood": "auto", "umap": False}
        found, plain = (ov.audit(posterior, nll, x, **alike) for nll in (whole, squares))
        gains = [np.mean(d.inputs.null_nll_W - d.inputs.nll_W) for d in (found, plain)]
        assert gains[0] == pytest.approx(gains[1], abs=0.03)  # 1 / sd² is found to two digits
        assert found.inputs.base_measure == "real values of 30 features"
        assert plain.inputs.base_measure.startswith("squared errors of 30 features")
        assert found.verdict == plain.verdict
        named = [ov.audit(posterior, nll, x, **alike | {"likelihood": "gaussian"}).inputs for nll in (whole, squares)]
        np.testing.assert_array_equal(*(inputs.null_nll_W for inputs in named))  # it has constants of its own
