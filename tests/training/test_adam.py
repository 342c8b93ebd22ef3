import math

import pytest
import torch

from omicvae import CVAE
from omicvae.training.adam import FlatAdam, adam, clip_factor, moments, restore_moments, update
from omicvae.training.budget import Optimisation


def test_gradients_are_scaled_down_to_the_largest_norm():
    assert [clip_factor(norm, 2.0) for norm in (0.0, 1.0, 2.0, 8.0)] == [1.0, 1.0, 1.0, 0.25]
    assert clip_factor(1e9, None) == 1.0
    assert clip_factor(1e-31, 1e-31) == pytest.approx(0.1)


def test_the_first_steps_by_hand():
    """w = 3, loss w², a rate of 0.1: the first step is the rate, whatever the gradient."""
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(3.0)
    optimizer = adam(layer, Optimisation(0.5))
    assert isinstance(optimizer, FlatAdam)
    w, m, v = 3.0, 0.0, 0.0
    for t in (1, 2, 3):
        assert float(update(optimizer, layer.weight.square().sum(), 0.1)) == 0.0
        m, v = 0.9 * m + 0.1 * 2 * w, 0.999 * v + 0.001 * (2 * w) ** 2
        w -= 0.1 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
        assert float(layer.weight.detach()) == pytest.approx(w, rel=1e-5)
    state = optimizer.state[layer.weight]
    assert (float(state["step"]), float(state["exp_avg"])) == (3.0, pytest.approx(m, rel=1e-5))
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["own form", "torch's form"])
@pytest.mark.parametrize("settings", [{}, {"gradient_clip_norm": 0.5}, {"optimizer": "adamw", "weight_decay": 0.1}])
def test_a_step_that_is_not_finite_changes_nothing(dtype, settings):
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2).to(dtype)
    optimizer = adam(layer, Optimisation(0.1, **settings))
    assert isinstance(optimizer, FlatAdam) == (dtype == torch.float32)
    x = torch.ones(4, 3, dtype=dtype)
    assert float(update(optimizer, layer(x).square().mean(), 0.1)) == 0.0
    before = [p.detach().clone() for p in layer.parameters()]
    for factor in (math.nan, math.inf):
        assert float(update(optimizer, layer(x).square().mean() * factor, 0.1)) == 1.0
    # a loss that is finite, with a gradient that is not
    assert float(update(optimizer, (layer(x) - layer(x).detach()).square().sum().sqrt(), 0.1)) == 1.0
    assert all(torch.equal(p, old) for p, old in zip(layer.parameters(), before, strict=True))
    assert float(update(optimizer, layer(x).square().mean(), 0.1)) == 0.0


@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.1}, {"optimizer": "adamw", "weight_decay": 0.1}])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_both_forms_take_the_same_steps(settings, clip):
    torch.manual_seed(0)
    ours = torch.nn.Linear(5, 3)
    theirs = torch.nn.Linear(5, 3).double()
    theirs.load_state_dict(ours.state_dict())
    optimisation = Optimisation(0.1, gradient_clip_norm=clip, **settings)
    both = [(layer, adam(layer, optimisation)) for layer in (ours, theirs)]
    for step in range(5):
        x = torch.randn(4, 5)
        for layer, optimizer in both:
            update(optimizer, layer(x.to(layer.weight.dtype)).square().sum(), 0.1 / (step + 1))
    torch.testing.assert_close(ours.weight.double(), theirs.weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["own form", "torch's form"])
def test_moments_go_on_where_they_were(dtype):
    def run(layer, optimizer, steps):
        for i in steps:
            update(optimizer, (layer(torch.full((2, 3), 1.0 + i, dtype=dtype)) - 1).square().mean(), 0.05)

    torch.manual_seed(0)
    whole = torch.nn.Linear(3, 2).to(dtype)
    halves = torch.nn.Linear(3, 2).to(dtype)
    halves.load_state_dict(whole.state_dict())
    run(whole, adam(whole, Optimisation(0.05)), range(6))
    first = adam(halves, Optimisation(0.05))
    run(halves, first, range(3))
    saved = moments(halves, first)
    assert set(saved) == {f"{p}.{key}" for p in ("weight", "bias") for key in ("step", "exp_avg", "exp_avg_sq")}
    if dtype == torch.float32:
        first.release()
    second = adam(halves, Optimisation(0.05))
    restore_moments(halves, second, saved)
    run(halves, second, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), halves.parameters(), strict=True))


def test_parameters_without_saved_moments_start_anew():
    for dtype in (torch.float32, torch.float64):
        layer = torch.nn.Linear(3, 2).to(dtype)
        optimizer = adam(layer, Optimisation(0.05))
        update(optimizer, layer(torch.ones(2, 3, dtype=dtype)).square().mean(), 0.05)
        saved = {name: value for name, value in moments(layer, optimizer).items() if name.startswith("weight")}
        fresh = adam(layer, Optimisation(0.05))
        restore_moments(layer, fresh, saved)
        found = moments(layer, fresh)
        if dtype == torch.float32:  # one count for all
            assert all(not value.any() for value in found.values())
        else:
            assert set(found) == set(saved)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"gradient_clip_norm": 0.05},
    ],
)
def test_adam_is_torchs_adam(settings):
    torch.manual_seed(0)
    optimisation = Optimisation(1e-2, **settings)
    ours, theirs = torch.nn.Linear(30, 20), torch.nn.Linear(30, 20)
    theirs.load_state_dict(ours.state_dict())
    form = torch.optim.AdamW if optimisation.optimizer == "adamw" else torch.optim.Adam
    groups = [
        {"params": [theirs.weight], "weight_decay": optimisation.weight_decay},
        {"params": [theirs.bias], "weight_decay": 0},
    ]
    reference = form(groups, fused=True)
    reference.defaults["clip_norm"] = optimisation.gradient_clip_norm
    optimizer = adam(ours, optimisation)
    assert isinstance(optimizer, FlatAdam)
    assert not isinstance(reference, FlatAdam)
    for step in range(20):
        x = torch.randn(8, 30)
        for module, by in ((ours, optimizer), (theirs, reference)):
            update(by, module(x).square().mean(), 1e-2 / (step + 1))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    moments = [optimizer.state[p]["exp_avg_sq"] for p in ours.parameters()]
    assert [m.shape for m in moments] == [p.shape for p in ours.parameters()]
    optimizer.release()
    assert len({p.untyped_storage().data_ptr() for p in ours.parameters()}) == 2
    assert all(p.grad is None for p in ours.parameters())


def test_adam_takes_gradients_and_keeps_copies_in_bfloat16():
    torch.manual_seed(0)
    whole, narrow = (torch.nn.Linear(90, 70) for _ in range(2))
    narrow.load_state_dict(whole.state_dict())
    optimizers = [adam(module, Optimisation(1e-2)) for module in (whole, narrow)]
    copies = optimizers[1].bfloat16_copies([narrow.weight])
    copy, place = copies[narrow.weight]
    assert torch.equal(copy, narrow.weight.bfloat16())
    for _ in range(3):
        gradient = torch.randn(70, 90).bfloat16()
        place.copy_(gradient)
        whole.weight.grad.copy_(gradient)
        for module in (whole, narrow):
            module.bias.grad.fill_(0.5)
        narrow.weight.grad.fill_(torch.nan)  # is not read
        assert all(optimizer.step_if_finite(0.0, 1e-2) for optimizer in optimizers)
        assert torch.equal(whole.weight, narrow.weight)
        assert torch.equal(whole.bias, narrow.bias)
        assert torch.equal(copy, narrow.weight.bfloat16())
    place[3, 4] = torch.nan
    assert not optimizers[1].step_if_finite(0.0, 1e-2)
    optimizers[1].zero_grad()  # back to float32
    narrow.weight.grad.fill_(1.0)
    assert optimizers[1].step_if_finite(0.0, 1e-2)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_weight_decay_falls_on_weight_matrices_alone(optimizer, fast, counts):
    adata = counts.copy()
    adata.obs["dose"] = range(adata.n_obs)
    CVAE.setup_anndata(adata, batch_key="batch", continuous_covariate_keys=["dose"])
    model = CVAE(adata, likelihood="zinb", prior="vamp", normalization="layer", dispersion="gene-batch")
    module = model.module if fast else model.module.double()
    made = adam(module, Optimisation(0.01, optimizer=optimizer, weight_decay=0.5))
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    loss = sum((p * 0.0).sum() for p in module.parameters())
    update(made, loss, 0.01)
    moved = {name for name, p in module.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {
        "encoder.body.linears.0.linear.weight_IO",
        "encoder.mean.weight",
        "decoder.body.linears.0.linear.weight_IO",
        "decoder.heads.scale.weight_IO",
        "decoder.heads.zero_logit.weight_IO",
    } | ({"encoder.log_variance.weight"} if before["encoder.log_variance.weight"].any() else set())
