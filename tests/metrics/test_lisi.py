import numpy as np
import pytest
from scipy.optimize import brentq

from omicvae._core.errors import DataError, SettingError
from omicvae.metrics import clisi, ilisi, lisi


def lisi_of_one_cell(distances, labels, perplexity):
    """LISI from a root finder and a loop."""

    def weights(beta):
        w = np.exp(-beta * (distances - distances.min()))
        return w / w.sum()

    def excess(beta):
        p = weights(beta)
        return -(p * np.log(p, out=np.zeros_like(p), where=p > 0)).sum() - np.log(perplexity)

    p = weights(brentq(excess, 1e-9, 1e3, xtol=1e-14))
    return 1 / sum(p[labels == label].sum() ** 2 for label in np.unique(labels))


def test_lisi_is_that_of_a_root_finder(cells):
    embedding, labels, _ = cells
    values = lisi(embedding, labels, perplexity=10)
    for cell in range(0, 300, 37):
        distances = np.linalg.norm(embedding - embedding[cell], axis=1)
        near = np.argsort(distances)[1:31]
        assert values[cell] == pytest.approx(lisi_of_one_cell(distances[near], labels[near], 10), rel=1e-6)


def test_lisi_of_a_few_cells_by_hand():
    # perplexity = neighbours: all other cells weigh the same. a sees (1, 2) of 3: 1 / (1/9 + 4/9)
    values = lisi(np.array([[0.0], [1.0], [3.0], [7.0]]), list("aabb"), perplexity=3)
    np.testing.assert_allclose(values, 9 / 5)
    # perplexity 1: the nearest alone
    values = lisi(np.array([[0.0], [1.0], [5.0], [6.0]]), list("aabb"), perplexity=1)
    np.testing.assert_allclose(values, 1.0, atol=1e-6)


def test_lisi_extremes():
    islands = np.repeat([0.0, 1e4], 50)[:, None] + np.random.default_rng(0).normal(size=(100, 1))
    sides = np.repeat(["left", "right"], 50)
    assert ilisi(islands, sides, perplexity=10) == pytest.approx(0.0, abs=1e-9)
    assert clisi(islands, sides, perplexity=10) == pytest.approx(1.0, abs=1e-9)
    # all cells in one place, all neighbours alike
    codes = np.tile([0, 1], 300)
    assert ilisi(np.zeros((600, 2)), codes, perplexity=599) == pytest.approx(1.0, abs=1e-4)
    assert clisi(np.zeros((600, 2)), codes, perplexity=599) == pytest.approx(0.0, abs=1e-4)


def test_ilisi_of_mixed_batches_of_unequal_size():
    rng = np.random.default_rng(0)
    batches = rng.choice(3, 3000, p=[0.6, 0.3, 0.1])
    expected = (1 / (0.46 + 0.54 / 30) - 1) / 2
    assert ilisi(rng.normal(size=(3000, 2)), batches) == pytest.approx(expected, abs=0.03)


def test_missing_labels_have_no_lisi(cells):
    embedding, labels, _ = cells
    labels = labels.astype(object)
    labels[:10] = None
    values = lisi(embedding, labels, perplexity=5)
    assert np.isnan(values[:10]).all()
    np.testing.assert_allclose(values[10:], lisi(embedding[10:], labels[10:], perplexity=5))


def test_perplexity_is_checked():
    with pytest.raises(SettingError, match="perplexity must be at least 1"):
        lisi(np.eye(4), list("aabb"), perplexity=0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lisi(np.eye(4), ["a"] * 4, perplexity=2), "at least 2 of them, got 1"),
        (lambda: lisi(np.eye(4), list("aabb")), "needs more labelled cells than that, got 4"),
    ],
)
def test_unusable_input_is_explained(call, message):
    with pytest.raises(DataError, match=message):
        call()
