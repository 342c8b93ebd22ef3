import copy

import numpy as np
import pytest
import torch

from omicvae.objective import total_correlation
from omicvae.training.adam import adam, update
from omicvae.training.adversaries import make_adversaries
from omicvae.training.autograd_step import AutogradStep
from omicvae.training.budget import Optimisation
from omicvae.training.explicit_step import ExplicitStep
from omicvae.training.step import StepTotals

from .small_fits import parts

CPU = torch.device("cpu")
RATE, STEP = 1e-2, 5  # a weight of 0.5 under the usual warm-up of 10 steps
OBJECTIVES = [{"beta": 2.0}, {"free_bits": 0.05}, {"target_rate": 3.0}, {"capacity": 4.0}]


def taken(form, module, store, planned, further=(), cells=64, **settings):
    """Take one step on the first cells; return its figures, means over cells."""
    totals = StepTotals(CPU, further)
    step = form(module, adam(module, Optimisation(RATE)), planned, **settings)
    (part,) = step.parts(store.batch(np.arange(cells)), [cells])
    torch.manual_seed(3)
    step(part, STEP, RATE, totals)
    return totals.means()


@pytest.mark.parametrize("objective", [*OBJECTIVES, {"total_correlation": 4.0}])
def test_an_update_by_hand(objective):
    module, store, planned = parts(objective)
    own, control = copy.deepcopy(module), copy.deepcopy(planned.control)
    further = ["total_correlation"] if "total_correlation" in objective else []
    figures = taken(AutogradStep, module, store, planned, further, n_cells=300)
    torch.manual_seed(3)
    batch = store.batch(np.arange(64))
    posterior = own.encode(batch)
    z = posterior.sample()
    reconstruction, kl = own.reconstruction(z, batch).mean(), own.prior_at(batch).kl(posterior, z)
    loss = reconstruction + control.cost(kl, STEP)
    expected = {"recon": reconstruction, "kl": kl.sum() / 64}
    if further:
        expected["total_correlation"] = total_correlation(z, posterior, 300)
        loss = loss + 2.0 * expected["total_correlation"]
    update(adam(own, Optimisation(RATE)), loss, RATE)
    expected = {name: float(value.detach()) for name, value in {"loss": loss, **expected}.items()}
    assert figures == pytest.approx(expected, rel=1e-5)
    for (name, one), other in zip(module.named_parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(one, other, msg=name)
    control.observe(kl.sum() / 64)
    assert planned.control.weight(STEP) == pytest.approx(control.weight(STEP), rel=1e-6)


@pytest.mark.parametrize("cells", [64, 48])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_explicit_step_takes_the_same_update(objective, cells):
    module, store, planned = parts(objective)
    own, its_plan = copy.deepcopy(module), copy.deepcopy(planned)
    figures = taken(ExplicitStep, module, store, planned, cells=cells, n_cells=64)
    assert figures == pytest.approx(taken(AutogradStep, own, store, its_plan, cells=cells, n_cells=300), rel=1e-5)
    assert planned.control.weight(STEP) == pytest.approx(its_plan.control.weight(STEP), rel=1e-6)
    # Adam's first step is the rate in the direction of the gradient, whatever its size: compare the gradients
    for (name, one), other in zip(module.named_parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-4 * float(other.grad.abs().max()), msg=name)
    for (name, one), other in zip(module.named_buffers(), own.buffers(), strict=True):
        torch.testing.assert_close(one, other, msg=name)


@pytest.mark.parametrize(("start", "plays"), [(5, True), (6, False)])
def test_adversaries_take_part_from_their_start_on(start, plays):
    module, store, planned = parts({"adversary": {"start_steps": start, "ramp": 0.0, "weight": 3.0}})
    adversaries = make_adversaries(planned, module, store, np.arange(300))
    for adversary in adversaries:
        adversary.configure()
    before = copy.deepcopy(adversaries[0].network.state_dict())
    further = ["adversary_loss", "adversary_weight"]
    figures = taken(AutogradStep, module, store, planned, further, n_cells=300, adversaries=adversaries)
    assert figures["adversary_weight"] == (3.0 if plays else 0.0)
    assert (figures["adversary_loss"] > 0) == plays
    bound = figures["recon"] + 0.5 * figures["kl"]
    assert (figures["loss"] > bound + 1e-3) == plays
    after = adversaries[0].network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items()) != plays
