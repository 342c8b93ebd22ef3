import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicvae._core import SettingError
from omicvae.data import minibatch_sizes, train_validation_split


def split(n, seed=0, **kwargs):
    return train_validation_split(n, rng=np.random.default_rng(seed), **kwargs)


@settings(deadline=None, max_examples=200)
@given(
    n=st.integers(1, 400),
    train_size=st.floats(0.01, 1.0),
    n_levels=st.integers(0, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_disjoint_and_covering(n, train_size, n_levels, seed):
    strata = np.random.default_rng(seed).integers(0, n_levels, (n, 2)) if n_levels else None
    train, validation = split(n, seed, train_size=train_size, strata=strata)
    assert train.dtype == validation.dtype == np.int64
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(n))
    assert (np.diff(train) > 0).all()
    assert (np.diff(validation) > 0).all()
    assert len(train) >= 1
    wanted = 0 if train_size == 1 else max(round((1 - train_size) * n), min(10, n // 5))
    assert len(validation) == min(wanted, n - 1)


@pytest.mark.parametrize(
    ("n", "validation"), [(1, 0), (2, 0), (5, 1), (20, 4), (48, 9), (60, 10), (700, 70), (5000, 500)]
)
def test_sizes_make_sense(n, validation):
    assert len(split(n)[1]) == validation
    assert len(split(n, train_size=1.0)[1]) == 0


def test_strata_are_represented_in_proportion():
    strata = np.repeat([0, 1, 2], [500, 300, 200])
    _, validation = split(1000, strata=strata)
    assert np.bincount(strata[validation]).tolist() == [50, 30, 20]


def test_joint_levels_at_48_samples():
    strata = np.stack([np.repeat(np.arange(2), 24), np.tile(np.arange(4), 12)], axis=1)
    _, validation = split(48, strata=strata)
    assert len(np.unique(strata[validation], axis=0)) == 8


def test_every_level_keeps_training_cells():
    strata = np.repeat(np.arange(10), [1, 1, 1, 2, 2, 2, 3, 3, 3, 82])
    for seed in range(20):
        train, validation = split(100, seed, train_size=0.5, strata=strata)
        assert set(strata[train]) == set(range(10))
        assert len(validation) == 50


def test_levels_of_single_cells_still_give_a_validation_set():
    assert len(split(50, strata=np.arange(50))[1]) == 10


def test_same_seed_same_split():
    strata = np.arange(100) % 7
    for one, other in zip(split(100, 3, strata=strata), split(100, 3, strata=strata), strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(split(100, 3)[1], split(100, 4)[1])


@pytest.mark.parametrize("train_size", [0, -0.1, 1.1, "0.9", float("nan"), True, None])
def test_bad_train_size(train_size):
    with pytest.raises(SettingError, match=r"train_size must lie in \(0, 1\]"):
        split(10, train_size=train_size)


def test_bad_shapes():
    with pytest.raises(SettingError, match=r"one row per cell: 10 cells, shape \(9,\)"):
        split(10, strata=np.zeros(9))
    with pytest.raises(SettingError, match="n_cells must be at least 1"):
        split(0)


@settings(deadline=None, max_examples=300)
@given(n=st.integers(1, 5000), batch_size=st.integers(1, 600))
def test_minibatches_are_nearly_equal(n, batch_size):
    sizes = minibatch_sizes(n, batch_size)
    assert sizes.sum() == n
    assert np.ptp(sizes) <= 1
    assert n == 1 or sizes.min() >= 2
    if batch_size >= 3:
        assert sizes.max() <= batch_size
        assert len(sizes) == -(-n // batch_size)


def test_minibatches_by_example():
    assert minibatch_sizes(129, 128).tolist() == [65, 64]
    assert minibatch_sizes(43, 128.0).tolist() == [43]
    assert minibatch_sizes(5, 2).tolist() == [3, 2]
    with pytest.raises(SettingError, match="batch_size must be at least 1"):
        minibatch_sizes(10, 0)
