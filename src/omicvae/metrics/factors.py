"""Known factors of variation: what is true of each cell, as levels and as values."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from omicvae._core.arguments import integral
from omicvae._core.arrays import unmasked
from omicvae._core.errors import DataError
from omicvae.metrics.labels import Array, FloatArray, IntArray, as_features

#: levels that a continuous quantity is cut into, as in Locatello et al. (2019)
N_BINS = 20
#: folds of what is predicted out of sample; every level needs a cell in each
N_FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """F factors of N cells.

    ``values_NF`` holds values of continuous factors and level codes of discrete ones; ``codes_NF`` levels 0 … L − 1,
    of a continuous factor its quantile bins. A name is the column's, or its number.
    """

    names: tuple[str, ...]
    values_NF: FloatArray
    codes_NF: IntArray
    discrete_F: npt.NDArray[np.bool_]

    def require_cells(self, minimum: int) -> None:
        """Demand ``minimum`` cells of every level of every discrete factor."""
        for name, codes_N, discrete in zip(self.names, self.codes_NF.T, self.discrete_F, strict=True):
            smallest = int(np.bincount(codes_N).min())
            if discrete and smallest < minimum:
                raise DataError(
                    f"Each level of factor {name!r} needs at least {minimum} cells, the smallest has {smallest}; "
                    "leave that level's cells out or merge it with another."
                )


def as_factors(factors_NF: Array | pd.DataFrame, *, n_bins: int = N_BINS) -> Factors:
    """Read factors: a column is discrete if it holds no numbers, truth values, or at most ``n_bins`` whole numbers.

    All other columns are continuous and cut into ``n_bins`` bins of equal numbers of cells. Write numbers as strings to
    have them taken for levels. Missing values and a factor that does not vary are errors.
    """
    n_bins = integral("n_bins", n_bins, minimum=2)
    if np.ndim(factors_NF) != 2 or 0 in np.shape(factors_NF):
        raise DataError(f"Factors must be cells × factors (two-dimensional), got shape {np.shape(factors_NF)}.")
    table = pd.DataFrame(unmasked("factors", factors_NF)).infer_objects()
    columns = [_read(str(name), table.iloc[:, place], n_bins) for place, name in enumerate(table.columns)]
    values, codes, discrete = zip(*columns, strict=True)
    return Factors(
        names=tuple(map(str, table.columns)),
        values_NF=np.column_stack(values),
        codes_NF=np.column_stack(codes),
        discrete_F=np.array(discrete),
    )


def as_latents(z_NK: Array, factors: Factors, *, dimensions: int = 1, compared: int = 1) -> FloatArray:
    """Check latents against factors and return them in float64; so many of either are needed at least."""
    values_NK = as_features(z_NK, len(factors.codes_NF), "latents")
    for name, there, needed in (
        ("latent dimensions", values_NK.shape[1], dimensions),
        ("factors", len(factors.names), compared),
    ):
        if there < needed:
            raise DataError(f"This score compares {name} and needs at least {needed}, got {there}.")
    return values_NK


def quantile_codes(values_N: FloatArray, n_bins: int) -> IntArray:
    """Cut values into at most ``n_bins`` bins of about equal numbers; fewer distinct values are levels already.

    Bins are ranges of the rank, the mean rank for ties. So an increasing transformation changes no code, and values of
    which most are tied (zeros, say) still fall into more than one bin: the mean ranks of the smallest and the largest
    value are at least N/2 apart.
    """
    distinct, inverse_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    if len(distinct) > n_bins:
        rank = (np.cumsum(counts) - counts / 2) / len(values_N)
        inverse_N = np.unique((rank * n_bins).astype(np.int64)[inverse_N], return_inverse=True)[1]
    return np.asarray(inverse_N, dtype=np.int64)


def accuracy_above_chance(codes_M: IntArray, predicted_M: IntArray) -> float:
    """Balanced accuracy rescaled so that guessing is 0 and no error is 1, cut at 0."""
    from sklearn.metrics import balanced_accuracy_score

    return max(float(balanced_accuracy_score(codes_M, predicted_M, adjusted=True)), 0.0)


def _read(name: str, column: "pd.Series[float]", n_bins: int) -> tuple[FloatArray, IntArray, bool]:
    missing = int(column.isna().sum())
    if missing:
        raise DataError(f"Factor {name!r} is missing in {missing} cells; leave those cells out.")
    if is_bool_dtype(column.dtype) or not is_numeric_dtype(column.dtype):
        codes_N = pd.factorize(column.astype(str), sort=True)[0].astype(np.int64)
        discrete, values_N = True, codes_N.astype(np.float64)
    else:
        values_N = np.asarray(column, dtype=np.float64)
        if not np.isfinite(values_N).all():
            raise DataError(f"Factor {name!r} must be finite; it holds inf.")
        codes_N = quantile_codes(values_N, n_bins)
        discrete = bool((values_N == np.round(values_N)).all()) and len(np.unique(values_N)) <= n_bins
    if values_N.min() == values_N.max():
        raise DataError(f"Factor {name!r} is the same in all {len(values_N)} cells; leave it out.")
    return values_N, codes_N, discrete
