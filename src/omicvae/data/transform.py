"""Covariates that the user names: the same for every cell in place of its own, or one for each of N points."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from omicvae._core import Batch, DataError, SettingError
from omicvae.data.covariates import listing, numeric_column
from omicvae.data.schema import DataSchema


@dataclass(frozen=True, slots=True)
class Transform:
    """Sets covariates of every cell to given values and leaves the others as they are; made by :meth:`of`.

    Attributes
    ----------
    codes
        Position of a categorical covariate → code of its level.
    values
        Position of a continuous covariate → its standardised value.
    """

    codes: Mapping[int, int]
    values: Mapping[int, float]

    @classmethod
    def of(cls, schema: DataSchema, covariates: Mapping[str, Any] | None, what: str = "transform") -> "Transform":
        """Read ``{covariate: level or number}``; ``what`` is the argument that messages name.

        Raises
        ------
        SettingError, DataError
            On what is no covariate of the model, a level that it does not know, or a number far outside of training.
        """
        if covariates is not None and not isinstance(covariates, Mapping):
            raise SettingError(f"{what} must be a mapping from covariate to value, got {covariates!r}.")
        given = {key: [value] for key, value in (covariates or {}).items()}
        require_covariates(schema, given, what)
        for key, (value,) in given.items():
            if np.ndim(value):
                raise SettingError(f"{what}[{key!r}] must be one value for all cells, got {value!r}.")
        columns = covariate_columns(schema, given, 1, what)
        codes = {d: int(columns[levels.key][0]) for d, levels in enumerate(schema.categorical) if levels.key in given}
        values = {
            v: float(scaling.standardise(columns[scaling.key])[0])
            for v, scaling in enumerate(schema.continuous)
            if scaling.key in given
        }
        return cls(codes, values)

    def __call__(self, batch: Batch) -> Batch:
        """Return the minibatch with these covariates."""
        if not self.codes and not self.values:
            return batch
        categories_BD, continuous_BV = batch.categories_BD.clone(), batch.continuous_BV.clone()
        for d, code in self.codes.items():
            categories_BD[:, d] = code
        for v, value in self.values.items():
            continuous_BV[:, v] = value
        return batch.with_covariates(categories_BD, continuous_BV)


def require_covariates(schema: DataSchema, named: Mapping[str, Any], what: str) -> None:
    """Raise a SettingError that lists the model's covariates where ``named`` has others."""
    known = [*schema.keys.categorical_keys, *schema.keys.continuous_covariate_keys]
    if unknown := [key for key in named if key not in known]:
        raise SettingError(
            f"{what} names {listing(unknown)}, on which the model is not conditioned. Its covariates: "
            f"{listing(known, 20) or 'none'}."
        )


def covariate_columns(schema: DataSchema, covariates: Mapping[str, Any], n: int, what: str) -> dict[str, np.ndarray]:
    """Read covariates of n points: level codes (int64) of the categorical ones, numbers (float64) of the others.

    Parameters
    ----------
    covariates
        A value for all points, or n of them, by covariate; a DataFrame too.
    what
        The argument that messages name.

    Raises
    ------
    DataError
        On another number of values, a level that the model does not know, or numbers far outside of training.
    """

    def column(key: str) -> pd.Series:
        given = covariates[key]
        values = list(given) if np.ndim(given) else [given]
        if len(values) not in (1, n):
            raise DataError(f"{what}[{key!r}] has {len(values)} values for {n} points; give one, or {n}.")
        return pd.Series(values if len(values) == n else values * n)

    columns = {}
    for part in schema.categorical:
        if (key := part.key) in covariates:
            values = column(key)
            if unknown := [value for value in values.dropna().unique() if part.code(value) is None]:
                known = f"Known levels: {listing(part.levels, 20)}."
                raise DataError(
                    f"{what}[{key!r}] names levels that the model does not know: {listing(unknown)}. {known}"
                )
            columns[key] = part.encode(values)
    for scaling in schema.continuous:
        if (key := scaling.key) in covariates:
            columns[key] = numeric_column(key, column(key))
            scaling.check_range(columns[key], pd.RangeIndex(n))
    return columns
