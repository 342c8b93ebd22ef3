import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from omicvae._core.errors import DataError
from omicvae.metrics import pcr, pcr_comparison


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
