"""All forms of the training step are the same mathematics: fixed seeds give the same losses."""

import numpy as np
import pytest
import torch

import omicvae as ov
from omicvae.data import CellStore
from omicvae.training.adam import adam
from omicvae.training.autograd_step import AutogradStep
from omicvae.training.budget import Optimisation
from omicvae.training.explicit_step import ExplicitStep
from omicvae.training.step import StepTotals

from ..reference import reference_path
from .small_fits import data, parts

COUNTS = ("nb", "zinb", "poisson")
# Largest relative difference of the training losses, of the validation ELBO, and of the KL. Rounding is carried on by
# training; the bias in front of a batch normalisation has a gradient of rounding alone, which running means follow.
AGREE = {"32-true": (1e-4, 5e-3, 5e-3), "auto": (2e-3, 1e-2, 5e-2)}


def trace(likelihood, precision="32-true", **settings):
    model = ov.CVAE(data(likelihood), likelihood, seed=1, n_hidden=32, **settings)
    model.train(6, progress_bar=False, accelerator="cpu", precision=precision)
    return model.history[["loss_train", "recon_train", "kl_train", "elbo_validation"]].to_numpy()


@pytest.mark.parametrize(
    ("likelihood", "settings"),
    [
        *((name, {}) for name in ("nb", "zinb", "poisson", "gaussian", "bernoulli")),
        ("nb", {"n_layers": 2, "dropout_rate": 0.2}),
        ("nb", {"encode_covariates": False, "dispersion": "gene-batch"}),
        ("nb", {"dispersion": "gene-cell", "deeply_inject_covariates": False, "n_layers": 2}),
        ("nb", {"n_hidden_decoder": 48, "n_layers_decoder": 2, "dropout_rate_decoder": 0.1}),
        ("nb", {"log_variance_bounds": (-0.2, 0.1)}),  # they bind
        ("nb", {"normalization": "layer"}),  # by autograd
        ("nb", {"activation": "gelu", "covariate_encoding": "embedding"}),
    ],
)
def test_losses_agree_with_the_reference(likelihood, settings):
    with reference_path():
        expected = trace(likelihood, **settings)
    for precision, tolerances in AGREE.items():
        difference = np.abs(trace(likelihood, precision, **settings) / expected - 1).max(0)
        loss, reconstruction, kl, elbo = difference
        assert max(loss, reconstruction) < tolerances[0], precision
        assert elbo < tolerances[1], precision
        assert kl < tolerances[2], precision


@pytest.mark.parametrize("likelihood", ["nb", "gaussian"])
def test_training_from_cells_on_the_device_is_the_reference(likelihood, monkeypatch):
    """What a GPU does, here on the CPU: torch's operations on minibatches that are made where the network is."""
    made = []

    def batch(store, indices, *, device="cpu"):
        made.append(len(indices))
        return store.on_device(torch.device(device)).batch(np.asarray(indices, dtype=np.int64))

    with reference_path():
        expected = trace(likelihood)
        with monkeypatch.context() as inside:  # undone before the reference is, which would stay in its place
            inside.setattr(CellStore, "batch", batch)
            np.testing.assert_allclose(trace(likelihood), expected, rtol=1e-6)
    assert made


@pytest.mark.parametrize(
    "objective",
    [
        {"free_bits": 0.3},
        {"free_bits": 0.3, "free_bits_mode": "cell"},
        {"free_bits": 0.3, "free_bits_mode": "total"},
        {"capacity": 3.0},
        {"target_rate": 4.0},
    ],
)
def test_kl_controls_agree_with_the_reference(objective):
    def run():
        model = ov.CVAE(data("nb"), "nb", seed=1, n_hidden=32)
        model.train(6, progress_bar=False, accelerator="cpu", precision="32-true", objective=objective)
        return model.history[["loss_train", "recon_train", "kl_train", "kl_weight"]].to_numpy()

    with reference_path():
        expected = run()
    difference = np.abs(run() / expected - 1).max(0)
    assert max(difference[:2]) < 1e-4
    assert difference[2] < 3e-2  # free bits have a kink, on either side of which a dimension may lie
    assert difference[3] < 1e-3


def test_a_fit_logs_its_step(caplog):
    with caplog.at_level("INFO", logger="omicvae"):
        ov.CVAE(data("nb"), "nb", n_hidden=8).train(1, progress_bar=False, accelerator="cpu", precision="32-true")
    assert [r.message for r in caplog.records if "step" in r.message] == ["Training by the explicit step."]


@pytest.mark.parametrize("form", ["explicit", "autograd"])
@pytest.mark.parametrize("poison", ["data", "weights"])
def test_a_bad_step_never_reaches_the_weights(form, poison):
    module, store, planned = parts()
    optimizer = adam(module, Optimisation(1e-3))
    step = (
        ExplicitStep(module, optimizer, planned, 64)
        if form == "explicit"
        else AutogradStep(module, optimizer, planned, 300)
    )
    totals = StepTotals(torch.device("cpu"))
    (good,) = step.parts(store.batch(np.arange(64)), [64])
    step(good, 0, 1e-3, totals)
    bad = store.batch(np.arange(64))
    if poison == "data":
        bad.rows.values_M[3] = torch.nan
    else:
        with torch.no_grad():
            module.decoder.heads["scale"].weight_IO[0, 0] = torch.inf
    before = {name: value.clone() for name, value in module.state_dict().items() if value.is_floating_point()}
    (bad,) = step.parts(bad, [64])
    step(bad, 1, 1e-3, totals)
    after = module.state_dict()
    # running statistics too: evaluation would carry them on
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert totals.bad_steps() == [1]
    assert np.isfinite(totals.means()["loss"])


@pytest.mark.parametrize("likelihood", ["nb", "gaussian"])
@pytest.mark.parametrize("dense", [True, False])
def test_the_first_layer_agrees_in_bfloat16_and_as_non_zeros(likelihood, dense, monkeypatch):
    monkeypatch.setattr("omicvae.training.explicit_step.SPARSE_FIRST_LAYER", 0.0 if dense else 1.0)
    monkeypatch.setattr("omicvae.networks.explicit.MOSTLY_ZERO", 1.0)
    module, _, planned = parts()
    step = ExplicitStep(module, adam(module, Optimisation(1e-3)), planned, 64, bfloat16_products=True, density=0.5)
    assert (step._encoder[0].weight_IO.dtype == torch.bfloat16) == dense
    with reference_path():
        expected = trace(likelihood)
    difference = np.abs(trace(likelihood, "auto") / expected - 1).max(0)
    assert max(difference[:2]) < AGREE["auto"][0]
    assert difference[3] < AGREE["auto"][1]


def test_trained_parameters_have_memory_of_their_own():
    model = ov.CVAE(data("nb"), "nb", seed=1, n_hidden=16)
    model.train(1, progress_bar=False, accelerator="cpu")
    parameters = list(model.module.parameters())
    assert len({p.untyped_storage().data_ptr() for p in parameters}) == len(parameters)
    assert all(p.grad is None for p in parameters)


def test_the_number_of_threads_is_left_as_it_was():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = ov.CVAE(data("nb"), "nb", seed=1, n_hidden=16)
        model.train(1, progress_bar=False, accelerator="cpu")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
