"""What c is made of, as named covariates: for the model without z, and for the groups that z is permuted within."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from omicvae._core import DataError
from omicvae.metrics.labels import Array
from omicvae.readers.callables import as_array


def named_covariates(
    given: Any, n_cells: int, continuous: Iterable[str] = ()
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return categorical and continuous covariates by name.

    Columns of real numbers with fractions are continuous, as are those that are named so; all others are categorical.
    Side by side one-hot columns are the factor that they encode.

    Parameters
    ----------
    given
        A DataFrame, a dict of columns, or an array (N,) or (N, C); None for none.

    Raises
    ------
    DataError
        Where there is not one row a cell, or a name of ``continuous`` is no column.
    """
    columns = {} if given is None else dict(_columns(given))
    for name, values in columns.items():
        if len(values) != n_cells:
            raise DataError(f"covariates need one row for each of the {n_cells} cells, but {name!r} has {len(values)}.")
    if unknown := sorted(set(continuous) - set(columns)):
        raise DataError(f"continuous names {unknown}, and the covariates are {sorted(columns)}.")
    numbers = {name for name, values in columns.items() if name in continuous or _has_fractions(values)}
    return (
        {name: values for name, values in columns.items() if name not in numbers},
        {name: values.astype(np.float64) for name, values in columns.items() if name in numbers},
    )


def _columns(given: Any) -> Iterable[tuple[str, Array]]:
    if isinstance(given, pd.DataFrame):
        return ((str(name), column.to_numpy()) for name, column in given.items())
    if isinstance(given, Mapping):
        return (pair for name, part in given.items() for pair in _of_array(as_array(part), str(name)))
    if isinstance(given, pd.Series):
        return [(str(given.name or "covariate"), given.to_numpy())]
    return _of_array(as_array(given), "covariate")


def _of_array(values: Array, name: str) -> Iterable[tuple[str, Array]]:
    """Columns of an array; consecutive 0/1 columns that add up to 1 in every cell are one factor."""
    if values.ndim == 1 or values.shape[1] == 1:
        return [(name, values.reshape(len(values)))]
    found: list[Array] = []
    start = 0
    while start < values.shape[1]:
        stop = _end_of_one_hot(values[:, start:]) + start
        found.append(values[:, start:stop].argmax(axis=1) if stop > start + 1 else values[:, start])
        start = stop
    return [(name if len(found) == 1 else f"{name} {i}", column) for i, column in enumerate(found, start=1)]


def _end_of_one_hot(values: Array) -> int:
    """How many of the first columns are the one-hot code of a factor; 1 where they are none."""
    binary = np.isin(values, (0, 1)).all(axis=0)
    n_binary = values.shape[1] if binary.all() else int(np.argmin(binary))
    ends = np.flatnonzero((values[:, :n_binary].astype(np.float64).cumsum(axis=1) == 1).all(axis=0))
    return int(ends[0]) + 1 if len(ends) and ends[0] > 0 else 1


def _has_fractions(values: Array) -> bool:
    return values.dtype.kind == "f" and bool((values != np.rint(values)).any())
