"""Noise that belongs to a cell, and torch's samplers made to draw from a generator of our own."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as D

from omicvae._core.noise import DrawingByCell, DrawingFrom, cell_noise, cell_streams


def test_the_noise_of_a_cell_is_normal_and_depends_on_no_other_cell():
    rows = np.arange(20_000)
    noise = cell_noise(rows, 10, seed=3)
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(noise.T) - np.eye(10)).max() < 0.03
    assert abs(np.corrcoef(noise[1:, 0], noise[:-1, 0])[0, 1]) < 0.03
    some = np.random.default_rng(0).permutation(rows)[:100]
    np.testing.assert_array_equal(cell_noise(some, 10, seed=3), noise[some])
    np.testing.assert_array_equal(cell_noise(some, 4, seed=3), noise[some, :4])
    for other in (cell_noise(rows, 10, seed=4), cell_noise(rows, 10, seed=3, draw=1)):
        assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.01
    assert len(np.unique(cell_streams(rows, 3))) == len(rows)
    assert np.isfinite(cell_noise(np.array([2**62]), 3, seed=2**63 - 1, draw=10**6)).all()


def zero_inflated():
    from pyro.distributions import ZeroInflatedDistribution

    return ZeroInflatedDistribution(
        D.NegativeBinomial(torch.full((6, 50), 2.0), torch.tensor(0.4)), gate_logits=torch.zeros(6, 50)
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: D.Normal(torch.zeros(6, 50), torch.ones(6, 50)),
        lambda: D.Bernoulli(logits=torch.zeros(6, 50)),
        lambda: D.Poisson(torch.full((6, 50), 3.0)),
        lambda: D.NegativeBinomial(torch.full((6, 50), 2.0), torch.tensor(0.4)),
        lambda: D.StudentT(torch.full((6, 50), 4.0), torch.zeros(6, 50), torch.ones(6, 50)),
        zero_inflated,
    ],
)
def test_distributions_draw_from_what_they_are_given_and_leave_the_global_generator_alone(make):
    before = torch.get_rng_state()
    whole, rows = make(), np.arange(6)
    with DrawingByCell(cell_streams(rows, 5), torch.device("cpu")):
        x = whole.sample()
    with DrawingFrom(torch.Generator().manual_seed(1)):
        y = whole.sample()
    with DrawingFrom(torch.Generator().manual_seed(1)):
        torch.testing.assert_close(whole.sample(), y, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)
    with DrawingByCell(cell_streams(rows[::-1], 5), torch.device("cpu")):
        torch.testing.assert_close(whole.sample().flip(0), x, rtol=0, atol=0)
    assert len({tuple(row.tolist()) for row in x}) == 6


def test_new_layers_draw_from_what_they_are_given():
    torch.manual_seed(7)
    layers = (torch.nn.Linear(5, 4), torch.nn.Embedding(3, 2))
    expected = [p for layer in layers for p in layer.parameters()]
    before = torch.get_rng_state()
    with DrawingFrom(torch.Generator().manual_seed(7)):
        layers = (torch.nn.Linear(5, 4), torch.nn.Embedding(3, 2))
    found = [p for layer in layers for p in layer.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
