"""Raw bytes of R become the matrix that they are, and results become bytes."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from omicvae._core import SettingError
from omicvae.r_bridge import Cells, transfer
from omicvae.r_bridge.transfer import column_of, dense, genes_by_cells, table

GENES, CELLS = ["g1", "g2", "g3"], ["c1", "c2", "c3", "c4"]


@pytest.fixture
def x_NG():
    return np.array([[0, 3, 0.5], [1, 0, 0], [2, 7, 0], [0, 0, 4]])


def as_bytes(values, kind):
    return bytearray(np.asarray(values, transfer.NUMBERS[kind]))


def sparse_cells(x_NG, blocks):
    """Send as R does: the slots of the genes × cells matrix, by blocks of its columns."""
    cells = Cells(GENES, CELLS)
    for rows in np.split(np.arange(len(x_NG)), blocks):
        part = sp.csc_matrix(x_NG[rows].T)
        cells.add_sparse(
            as_bytes(part.data, "double"), as_bytes(part.indices, "integer"), as_bytes(part.indptr, "integer")
        )
    return cells


@pytest.mark.parametrize("blocks", [[], [2], [1, 2, 3]])
def test_a_sparse_matrix_arrives_as_it_is(x_NG, blocks):
    adata = sparse_cells(x_NG, blocks).anndata()
    assert sp.issparse(adata.X)
    np.testing.assert_array_equal(adata.X.toarray(), x_NG)
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == GENES


@pytest.mark.parametrize(("value", "dtype"), [(5.0, np.float32), (2.0**24 + 1, np.float64), (0.1, np.float64)])
def test_values_that_are_short_take_half_of_the_memory(x_NG, value, dtype):
    x_NG[0, 1] = value
    adata = sparse_cells(x_NG, [2]).anndata()
    assert adata.X.dtype == dtype
    assert adata.X[0, 1] == value


def test_missing_values_stay_missing(x_NG):
    x_NG[0, 1] = np.nan
    assert np.isnan(sparse_cells(x_NG, [2]).anndata().X[0, 1])


@pytest.mark.parametrize("kinds", [("double", "double"), ("integer", "integer"), ("integer", "double")])
def test_an_ordinary_matrix_arrives_as_it_is(x_NG, kinds):
    x_NG = np.floor(x_NG)
    cells = Cells(GENES, CELLS)
    for rows, kind in zip((slice(0, 1), slice(1, 4)), kinds, strict=True):
        cells.add_dense(as_bytes(x_NG[rows], kind), kind)
    adata = cells.anndata()
    np.testing.assert_array_equal(adata.X, x_NG)
    assert adata.X.dtype == (np.int32 if kinds == ("integer", "integer") else np.float64)


def test_a_vector_of_one_name_arrives_as_text():
    cells = Cells("gene", "cell")
    cells.add_dense(as_bytes([3], "double"), "double")
    assert list(cells.anndata().var_names) == ["gene"]


def test_columns():
    text = {"kind": "text", "data": as_bytes([1, -1, 0], "integer"), "levels": ["a", "β"]}
    np.testing.assert_array_equal(pd.isna(column_of(text)), [False, True, False])
    assert list(column_of(text).categories) == ["a", "β"]
    assert column_of({"kind": "logical", "data": as_bytes([0, 1], "integer")}).tolist() == [False, True]
    assert column_of({"kind": "integer", "data": as_bytes([2, 1], "integer")}).dtype == np.int32
    assert column_of({"kind": "double", "data": as_bytes([0.5], "double")}).tolist() == [0.5]


def test_a_matrix_has_the_bytes_of_r_s_column_order():
    array = dense(np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    assert (array["dim"], array["size"]) == ([2, 3], 4)
    np.testing.assert_array_equal(np.frombuffer(array["data"], np.float32), [1, 4, 2, 5, 3, 6])
    assert dense(np.array([[1, 2]]))["size"] == 8


def test_what_no_raw_vector_holds_is_refused(monkeypatch):
    monkeypatch.setattr(transfer, "LARGEST", 15)
    with pytest.raises(SettingError, match=r"2 × 2 values.*Ask for some cells or genes at a time"):
        dense(np.zeros((2, 2), np.float32))


def test_sparse_results_have_sorted_slots():
    csr = sp.csr_matrix((np.array([5.0, 3.0]), np.array([2, 0]), np.array([0, 2, 2])), shape=(2, 3))
    found = genes_by_cells(csr)
    assert found["dim"] == [3, 2]
    assert np.frombuffer(found["genes"], np.int32).tolist() == [0, 2]
    assert np.frombuffer(found["values"]).tolist() == [3, 5]
    assert np.frombuffer(found["ends"], np.int32).tolist() == [0, 2, 2]


def test_kinds_of_columns():
    frame = pd.DataFrame(
        {
            "whole": [1, 2],
            "large": [2**40, 1],
            "real": [0.5, np.nan],
            "flag": [True, False],
            "unsure": [None, True],
            "nothing": [None, None],
            "text": ["b", None],
            "factor": pd.Categorical(["y", "x"], categories=["y", "x", "z"]),
        }
    )
    columns = table(frame)["columns"]
    kinds = {name: column["kind"] for name, column in columns.items()}
    assert list(kinds.values()) == ["integer", "double", "double", *["logical"] * 3, "text", "factor"]
    assert np.frombuffer(columns["unsure"]["data"], np.int32).tolist() == [-(2**31), 1]
    assert np.frombuffer(columns["text"]["data"], np.int32).tolist() == [0, -1]
    assert columns["factor"]["levels"] == ["y", "x", "z"]


def test_row_names_are_those_that_mean_something():
    assert table(pd.DataFrame({"a": [1]}, index=["gene"]))["row_names"] == ["gene"]
    assert table(pd.DataFrame({"a": [1]}))["row_names"] is None
