import numpy as np
import pandas as pd
import pytest

from omicvae._core import SettingError


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool", "float16"])
def test_out_that_would_cut_expression_off_is_refused(fitted, dtype):
    with pytest.raises(SettingError, match=f"dtype {dtype}"):
        fitted.get_normalized_expression(library_size=1e4, out=np.zeros((120, 30), dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_out_of_a_float_has_the_values(fitted, dtype):
    out = np.zeros((120, 30), dtype)
    assert fitted.get_normalized_expression(library_size=1e4, out=out) is out
    np.testing.assert_array_equal(out, fitted.get_normalized_expression(library_size=1e4, return_numpy=True))


@pytest.mark.parametrize("size", [np.nan, np.inf, 0, -1, -0.5, "large", None, [1.0], True, np.float32(0)])
def test_a_library_is_a_positive_number(fitted, size):
    with pytest.raises(SettingError, match="library_size"):
        fitted.get_normalized_expression(library_size=size)


def test_a_library_may_be_numpys(fitted):
    expected = fitted.get_normalized_expression(library_size=1e4)
    pd.testing.assert_frame_equal(fitted.get_normalized_expression(library_size=np.asarray(10_000)), expected)


@pytest.mark.parametrize("overall", [50, 3])
def test_rows_drawn_over_all_cells_are_an_array_or_a_table(fitted, overall):
    rows = np.arange(20, 30)
    arguments = {"indices": rows, "n_samples_overall": overall}
    array = fitted.get_normalized_expression(**arguments)
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(fitted.get_normalized_expression(**arguments, return_numpy=True), array)
    table = fitted.get_normalized_expression(**arguments, return_numpy=False)
    np.testing.assert_array_equal(table.to_numpy(), array)
    assert list(table.columns) == list(fitted.adata.var_names)
    # each row is nearest to the mean of draws of the cell that it is named after, mostly
    means = fitted.get_normalized_expression(indices=rows)
    own = np.abs(table.to_numpy() - means.loc[table.index].to_numpy()).sum()
    others = np.abs(table.to_numpy() - means.loc[list(reversed(table.index))].to_numpy()).sum()
    assert own < others


def test_draws_apart_are_no_table(fitted):
    assert fitted.get_normalized_expression(n_samples=2, return_mean=False).shape == (2, 120, 30)
    with pytest.raises(SettingError, match="return_mean=False needs an array"):
        fitted.get_normalized_expression(n_samples=2, return_mean=False, return_numpy=False)
