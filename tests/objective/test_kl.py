import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omicvae.objective.kl import WeightedKL, regularised_kl
from omicvae.objective.schedules import SCHEDULES

KL = torch.tensor([[0.0, 0.4, 2.0], [0.2, 0.0, 4.0]])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("dimension", 0.5 + 0.5 + 3.0),  # means 0.1, 0.2, 3.0
        ("cell", (0.5 + 0.5 + 2.0 + 0.5 + 0.5 + 4.0) / 2),
        ("total", 3.3),  # mean total 3.3 is above 3 · 0.5
    ],
)
def test_free_bits_by_hand(mode, expected):
    assert float(regularised_kl(KL, free_bits=0.5, mode=mode)) == pytest.approx(expected)


def test_total_free_bits_act_below_their_sum():
    assert float(regularised_kl(KL, free_bits=2.0, mode="total")) == pytest.approx(6.0)


@given(st.floats(0, 5), st.sampled_from(["dimension", "cell", "total"]))
def test_free_bits_never_lower_the_kl_and_vanish_at_zero(nats, mode):
    raw = float(regularised_kl(KL, free_bits=0.0, mode=mode))
    assert raw == pytest.approx(3.3)
    assert float(regularised_kl(KL, free_bits=nats, mode=mode)) >= raw - 1e-6


def test_no_gradient_flows_below_the_free_bits():
    kl = KL.clone().requires_grad_()
    regularised_kl(kl, free_bits=0.5, mode="dimension").backward()
    assert torch.equal(kl.grad, torch.tensor([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5]]))


def test_the_cost_is_the_weighted_kl_with_its_free_bits():
    control = WeightedKL(SCHEDULES["constant"](10, 0, 1, None), beta=2.0, free_bits=0.5)
    assert float(control.cost(KL, 0)) == pytest.approx(2 * 4.0)
