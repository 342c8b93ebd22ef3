"""Covariates of points to decode at: named by the user, or those of cells."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from omicvae._core import SettingError
from omicvae.data.covariates import listing
from omicvae.data.schema import DataSchema
from omicvae.data.transform import covariate_columns, require_covariates

#: level codes (N, D) and continuous covariates in the user's units (N, V)
Covariates = tuple[np.ndarray, np.ndarray]


def named_covariates(
    schema: DataSchema, covariates: Any, n: int, names: pd.Index | None = None
) -> dict[str, np.ndarray]:
    """Read a mapping or DataFrame of a value for all points, or one for each of n: codes, or numbers, by covariate.

    Columns of a DataFrame, and Series, whose index is ``names`` in another order are matched to these by name.

    Raises
    ------
    SettingError, DataError
        On another type, what is no covariate of the model, unknown levels, or numbers far outside of training.
    """
    if covariates is None:
        return {}
    if not isinstance(covariates, Mapping | pd.DataFrame):
        raise SettingError(f"covariates must be a mapping from covariate to value or values, got {covariates!r}.")
    given: dict[str, Any] = {str(key): _in_order(covariates[key], names) for key in covariates}
    require_covariates(schema, given, "covariates")
    return covariate_columns(schema, given, n, "covariates")


def _in_order(values: Any, names: pd.Index | None) -> Any:
    if names is None or not isinstance(values, pd.Series) or len(values) != len(names):
        return values
    index = values.index.astype(str)
    order = index.get_indexer(names) if index.is_unique and names.is_unique else np.array([-1])
    return values if (order < 0).any() else values.iloc[order]


def point_covariates(
    schema: DataSchema, named: Mapping[str, np.ndarray], n: int, others: Covariates | None = None
) -> Covariates:
    """Return the covariates of n points: the ``named`` ones, and the rest from ``others``.

    Without others, what has one level only needs no name.

    Raises
    ------
    SettingError
        If a covariate is not named and there are no others.
    """
    constant = [part.key for part in schema.categorical if len(part.levels) == 1]
    constant += [scaling.key for scaling in schema.continuous if scaling.constant]
    keys = [*schema.keys.categorical_keys, *schema.keys.continuous_covariate_keys]
    if others is None and (missing := [key for key in keys if key not in named and key not in constant]):
        raise SettingError(
            f"covariates must name {listing(missing, 20)} as well: what is decoded depends on every covariate of the "
            f"model. Pass covariates={{{missing[0]!r}: ...}} with one value for all points, or one for each."
        )
    codes_ND = np.zeros((n, len(schema.categorical)), np.int64) if others is None else others[0].copy()
    continuous_NV = np.tile([float(scaling.low) for scaling in schema.continuous], (n, 1))
    continuous_NV = continuous_NV.reshape(n, len(schema.continuous)) if others is None else others[1].copy()
    for d, part in enumerate(schema.categorical):
        codes_ND[:, d] = named.get(part.key, codes_ND[:, d])
    for v, scaling in enumerate(schema.continuous):
        continuous_NV[:, v] = named.get(scaling.key, continuous_NV[:, v])
    return codes_ND, continuous_NV


def covariate_frame(schema: DataSchema, covariates: Covariates, index: pd.Index) -> pd.DataFrame:
    """Return covariates by name, a row per point: levels as categories, numbers in the user's units."""
    codes_ND, continuous_NV = covariates
    columns: dict[str, Any] = {
        part.key: pd.Categorical.from_codes(codes_ND[:, d], pd.Index(part.levels))
        for d, part in enumerate(schema.categorical)
    }
    columns |= {scaling.key: continuous_NV[:, v] for v, scaling in enumerate(schema.continuous)}
    return pd.DataFrame(columns, index=index)
