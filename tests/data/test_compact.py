"""A byte for a value that is no count, where a cell's values repeat."""

import numpy as np
import pytest
import scipy.sparse as sp

from omicvae.data.compact import CompactValues
from omicvae.datasets import simulate_counts


def unpacked(values, indptr):
    return values.gather(indptr, np.zeros(len(values), np.uint16), np.arange(len(indptr) - 1))[2]


def rows_of(lengths):
    return np.concatenate([[0], np.cumsum(lengths)])


def test_log_normalised_counts_take_less_than_four_bytes_and_come_back_exactly():
    counts = sp.csr_matrix(simulate_counts(n_cells=400, n_genes=2000, seed=0).X, dtype=np.float32)
    total = np.asarray(counts.sum(1)).ravel()
    x = sp.csr_matrix(sp.diags(1e4 / total) @ counts).astype(np.float32)
    x.data = np.log1p(x.data)
    x.sort_indices()
    values = CompactValues.of(x.data.copy(), x.indptr)
    assert values.stored.dtype == np.uint8
    assert sum(array.nbytes for array in values.arrays) < 2 * x.nnz
    assert np.array_equal(unpacked(values, x.indptr), x.data)


CASES = {
    "a cell of 257 values": ([*range(257), *[0.5] * 9000], [257, 9000]),
    "no value twice": (np.linspace(0.1, 0.9, 1000), [500, 500]),
    "as large as floats": ([1.5, 1.5, 2.5, 2.5], [1, 1, 1, 1]),
    "the cells that are tried first are no example": (
        [*[0.5] * 10, *np.linspace(0.1, 0.9, 4000), *[0.5] * 10],
        [10, 4000, 10],
    ),
}


@pytest.mark.parametrize(("given", "lengths"), CASES.values(), ids=CASES)
def test_values_that_seldom_repeat_stay_floats(given, lengths, monkeypatch):
    monkeypatch.setattr("omicvae.data.compact.TRIED_CELLS", 2)
    given, indptr = np.asarray(given, np.float32), rows_of(lengths)
    values = CompactValues.of(given, indptr)
    assert values.stored.dtype == np.float32
    assert np.array_equal(unpacked(values, indptr), given)


def test_256_values_of_a_cell_empty_cells_and_signs_have_codes():
    given = np.concatenate([np.repeat(np.arange(256) - 100.5, 4), [-7.5] * 5, [0.0, 0.0, -0.0]]).astype(np.float32)
    indptr = rows_of([0, 1024, 0, 5, 3, 0])
    values = CompactValues.of(given, indptr)
    assert values.stored.dtype == np.uint8
    assert (len(values), len(values.tables)) == (len(given), 258)
    assert np.array_equal(unpacked(values, indptr), given)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_nothing_takes_nothing(dtype):
    values = CompactValues.of(np.empty(0, dtype), rows_of([0, 0]))
    assert (len(values), len(values.tables), len(values.large_values)) == (0, 0, 0)
    assert len(unpacked(values, rows_of([0, 0]))) == 0
