"""Fits of functions: what a user gives, in the forms that it comes in, and what is said where it is wrong."""

import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

import omicvae as ov
from omicvae._core.errors import DataError, SettingError
from omicvae.readers.callables import torch_modules
from omicvae.readers.covariates import named_covariates

VALIDATION = np.arange(240, 300)


@pytest.fixture(scope="module")
def healthy(train_plain):
    return train_plain()


@pytest.fixture(scope="module")
def types(cells):
    return cells.obs["cell_type"]


def audit(network, x, **more):
    return ov.audit(network.encode, network.nll, x, **{"validation": VALIDATION, "umap": False, **more})


def test_a_healthy_and_a_collapsed_fit_are_told_apart(healthy, train_plain, log_cells, types):
    alive = audit(healthy, log_cells, labels=types)
    assert alive.verdict == "healthy"
    assert alive.remedies == ()
    empty = audit(train_plain(averaged=True), log_cells, labels=types)
    assert empty.verdict == "collapsed"
    assert empty.remedies[0].line == "w = min(1, epoch / 40); loss = nll.mean() + w * kl.sum(1).mean()"
    assert "free_bits" not in str(empty)
    inputs = alive.inputs
    assert (inputs.origin, inputs.base_measure) == ("PyTorch PlainVAE", "squared errors of 60 features, times 0.5")
    assert (inputs.labels_key, inputs.judged_W.tolist()) == ("cell_type", VALIDATION.tolist())


def test_numbers_are_those_of_the_functions(healthy, log_cells):
    inputs = audit(healthy, log_cells).inputs
    x = torch.from_numpy(log_cells)
    with torch.no_grad():
        mean, sd = healthy.encode(x)
        nll = healthy.nll(x, torch.from_numpy(inputs.draw_NK).float())[VALIDATION]
    np.testing.assert_allclose(inputs.mean_NK, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(inputs.nll_W, nll, rtol=1e-5)
    kl = torch.distributions.kl_divergence(torch.distributions.Normal(mean, sd), torch.distributions.Normal(0.0, 1.0))
    np.testing.assert_allclose(inputs.kl_WK, kl[VALIDATION], rtol=1e-3, atol=1e-5)
    # a decoder without z that is a mean: squared errors around the training cells' mean
    left = log_cells[VALIDATION] - log_cells[:240].mean(0)
    np.testing.assert_allclose(inputs.null_nll_W, 0.5 * (left**2).sum(1), rtol=1e-4)
    assert inputs.train_elbo_T.shape == inputs.train_null_nll_T.shape == (240,)


def test_all_forms_of_data_and_functions_say_the_same(healthy, log_cells):
    expected = audit(healthy, log_cells).evidence
    frame = pd.DataFrame(log_cells, index=[f"cell{n}" for n in range(300)])
    forms = [torch.from_numpy(log_cells), sp.csc_matrix(log_cells), frame, ad.AnnData(sp.csr_matrix(log_cells))]
    for x in forms:
        pd.testing.assert_frame_equal(audit(healthy, x, batch_size=77).evidence, expected, rtol=1e-4)

    def to_numpy(function):  # such as JAX or Keras functions are
        def call(*arrays):
            assert all(isinstance(array, np.ndarray) for array in arrays)
            found = function(*map(torch.from_numpy, arrays))
            return tuple(f.detach().numpy() for f in found) if isinstance(found, tuple) else found.detach().numpy()

        return call

    hidden = SimpleNamespace(parts={"network": healthy})  # where no network is looked for
    encode = to_numpy(lambda x: hidden.parts["network"].encode(x))
    nll = to_numpy(lambda x, z: hidden.parts["network"].nll(x, z))
    found = ov.audit(encode, nll, log_cells, validation=VALIDATION, umap=False)
    pd.testing.assert_frame_equal(found.evidence, expected, rtol=1e-4)
    assert found.inputs.origin == "functions of arrays"
    as_distribution = ov.audit(
        lambda x: torch.distributions.Normal(*healthy.encode(x)),
        healthy.nll,
        log_cells,
        validation=VALIDATION,
        umap=False,
    )
    pd.testing.assert_frame_equal(as_distribution.evidence, expected, rtol=1e-4)


def test_networks_are_found_wherever_a_function_names_them(healthy):
    holder = SimpleNamespace(network=healthy)

    def helper(x):
        return healthy.encode(x)

    def by_default(x, network=healthy):
        return network.encode(x)

    ways = [
        healthy,
        healthy.encode,
        lambda x: healthy.encode(x),
        lambda x: helper(x),
        lambda x: holder.network.encode(x),
        by_default,
        partial(lambda network, x: network.encode(x), healthy),
    ]
    assert [torch_modules(way) for way in ways] == [[healthy]] * len(ways)
    assert torch_modules(np.sum, lambda x: x) == []


def test_covariates_come_as_they_were_given_and_reach_the_model_without_z(train_plain, cells, log_cells):
    one_hot = torch.nn.functional.one_hot(torch.tensor(cells.obs["batch"].cat.codes.to_numpy().astype(int))).float()
    network = train_plain(epochs=20, c=one_hot)
    found = audit(network, log_cells, covariates=one_hot).inputs
    assert list(found.covariates) == ["covariate"]
    assert (found.covariates["covariate"] == cells.obs["batch"].cat.codes).all()
    design = pd.get_dummies(cells.obs["batch"]).to_numpy(float)
    fitted = np.linalg.lstsq(design[:240], log_cells[:240], rcond=None)[0]
    expected = 0.5 * ((log_cells - design @ fitted)[VALIDATION] ** 2).sum(1)
    np.testing.assert_allclose(found.null_nll_W, expected, rtol=1e-3)

    seen = []

    def nll(x, z, c):
        seen.append(c)
        return network.nll(x, z, torch.from_numpy(pd.get_dummies(c["batch"]).to_numpy(np.float32)))

    def encode(x, c):
        return network.encode(x, torch.from_numpy(pd.get_dummies(c["batch"]).to_numpy(np.float32)))

    adata = ad.AnnData(log_cells, obs=cells.obs)
    again = ov.audit(encode, nll, adata, covariates="batch", validation=VALIDATION, umap=False, labels="cell_type")
    assert all(isinstance(c, pd.DataFrame) for c in seen)
    np.testing.assert_allclose(again.inputs.null_nll_W, expected, rtol=1e-3)
    assert again.inputs.labels_key == "cell_type"


def test_one_hot_blocks_are_their_factors():
    a, b = np.array([0, 1, 2, 0]), np.array([1, 0, 0, 1])
    joined = np.hstack([np.eye(3)[a], np.eye(2)[b], [[0.5], [1.5], [2.5], [0.0]], [[1], [0], [1], [1]]])
    categorical, continuous = named_covariates(joined, 4)
    assert [values.tolist() for values in categorical.values()] == [a.tolist(), b.tolist(), [1, 0, 1, 1]]
    assert [values.tolist() for values in continuous.values()] == [[0.5, 1.5, 2.5, 0.0]]
    categorical, continuous = named_covariates({"dose": np.array([1, 2, 3, 4]), "age": np.arange(4)}, 4, ["age"])
    assert (list(categorical), list(continuous)) == (["dose"], ["age"])
    with pytest.raises(DataError, match=r"\['height'\], and the covariates are \['age'\]"):
        named_covariates({"age": np.arange(4)}, 4, ["height"])


def test_a_network_in_training_mode_is_said_and_left_in_it(healthy, log_cells):
    healthy.train()
    try:
        with pytest.warns(UserWarning, match="PlainVAE was in training mode"):
            audit(healthy, log_cells)
        assert healthy.training
    finally:
        healthy.eval()


def with_encoder(encode):
    return lambda network: (encode(network), network.nll)


def with_nll(nll):
    return lambda network: (network.encode, nll(network))


WRONG = {
    "log variance": (
        with_encoder(lambda net: lambda x: (net.encode(x)[0], 2 * net.encode(x)[1].log())),
        r"positive SDs.*exp\(0.5 \* log_variance\)",
    ),
    "no noise": (with_encoder(lambda net: lambda x: (net.encode(x)[0], 0 * net.encode(x)[1])), "without noise"),
    "three values": (with_encoder(lambda net: lambda x: (*net.encode(x), x)), r"\(mean, SD\).*returned 3 values"),
    "a mean alone": (with_encoder(lambda net: lambda x: net.encode(x)[0]), "returned a Tensor"),
    "one dimension": (
        with_encoder(lambda net: lambda x: (net.encode(x)[0][:, 0], net.encode(x)[1][:, 0])),
        r"shape \(cells, dimensions\)",
    ),
    "a scalar": (with_nll(lambda net: lambda x, z: net.nll(x, z).mean()), r"leave the cells: nll.sum\(-1\)"),
    "every gene": (with_nll(lambda net: lambda x, z: (x - net.decoder(z)) ** 2), r"Sum over features: nll.sum\(-1\)"),
    "an average": (
        with_nll(lambda net: lambda x, z: ((x - net.decoder(z)) ** 2).mean(1)),
        "average over the 60 features",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_with_the_fix(name, healthy, log_cells):
    make, message = WRONG[name]
    with pytest.raises(DataError, match=message):
        ov.audit(*make(healthy), log_cells, validation=VALIDATION, umap=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ["a", "b"]}, "labels must have one value for each of the 300 cells, got 2"),
        ({"validation": np.ones(7, bool)}, "validation must be a mask of 300 values or row numbers below 300"),
        ({"validation": [299, 300]}, "row numbers below 300"),
        ({"validation": np.arange(300)}, "validation holds all cells"),
        ({"covariates": np.zeros((5, 1))}, "one row for each of the 300 cells"),
        ({"likelihood": "normal"}, "gaussian"),
        ({"null_nll": np.zeros(3)}, "null_nll must have one value for each of the 300 cells"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message, healthy, log_cells):
    with pytest.raises((DataError, SettingError), match=message):
        audit(healthy, log_cells, **arguments)


def test_output_that_is_not_finite_is_a_verdict(healthy, log_cells):
    found = ov.audit(healthy.encode, lambda x, z: healthy.nll(x, z) * np.nan, log_cells, umap=False)
    assert found.verdict == "diverged"


def test_an_unknown_likelihood_is_not_guessed_and_said(healthy, log_cells):
    def heavy(x, z):
        return -torch.distributions.StudentT(4.0, healthy.decoder(z), 0.3).log_prob(x).sum(1)

    found = ov.audit(healthy.encode, heavy, log_cells, validation=VALIDATION, umap=False)
    assert found.inputs.null_nll_W is None
    assert "name it with likelihood=" in str(found).replace("\n      ", " ")
    named = ov.audit(healthy.encode, heavy, log_cells, validation=VALIDATION, likelihood="student_t", umap=False)
    assert np.isfinite(named.inputs.null_nll_W).all()
    other = audit(healthy, log_cells, likelihood="gaussian")
    assert "nll changes with x as likelihood='mse' does" in " ".join(other.remarks)
    own = ov.audit(healthy.encode, heavy, log_cells, validation=VALIDATION, null_nll=np.arange(300), umap=False).inputs
    assert own.null_nll_W.tolist() == VALIDATION.tolist()


def test_another_prior_is_paid_for(healthy, log_cells):
    standard = audit(healthy, log_cells).inputs
    given = audit(healthy, log_cells, prior=(np.zeros(5), np.full(5, 2.0))).inputs
    variance = (standard.sd_NK / 2)[VALIDATION] ** 2
    expected = 0.5 * (variance + (standard.mean_NK[VALIDATION] / 2) ** 2 - 1 - np.log(variance))
    np.testing.assert_allclose(given.kl_WK, expected, rtol=1e-5)

    def log_normal(z):
        return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)

    drawn = audit(healthy, log_cells, prior=log_normal).inputs
    assert not drawn.gaussian_prior
    assert drawn.kl_WK.sum(1).mean() == pytest.approx(standard.kl_WK.sum(1).mean(), abs=0.7)


def test_curves_in_another_unit_are_left_out_and_said(healthy, log_cells):
    measured = audit(healthy, log_cells).inputs
    recon, kl = measured.nll_W.mean() + 50 / np.arange(1, 41), np.full(40, measured.kl_WK.sum(1).mean())
    summed = {"loss": recon + kl, "recon": recon, "kl": kl}
    found = audit(healthy, log_cells, history=summed)
    assert {"recon_train", "kl_weight"} <= set(found.inputs.history.columns)
    averaged = {**summed, "recon": recon / 60}
    found = audit(healthy, log_cells, history=averaged)
    assert "recon_train" not in found.inputs.history.columns
    assert "not in nats per cell" in " ".join(found.remarks)


def test_no_library_of_others_is_loaded():
    code = """
import sys, numpy as np, omicvae as ov
assert not {"scvi", "lightning", "torch", "anndata"} & set(sys.modules)
w = np.random.default_rng(0).normal(size=(20, 2)).astype("f") / 5
x = np.random.default_rng(1).normal(size=(60, 20)).astype("f")
found = ov.audit(lambda x: (x @ w, np.full((len(x), 2), 0.5)), lambda x, z: ((x - z @ w.T) ** 2).sum(1), x, umap=False)
print(found.verdict, found.inputs.base_measure)
assert not {"scvi", "lightning"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "squared errors of 20 features" in done.stdout
