import numpy as np
import pytest

from omicvae.diagnostics import umap_check, umap_coordinates


@pytest.fixture(scope="module")
def types():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], 60)
    means = 8 * np.eye(6)[codes] + 0.3 * rng.normal(size=(180, 6))
    return means, np.array(["a", "b", "c"], dtype=object)[codes]


def test_umap_check_tells_a_useless_draw_from_means_that_flatter(types):
    means, labels = types
    # a collapsed posterior: means differ by a thousandth of its SD
    tiny = 1e-3 * means
    draw = tiny + np.random.default_rng(1).normal(size=means.shape)
    check = umap_check(draw, tiny, means, labels_N=labels, seed=0)
    assert check is not None
    assert check.means.purity > 0.95
    assert check.reference.purity > 0.95
    assert check.draw.purity == pytest.approx(check.chance, abs=0.15)
    assert check.means.silhouette > 0.3 > check.draw.silhouette
    table = check.to_frame()
    assert table["representation"].tolist() == ["posterior draw", "means", "PCA"]
    assert check.n_cells == 180


def test_umap_check_needs_two_classes_and_ten_cells(types):
    means, labels = types
    assert umap_check(means, means, means, labels_N=np.full(180, "a", dtype=object)) is None
    few = [0, 1, 60, 61]
    assert umap_check(means[few], means[few], means[few], labels_N=labels[few]) is None


def test_umap_is_bounded_by_seeded_cells(types):
    means, labels = types
    check = umap_check(means, means, means, labels_N=labels, max_cells=60)
    assert check is not None
    assert check.n_cells == 60
    assert check.draw == check.means == check.reference


@pytest.mark.parametrize("shape", [(12, 1), (40, 2), (30, 5)])
def test_umap_coordinates_of_small_and_narrow_data_are_reproducible(shape):
    features = np.random.default_rng(0).normal(size=shape)
    before = features.copy()
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what must not move
    first = umap_coordinates(features, seed=4)
    assert first.shape == (shape[0], 2)
    assert np.isfinite(first).all()
    assert (first == umap_coordinates(features, seed=4)).all()
    assert (features == before).all()
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
