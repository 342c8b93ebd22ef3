import numpy as np
import pytest

from omicvae._core.errors import DataError
from omicvae.metrics import kmeans_classes


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
