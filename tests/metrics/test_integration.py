import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import silhouette_samples, silhouette_score

from omicvae._core.errors import DataError, SettingError
from omicvae.metrics import (
    clisi,
    graph_connectivity,
    ilisi,
    lisi,
    pcr,
    pcr_comparison,
    silhouette_batch,
    silhouette_label,
)


@pytest.fixture
def cells():
    """300 cells of 3 labels in 2 batches; the second batch is shifted a little."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    batches = rng.integers(0, 2, 300)
    embedding = 4 * np.eye(4)[labels] + rng.normal(size=(300, 4))
    embedding[:, 3] += batches
    return embedding, np.array(["a", "b", "c"])[labels], batches


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


def test_scores_agree_with_scib_metrics(cells):
    scib = pytest.importorskip("scib_metrics")
    embedding, labels, batches = cells
    from scib_metrics.nearest_neighbors import NeighborsResults
    from sklearn.neighbors import NearestNeighbors

    distances, indices = NearestNeighbors(n_neighbors=90).fit(embedding).kneighbors()
    neighbours = NeighborsResults(indices=indices, distances=distances)
    assert ilisi(embedding, batches) == pytest.approx(scib.ilisi_knn(neighbours, batches), abs=1e-3)
    assert clisi(embedding, labels) == pytest.approx(scib.clisi_knn(neighbours, labels), abs=1e-3)
    assert silhouette_label(embedding, labels) == pytest.approx(scib.silhouette_label(embedding, labels), abs=1e-5)
    theirs = scib.silhouette_batch(embedding, labels, batches)
    assert silhouette_batch(embedding, labels, batches) == pytest.approx(theirs, abs=1e-5)
    after = embedding - 0.7 * np.array([embedding[batches == b].mean(0) for b in (0, 1)])[batches]
    theirs = scib.pcr_comparison(embedding, after, batches, categorical=True)
    assert pcr_comparison(embedding, after, batches).score == pytest.approx(theirs, abs=1e-4)


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


def test_pcr_is_the_regression_of_each_component(cells):
    embedding, labels, batches = cells
    covariate = embedding @ [1.0, 2.0, 0.0, 0.5] + np.random.default_rng(1).normal(size=300)
    scores = PCA().fit_transform(embedding)
    for values, design in (
        (covariate, covariate[:, None]),
        (batches, np.eye(2)[batches]),
        (labels, (labels[:, None] == np.array(["a", "b", "c"])).astype(float)),
    ):
        explained = [LinearRegression().fit(design, score).score(design, score) for score in scores.T]
        assert pcr(embedding, values) == pytest.approx(np.average(explained, weights=scores.var(0)))


def test_pcr_extremes(cells):
    _, labels, _ = cells
    one_hot = (labels[:, None] == np.array(["a", "b", "c"])).astype(float)
    assert pcr(one_hot, labels) == pytest.approx(1.0)
    line = np.linspace(0, 1, 30)
    assert pcr(np.column_stack([line, -2 * line]), line) == pytest.approx(1.0)
    assert pcr(np.cos(np.arange(4) * np.pi)[:, None], np.array([0, 0, 1, 1])) == pytest.approx(0.0)
    # levels that say nothing explain (L − 1) / (N − 1)
    rng = np.random.default_rng(0)
    assert pcr(rng.normal(size=(400, 300)), rng.permutation(np.arange(400) % 10)) == pytest.approx(9 / 399, abs=0.003)


def test_pcr_does_not_depend_on_rotation(cells):
    embedding, _, batches = cells
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    assert pcr(embedding @ rotation, batches) == pytest.approx(pcr(embedding, batches))


def test_pcr_comparison(cells):
    embedding, _, batches = cells
    centred = embedding - np.array([embedding[batches == b].mean(0) for b in (0, 1)])[batches]
    removed = pcr_comparison(embedding, centred, batches)
    assert removed.score == pytest.approx(1.0)
    assert removed.after == pytest.approx(0.0, abs=1e-12)
    assert pcr_comparison(embedding, embedding[:, 3:], batches).score == 0.0
    assert pcr_comparison(embedding, embedding, batches).score == 0.0
    assert removed.to_frame().loc[0].tolist() == [removed.before, removed.after, removed.score]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lisi(np.eye(4), ["a"] * 4, perplexity=2), "at least 2 of them, got 1"),
        (lambda: lisi(np.eye(4), list("aabb")), "needs more labelled cells than that, got 4"),
        (lambda: graph_connectivity(np.eye(2), [None, "a"]), "at least 2 labelled cells, got 1"),
        (lambda: pcr(np.ones((4, 2)), list("aabb")), "embedding is constant"),
        (lambda: pcr(np.eye(4), list("aaaa")), "same in all 4 cells"),
        (lambda: pcr(np.eye(4), np.eye(4)), "one-dimensional"),
        (lambda: pcr(np.eye(3), list("aabb")), "a row for each of the 4"),
        (lambda: pcr_comparison(np.array([[1.0], [-1.0]] * 2), np.eye(4), list("aabb")), "nothing to remove"),
    ],
)
def test_unusable_input_is_explained(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_perplexity_is_checked():
    with pytest.raises(SettingError, match="perplexity must be at least 1"):
        lisi(np.eye(4), list("aabb"), perplexity=0.5)
