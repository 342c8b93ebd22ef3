"""Votes of neighbours, and what their confidence is worth."""

import numpy as np
import pytest

from omicvae.analysis import NeighbourLabels, calibration_error


def two_types(n, seed, shift=0.0):
    """Two types that overlap, in three batches."""
    rng = np.random.default_rng(seed)
    codes = (rng.uniform(size=n) < 0.3).astype(int)
    return rng.normal(size=(n, 3)) + 1.5 * codes[:, None] + shift, np.array(["a", "b"])[codes], rng.integers(0, 3, n)


def test_confidence_is_the_share_that_is_right():
    votes = NeighbourLabels.fit(*two_types(3000, 0))
    z, truth, _ = two_types(3000, 1)
    p = votes.probabilities(z)
    np.testing.assert_allclose(p.sum(1), 1)
    right = np.array(votes.classes)[p.argmax(1)] == truth
    assert right.mean() > 0.8
    assert calibration_error(votes.confidence(p), right) < 0.02
    assert calibration_error(np.ones(len(right)), right) > 0.06  # what no calibration gives


def test_calibration_error_by_hand():
    assert calibration_error([0.95, 0.95, 0.15, 0.15], [1, 0, 0, 0]) == pytest.approx(0.5 * 0.45 + 0.5 * 0.15)


@pytest.mark.parametrize("n", [1, 2, 10])
def test_few_cells_and_one_batch(n):
    z, labels, _ = two_types(n, 2)
    votes = NeighbourLabels.fit(z, labels, np.zeros(n))
    p = votes.probabilities(z)
    assert np.isfinite(votes.confidence(p)).all()
