import numpy as np
import pytest
from sklearn.metrics import silhouette_samples, silhouette_score

from omicvae._core.errors import DataError
from omicvae.metrics import silhouette, silhouette_batch, silhouette_label


def test_silhouette_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 3, 100)
    embedding = np.eye(3)[codes] + rng.normal(size=(100, 3))
    assert silhouette(embedding, codes) == pytest.approx(silhouette_score(embedding, codes))


def test_silhouette_extremes():
    points = np.repeat([[0.0], [1.0]], 5, axis=0)
    assert silhouette(points, list("aaaaabbbbb")) == 1.0
    # each class lies at the other's cells: a > b everywhere
    assert silhouette(np.array([[0.0], [1.0], [0.0], [1.0]]), list("aabb")) == pytest.approx(-0.5)


def test_bounded_cells_are_reproducible():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 3, 900)
    embedding = np.eye(3)[codes] + rng.normal(size=(900, 3))
    bounded = [silhouette(embedding, codes, max_cells=300, seed=seed) for seed in (0, 0, 1)]
    assert bounded[0] == bounded[1] != bounded[2]
    assert bounded[0] == pytest.approx(silhouette(embedding, codes), abs=0.1)


def test_silhouette_label_is_rescaled(cells):
    embedding, labels, _ = cells
    assert silhouette_label(embedding, labels) == pytest.approx((silhouette_score(embedding, labels) + 1) / 2)
    assert silhouette_label(np.repeat([[0.0], [1.0]], 5, axis=0), list("aaaaabbbbb")) == 1.0


def test_silhouette_batch_is_scibs(cells):
    embedding, labels, batches = cells
    assert silhouette_batch(embedding, labels, batches, seed=0.0) == silhouette_batch(embedding, labels, batches)
    widths = [
        1 - np.abs(silhouette_samples(embedding[labels == label], batches[labels == label])).mean() for label in "abc"
    ]
    assert silhouette_batch(embedding, labels, batches) == pytest.approx(np.mean(widths))


def test_silhouette_batch_extremes():
    labels = np.repeat(["a", "b"], 4)
    batches = np.tile([0, 0, 1, 1], 2)
    apart = np.tile([0.0, 0.0, 9.0, 9.0], 2)[:, None]
    assert silhouette_batch(apart, labels, batches) == 0.0
    assert silhouette_batch(np.zeros((8, 1)), labels, batches) == 1.0


def test_silhouette_batch_leaves_out_what_cannot_be_judged(cells):
    embedding, labels, batches = cells
    whole = silhouette_batch(embedding, labels, batches)
    extra = np.concatenate([embedding, np.full((5, 4), 50.0)])
    one_batch = silhouette_batch(extra, np.append(labels, ["d"] * 5), np.append(batches, [0] * 5))
    assert one_batch == whole
    unknown = silhouette_batch(extra, np.append(labels, ["a"] * 5), np.append(batches.astype(object), [None] * 5))
    assert unknown == whole
    with pytest.raises(DataError, match="at least 2 batches"):
        silhouette_batch(embedding, labels, labels)
    with pytest.raises(DataError, match="of the same cells"):
        silhouette_batch(embedding, labels, batches[:-1])


def test_one_class_is_refused():
    with pytest.raises(DataError, match="at least 2 classes"):
        silhouette(np.zeros((5, 2)), ["a"] * 5)
