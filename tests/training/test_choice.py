import numpy as np
import pytest
import torch

from omicvae.training.adam import adam
from omicvae.training.autograd_step import AutogradStep
from omicvae.training.budget import Optimisation
from omicvae.training.choice import choose_step
from omicvae.training.explicit_step import ExplicitStep
from omicvae.training.step import StepTotals

from .small_fits import parts


def chosen(settings=None, *, sizes=(64, 64), precision="32-true", freeze=False, **objective):
    """The class of the step that a fit takes, and why."""
    module, store, scheduled = parts(objective, **(settings or {}))
    module.encoder.mean.weight.requires_grad_(not freeze)
    step, reason = choose_step(module, adam(module, Optimisation(1e-3)), scheduled, store, sizes, precision=precision)
    return type(step), reason


@pytest.mark.parametrize(
    "given",
    [{}, {"settings": {"n_layers": 3}}, {"free_bits": 0.5}, {"capacity": 5.0}, {"target_rate": 5.0}],
)
def test_usual_fits_take_the_explicit_step(given):
    assert chosen(**given) == (ExplicitStep, "explicit step")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"settings": {"normalization": "none"}}, "no normalisation has no explicit form"),
        ({"settings": {"normalization": "layer"}}, "layer normalisation has no explicit form"),
        ({"settings": {"activation": "tanh"}}, "the activation Tanh has no explicit form"),
        ({"settings": {"activation": "leaky_relu"}}, "the activation LeakyReLU has no explicit form"),
        ({"settings": {"covariate_encoding": "embedding"}}, "the covariates' encoding is learned"),
        ({"settings": {"prior": "conditional"}}, "the prior ConditionalNormal has no explicit form"),
        ({"settings": {"prior": "vamp"}}, "the prior VampPrior has no explicit form"),
        ({"total_correlation": 1.0}, "total correlation beside the bound"),
        ({"adversary": {}}, "adversary beside the bound"),
        ({"sizes": (64, 1)}, "a minibatch of one cell"),
        ({"precision": "bf16-mixed"}, "precision bf16-mixed has no explicit form"),
        ({"freeze": True}, "some weights are frozen"),
    ],
)
def test_other_fits_take_the_autograd_step_and_say_why(given, why):
    assert chosen(**given) == (AutogradStep, f"autograd step: {why}")


def test_products_in_bfloat16_are_named():
    module, store, scheduled = parts()
    optimizer = adam(module, Optimisation(1e-3))
    step, reason = choose_step(module, optimizer, scheduled, store, [64, 32], bfloat16_products=True)
    assert reason == "explicit step, products with genes' weights in bfloat16"
    (good,) = step.parts(store.batch(np.arange(64)), [64])  # the largest minibatch has its place
    step(good, 0, 1e-3, StepTotals(torch.device("cpu")))


def test_weights_of_another_precision_have_no_explicit_form():
    module, store, scheduled = parts()
    module.decoder.double()
    step, reason = choose_step(module, adam(module, Optimisation(1e-3)), scheduled, store, [64, 32])
    assert (type(step), reason) == (AutogradStep, "autograd step: precision 32-true has no explicit form")
    assert step.n_cells == 96
