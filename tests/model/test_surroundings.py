"""What a caller has set in torch for everything changes no result, and stays set."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

import omicvae as ov


@contextmanager
def float64():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_meta():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


AMBIENT = {
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "float64": float64,
    "device": lambda: torch.device("meta"),
    "default device": default_meta,
}
SETUP = {"batch_key": "batch", "continuous_covariate_keys": ["age"]}


def state():
    return torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.get_default_dtype(), torch.empty(0).device


def results(adata, folder):
    """Everything that a model is made, trained and asked for."""
    ov.CVAE.setup_anndata(adata, **SETUP)
    model = ov.CVAE(adata, "nb", 2, n_hidden=8, prior="vamp", n_pseudo_inputs=5)
    model.train(3, objective={"discriminator": {"start": 0}}, batch_size=32, progress_bar=False, checkpoint_dir=folder)
    model.train(2, objective={"total_correlation": 1.0}, batch_size=32, progress_bar=False)
    model.save(folder / "m")
    loaded = ov.CVAE.load(folder / "m", adata)
    yield model.history.drop(columns="cells_per_second").to_numpy()
    yield model.get_latent_representation(give_mean=False)
    yield model.get_elbo(return_mean=False)
    yield model.get_marginal_ll(n_mc_samples=3, return_mean=False)
    yield model.get_normalized_expression(return_numpy=True)
    yield model.posterior_predictive_sample().todense()
    yield model.diagnose(umap=False).evidence["value"].to_numpy(dtype=float)
    yield loaded.get_latent_representation()


@pytest.fixture(scope="module")
def expected():
    return {}


@pytest.mark.parametrize("name", AMBIENT)
def test_torchs_global_state_changes_nothing(name, counts, tmp_path, expected):
    if not expected:
        expected["plain"] = list(results(counts.copy(), tmp_path / "plain"))
    with AMBIENT[name]():
        before = state()
        found = list(results(counts, tmp_path / "ambient"))
        assert state() == before
    for ours, plain in zip(found, expected["plain"], strict=True):
        np.testing.assert_array_equal(ours, plain)
        assert ours.dtype == plain.dtype
