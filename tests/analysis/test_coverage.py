"""How far out cells lie, and what share of them is outside."""

import numpy as np
import pytest

from omicvae.analysis import MappedCells, coverage
from omicvae.analysis.coverage import outside_probability, upper_tail


def cells(mean, groups, misfit=1.0):
    """Cells of unit noise."""
    return MappedCells(mean, np.ones_like(mean), np.full(len(mean), misfit), groups)


def test_tails_are_shares():
    np.testing.assert_allclose(upper_tail(np.arange(9), np.array([-1, 4, 8, 9])), [1.0, 0.6, 0.2, 0.1])


def test_uniform_p_values_are_inside():
    p = np.random.default_rng(0).uniform(size=4000)
    assert outside_probability(p).mean() < 0.04


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_share_of_small_p_values_is_found(share):
    rng = np.random.default_rng(1)
    outside = rng.uniform(size=4000) < share
    p = np.where(outside, rng.uniform(0, 0.01, 4000), rng.uniform(size=4000))
    probability = outside_probability(p)
    assert probability.mean() == pytest.approx(share, abs=0.04)
    assert probability[outside].mean() > 0.85
    assert (np.diff(probability[np.argsort(p)]) <= 1e-12).all()  # falls with p


def test_a_group_apart_is_outside_and_the_rest_is_not():
    rng = np.random.default_rng(2)
    reference = cells(rng.normal(size=(900, 4)) * 3, np.repeat([0, 1, 2], 300))
    mean = rng.normal(size=(400, 4)) * 3
    mean[:80] = rng.normal(size=(80, 4)) + 15
    found = coverage(reference, cells(mean, np.zeros(400)))
    assert found.outside_N[:80].mean() > 0.9
    assert found.outside_N[80:].mean() < 0.1
    assert found.share_outside == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize("n_reference", [1, 3, 200])
@pytest.mark.parametrize("n_query", [1, 5])
def test_few_cells_give_numbers(n_reference, n_query):
    rng = np.random.default_rng(4)
    reference = cells(rng.normal(size=(n_reference, 2)), np.arange(n_reference) % 2)
    found = coverage(reference, cells(rng.normal(size=(n_query, 2)), np.zeros(n_query)))
    for values in (found.distance_N, found.p_value_N, found.outside_N):
        assert np.isfinite(values).all()
    assert 0 <= found.share_outside <= 1


def test_a_few_cells_prove_little():
    """One cell that 9 % of the reference lies beyond is no finding, nor are sixteen that share a neighbourhood."""
    for n in (1, 16):
        by_chance = 16 * n
        assert outside_probability(np.full(n, 0.09), by_chance).mean() < 0.6
        assert outside_probability(np.full(n, 0.001), by_chance).mean() > 0.9
    assert outside_probability(np.full(4000, 0.09), 256).mean() > 0.9


def test_small_batches_are_looked_at_together():
    rng = np.random.default_rng(5)
    reference = cells(rng.normal(size=(200, 3)), np.arange(200) // 5)  # none has a tail of its own
    mean = rng.normal(size=(300, 3))
    mean[:150] += 30
    found = coverage(reference, cells(mean, np.zeros(300)))
    assert found.outside_N[:150].mean() > 0.9
    assert found.outside_N[150:].mean() < 0.1
