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
    check = umap_check({"posterior draw": draw, "means": tiny, "PCA": means}, labels, seed=0)
    assert check is not None
    assert check.scores["representation"].tolist() == ["posterior draw", "means", "PCA"]
    assert (check.scores["n_cells"] == 180).all()
    scores = check.scores.set_index("representation")
    assert scores["purity"]["means"] > 0.95
    assert scores["purity"]["PCA"] > 0.95
    assert scores["purity"]["posterior draw"] == pytest.approx(scores["purity_by_chance"]["PCA"], abs=0.15)
    assert scores["silhouette"]["means"] > 0.3 > scores["silhouette"]["posterior draw"]
    assert check.to_frame()["check"].tolist() == [f"UMAP of {name}, purity" for name in ("draw", "means", "PCA")]


def test_umap_check_needs_two_classes_and_ten_cells(types):
    means, labels = types
    assert umap_check({"means": means}, np.full(180, "a", dtype=object)) is None
    few = [0, 1, 60, 61]
    assert umap_check({"means": means[few]}, labels[few]) is None


def test_umap_is_bounded_by_seeded_cells(types):
    means, labels = types
    check = umap_check({"means": means, "the same": means}, labels, max_cells=60)
    assert check is not None
    assert (check.scores["n_cells"] == 60).all()
    assert check.scores["purity"].nunique() == check.scores["silhouette"].nunique() == 1


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
