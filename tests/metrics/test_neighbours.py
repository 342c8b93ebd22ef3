import numpy as np
import pytest

from omicvae._core.errors import DataError
from omicvae.metrics import graph_connectivity, neighbourhood_purity, purity_by_chance, silhouette


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


def test_graph_connectivity_counts_the_largest_piece():
    # a: three cells together and one among the b's, which it cuts in two
    embedding = np.array([[0.0], [0.1], [0.2], [10.1], [9.9], [10.0], [10.2], [10.3]])
    labels = list("aaaabbbb")
    assert graph_connectivity(embedding, labels, k=2) == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert graph_connectivity(embedding, labels, k=3) == pytest.approx((3 / 4 + 4 / 4) / 2)
    assert graph_connectivity(embedding, labels, k=50) == 1.0


def test_graph_connectivity_takes_an_edge_in_either_direction():
    # with k = 1 the last cell names the second, and nobody names it
    assert graph_connectivity(np.array([[0.0], [1.0], [2.5]]), list("aaa"), k=1) == 1.0


def test_graph_connectivity_of_scattered_labels():
    pairs = np.repeat(np.arange(10.0) * 50, 2)[:, None] + np.tile([0.0, 1.0], 10)[:, None]
    assert graph_connectivity(pairs, np.tile(["a", "b"], 10), k=1) == pytest.approx(1 / 10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: graph_connectivity(np.eye(2), [None, "a"]), "at least 2 labelled cells, got 1"),
        (lambda: neighbourhood_purity(np.zeros((2, 2)), [None, "a"]), "at least 2 labelled cells"),
        (lambda: purity_by_chance(["a"]), "at least 2 labelled cells"),
    ],
)
def test_unusable_input_is_explained(call, message):
    with pytest.raises(DataError, match=message):
        call()
