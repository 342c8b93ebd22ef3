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


def test_levels_of_five_cells_come_first_when_few_cells_validate():
    # 10 of 200 validate: shares 4.65, 4.65, 0.25, 0.25, 0.2; the two that are left go to the levels of five cells
    strata = np.repeat(np.arange(5), [93, 93, 5, 5, 4])
    for seed in range(5):
        _, validation = split(200, seed, train_size=0.95, strata=strata)
        assert np.bincount(strata[validation], minlength=5).tolist() == [4, 4, 1, 1, 0]


def test_what_is_left_goes_to_the_largest_remainders_and_ties_are_drawn():
    # 11 of 110 validate: shares 4.5, 4.2, 2.3
    strata = np.repeat(np.arange(3), [45, 42, 23])
    assert np.bincount(strata[split(110, strata=strata)[1]]).tolist() == [5, 4, 2]
    tied = np.repeat(np.arange(2), [15, 15])  # shares 1.5 of 3, but min(10, 30 // 5) = 6 validate
    assert np.bincount(tied[split(30, strata=tied)[1]]).tolist() == [3, 3]
    tied = np.repeat(np.arange(2), [25, 25])
    drawn = {tuple(np.bincount(tied[split(50, seed, train_size=0.78, strata=tied)[1]])) for seed in range(20)}
    assert drawn == {(5, 6), (6, 5)}


def test_the_cells_that_validate_are_drawn_from_the_whole_of_their_level():
    seen = np.concatenate([split(30, seed, strata=np.repeat([0, 1], 15))[1] for seed in range(60)])
    assert set(seen) == set(range(30))


def test_strata_may_be_empty_or_a_single_column():
    for nothing in (None, np.zeros((50, 0)), []):
        assert np.array_equal(split(50, strata=nothing)[1], split(50)[1])
    column = np.arange(50) % 3
    assert np.array_equal(split(50, strata=column)[1], split(50, strata=column[:, None])[1])
    with pytest.raises(SettingError, match=r"shape \(50, 1, 1\)"):
        split(50, strata=np.zeros((50, 1, 1)))


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
    for call in (lambda: split(0), lambda: minibatch_sizes(0, 10)):
        with pytest.raises(SettingError, match="n_cells must be at least 1"):
            call()


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
    assert minibatch_sizes(8, 1).tolist() == [2, 2, 2, 2]
    assert minibatch_sizes(11, 4).tolist() == [4, 4, 3]
    assert [minibatch_sizes(n, 9).tolist() for n in (1, 2, 3)] == [[1], [2], [3]]
    with pytest.raises(SettingError, match="batch_size must be at least 1"):
        minibatch_sizes(10, 0)
