import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from omicvae._core.errors import DataError
from omicvae.metrics import kmeans_classes, neighbourhood_purity, purity_by_chance, silhouette


def two_islands(n=30):
    rng = np.random.default_rng(0)
    return np.repeat([[0.0, 0.0], [100.0, 0.0]], n, axis=0) + rng.normal(size=(2 * n, 2)), np.repeat(["a", "b"], n)


def test_purity_is_exactly_one_on_islands():
    assert neighbourhood_purity(*two_islands()) == 1.0


def test_purity_is_exactly_zero_where_every_neighbour_is_of_another_class():
    pairs = np.repeat(np.arange(10.0) * 50, 2)[:, None] + np.tile([0.0, 1.0], 10)[:, None]
    assert neighbourhood_purity(pairs, np.tile(["a", "b"], 10), k=1) == 0.0


def test_purity_of_a_random_embedding_is_near_chance():
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b", "c"], 2000, p=[0.6, 0.3, 0.1])
    purity = neighbourhood_purity(rng.normal(size=(2000, 2)), labels)
    assert purity == pytest.approx(purity_by_chance(labels), abs=0.02)
    assert purity_by_chance(labels) == pytest.approx(0.36 + 0.09 + 0.01, abs=0.03)


def test_purity_counts_duplicates_but_never_the_cell_itself():
    embedding = np.zeros((6, 2))
    assert neighbourhood_purity(embedding, list("aaabbb"), k=5) == pytest.approx(2 / 5)


def test_purity_takes_k_beyond_the_cells():
    assert neighbourhood_purity(np.arange(4.0)[:, None], list("aabb"), k=50) == pytest.approx(1 / 3)


def test_missing_labels_take_no_part():
    embedding, labels = two_islands()
    labels = labels.astype(object)
    labels[::7] = None
    assert neighbourhood_purity(embedding, labels) == 1.0
    assert silhouette(embedding, labels) > 0.9


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


def test_unusable_input_is_explained():
    with pytest.raises(DataError, match="at least 2 classes"):
        silhouette(np.zeros((5, 2)), ["a"] * 5)
    with pytest.raises(DataError, match="at least 2 labelled cells"):
        neighbourhood_purity(np.zeros((2, 2)), [None, "a"])


def test_kmeans_classes_find_islands_and_are_named_by_size():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [20, 50, 80])
    features = 30 * np.eye(40)[truth] + rng.normal(size=(150, 40))
    groups = kmeans_classes(features, 3, np.random.default_rng(0))
    assert [set(groups[truth == code]) for code in (2, 1, 0)] == [{"k0"}, {"k1"}, {"k2"}]
    again = kmeans_classes(features, 3, np.random.default_rng(0))
    assert (groups == again).all()


def test_kmeans_classes_need_cells():
    with pytest.raises(DataError, match="5 classes need at least as many cells, got 3"):
        kmeans_classes(np.eye(3), 5, np.random.default_rng(0))
