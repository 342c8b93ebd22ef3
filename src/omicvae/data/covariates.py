"""Levels of categorical covariates and scales of continuous ones, matched by name and never by position."""

import difflib
import logging
import re
import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omicvae._core import DataError, SettingError

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger("omicvae")

#: reticulate hands R's missing integer over as this number.
R_INTEGER_NA = -(2**31)
#: widths of the training range that a value may lie outside without a word, and at all
NEAR, FARTHEST = 0.1, 2.0
#: size factors whose means float32 holds, and how many times they may lie beyond those in training
SIZE_FACTORS, FARTHEST_FACTOR = (1e-9, 1e9), 100.0
#: SDs from the mean within which a standardised value is kept, so that its powers are numbers
FARTHEST_SD = 1e6
_KINDS: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
_SHOWN = 5
_DECIMAL = re.compile(r"[+-]?\d+(\.\d*([eE][+-]?\d+)?|[eE][+-]?\d+)")


def listing(names: Iterable[object], shown: int = _SHOWN) -> str:
    """Quote the first few names; the rest is an ellipsis."""
    items = list(names)
    return ", ".join(repr(item) for item in items[:shown]) + (", …" if len(items) > shown else "")


@dataclass(frozen=True, slots=True)
class CategoricalLevels:
    """The levels of one ``obs`` column, sorted; the position of a level is its code.

    Sorting makes the codes independent of the order of a factor's categories and of the cells.

    Attributes
    ----------
    key
        Name of the column.
    levels
        Sorted distinct values, all of type bool, int, float or str; a factor's unused levels are left out.
    n_added
        How many of them, sorted behind the others, cells brought that were mapped to a trained model.
    """

    key: str
    levels: tuple[Any, ...]
    n_added: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))  # JSON has lists

    @property
    def kind(self) -> str:
        """Type of the levels: ``"str"``, ``"int"``, ``"float"`` or ``"bool"``."""
        return _kind_of(self.levels)

    @classmethod
    def register(cls, key: str, column: pd.Series, *, allow_missing: bool = False) -> "CategoricalLevels":
        """Find the levels of ``column``.

        Raises
        ------
        DataError
            If values are missing (unless ``allow_missing``), are R's missing integer, or have no distinct names.
        """
        codes, uniques = _factorise(column)
        if not allow_missing:
            _require_present(key, codes < 0, column.index)
        kind = _kind_of(uniques)
        _reject_r_missing(key, uniques)
        values = [_KINDS[kind](value) for value in uniques]
        if len(set(values)) < len(values):
            raise DataError(
                f"obs[{key!r}] mixes types, so that different values have the same name (such as 1 and '1'). "
                f"Convert the column, e.g. adata.obs[{key!r}].astype(str)."
            )
        if kind == "str" and "NA" in values:
            logger.warning("obs[%r] has a level 'NA'; if that is R's missing value, replace it first.", key)
        return cls(key, tuple(sorted(values)))

    def extended(self, column: pd.Series) -> "CategoricalLevels":
        """Return these levels and behind them those that ``column`` has beside them, so that codes stay.

        Raises
        ------
        DataError
            As :meth:`register`, and where the new levels are of another type.
        """
        codes, uniques = _factorise(column)
        _require_present(self.key, codes < 0, column.index)
        unknown = [value for value, code in zip(uniques, self._find(uniques), strict=True) if code is None]
        if not unknown:
            return self
        new, convert = type(self).register(self.key, pd.Series(unknown)), _KINDS[self.kind]
        numbers = {self.kind, new.kind} == {"int", "float"}
        # whole numbers may come as floats, as R sends them
        if self.kind not in ("str", new.kind) and not (numbers and all(convert(v) == v for v in new.levels)):
            raise DataError(
                f"obs[{self.key!r}] has new levels of type {new.kind}, such as {new.levels[0]!r}, and those of the "
                f"reference are of type {self.kind}: {listing(self.levels)}. Rename them."
            )
        levels = tuple(convert(value) for value in new.levels)
        return replace(self, levels=self.levels + levels, n_added=self.n_added + len(levels))

    def code(self, value: object) -> int | None:
        """Code of a level by its name, in any type (1, 1.0, "1" match if unambiguous); None if unknown."""
        return self._find([value])[0]

    def require_code(self, value: object, what: str) -> int:
        """Code of a level by its name; a SettingError that lists the levels names ``what`` asked for another one."""
        code = self.code(value)
        if code is None:
            known = listing(self.levels, 20)
            raise SettingError(f"{what}: obs[{self.key!r}] has no level {value!r}. Its levels: {known}.")
        return code

    def encode(self, column: pd.Series, *, unseen: object = "error", allow_missing: bool = False) -> np.ndarray:
        """Codes (int64, one per row) of ``column`` by the names of its values; missing ones, where allowed, are −1.

        Raises
        ------
        DataError
            If values are missing or unknown, unless ``unseen`` names a known level that stands in for every unknown
            one; the message lists the known levels and the ``unseen=`` policies.
        """
        codes, uniques = _factorise(column)
        if not allow_missing:
            _require_present(self.key, codes < 0, column.index)
        found = self._find(uniques)
        unknown = [value for value, code in zip(uniques, found, strict=True) if code is None]
        stand_in = self._stand_in(unknown, unseen) if unknown else None
        table = np.array([stand_in if code is None else code for code in found] + [-1], dtype=np.int64)
        return np.take(table, codes)

    def _stand_in(self, unknown: Sequence[object], unseen: object) -> int:
        code = None if unseen == "error" else self.code(unseen)
        if code is not None:
            return code
        kinds = _kind_of(unknown)
        types = "" if kinds == self.kind else f" (known levels are of type {self.kind}, these of type {kinds})"
        problem = (
            f"obs[{self.key!r}] has {len(unknown)} unknown {'level' if len(unknown) == 1 else 'levels'}: "
            f"{listing(unknown)}{types}. Known levels: {listing(self.levels, 20)}."
        )
        if unseen != "error":
            raise DataError(f"{problem} unseen={unseen!r} is not one of them.")
        raise DataError(
            f"{problem} Rename the values; or pass a known level that shall stand in for them to "
            f"get_latent_representation(adata, unseen=...) (unseen='error' is the default)."
        )

    def _find(self, values: Sequence[object]) -> list[int | None]:
        exact, loose, texts = self._codes_by_form(str), self._codes_by_form(loose_name), self.kind == "str"
        codes = []
        for value in values:
            code = exact.get(str(value))
            # between two texts only the very same text is the same level: "1.10" is not "1.1"
            if code is None and not (texts and isinstance(value, str)):
                code = loose.get(loose_name(value))
            codes.append(code)
        return codes

    def _codes_by_form(self, form: Callable[[object], str]) -> dict[str, int]:
        codes: dict[str, int] = {}
        ambiguous = set()
        for code, level in enumerate(self.levels):
            if codes.setdefault(form(level), code) != code:
                ambiguous.add(form(level))
        return {name: code for name, code in codes.items() if name not in ambiguous}


@dataclass(frozen=True, slots=True)
class ContinuousScaling:
    """Mean and SD of a continuous covariate in the training cells; (value − mean) / sd enters the network.

    A covariate that is constant enters as 0, whatever its value in other cells: nothing was learned about it.

    Attributes
    ----------
    low, high
        Its range in the cells that the model was made of, in the user's units.
    """

    key: str
    mean: float
    sd: float
    low: float
    high: float

    @classmethod
    def fit(cls, key: str, values_N: np.ndarray) -> "ContinuousScaling":
        """Take mean and population SD of ``values_N`` (finite, float64)."""
        if values_N.min() == values_N.max():
            logger.info("Continuous covariate %r is constant (%g): it carries no information.", key, values_N[0])
            return cls(key, float(values_N[0]), 1.0, float(values_N[0]), float(values_N[0]))
        largest = np.abs(values_N).max()  # whose square may be no number any more
        mean, sd = (float(largest * moment) for moment in ((values_N / largest).mean(), (values_N / largest).std()))
        # below that, differences are rounding errors
        return cls(key, mean, max(sd, 1e-12 * abs(mean)), float(values_N.min()), float(values_N.max()))

    @property
    def constant(self) -> bool:
        """Whether the training cells all have one value."""
        return self.low == self.high

    def refit(self, values_T: np.ndarray) -> "ContinuousScaling":
        """Return mean and SD of these cells, part of those that the range is of; the range stays, unless it is one."""
        fitted = type(self).fit(self.key, values_T)
        if fitted.constant:
            return fitted
        return replace(fitted, low=min(self.low, fitted.low), high=max(self.high, fitted.high))

    def standardise(self, values_N: np.ndarray) -> np.ndarray:
        """Return (value − mean) / sd, within ±10⁶; zeros for a constant covariate.

        Training cells lie within √N, and a validation cell beyond the limit has a slip in its value.
        """
        if self.constant:
            return np.zeros(len(values_N))
        with np.errstate(over="ignore"):
            return np.asarray(np.clip((values_N - self.mean) / self.sd, -FARTHEST_SD, FARTHEST_SD))

    def check_range(self, values_N: np.ndarray, names: pd.Index) -> None:
        """Hold values of other cells against the training range: a network knows nothing of what lies far outside.

        Raises
        ------
        DataError
            If a value lies outside by more than ``FARTHEST`` times the width of the range: a change of units, mostly.

        Warns
        -----
        UserWarning
            If one lies outside by more than ``NEAR`` times the width; or where a constant covariate has other values.
        """
        width, outside_N = self.high - self.low, np.maximum(self.low - values_N, values_N - self.high)
        far, text = outside_N > NEAR * width, f"obs[{self.key!r}]"
        if not far.any():
            return
        if self.constant:
            text += f" was {self.low:g} in every training cell, so that other values of it have no effect."
        else:
            worst = int(outside_N.argmax())
            text += (
                f" lies outside of the training range, {self.low:g} to {self.high:g}, in {_rows(far, names)}; "
                f"{values_N[worst]:g} is outside by {outside_N[worst] / width:.3g} times its width"
            )
            if outside_N[worst] > FARTHEST * width:
                raise DataError(
                    f"{text} (limit {FARTHEST:g}). Are the units those of the training data (fractions or per cent, "
                    f"days or seconds)? Convert them; or limit the values, adata.obs[{self.key!r}].clip({self.low:g}, "
                    f"{self.high:g}); or leave these cells out."
                )
            text += f". The model extrapolates there; beyond {FARTHEST:g} times it is an error."
        warnings.warn(text, UserWarning, stacklevel=2)


def labels_of(column: "pd.Series[Any]") -> NDArray[np.object_]:
    """Labels of cells, missing ones None."""
    return column.astype(object).where(column.notna(), None).to_numpy()


def obs_column(adata: "AnnData", key: str) -> pd.Series:
    """Return ``adata.obs[key]``, or raise a DataError that lists close names and the columns that exist."""
    if key not in adata.obs.columns:
        names = [str(name) for name in adata.obs.columns]
        close = difflib.get_close_matches(key, names, n=3, cutoff=0.6)
        guess = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise DataError(f"adata.obs has no column {key!r}.{guess} Columns: {listing(names, 20) or 'none'}.")
    column: pd.Series = adata.obs[key]
    if column.ndim > 1:
        raise DataError(
            f"adata.obs has {column.shape[1]} columns named {key!r}. Keep one: adata.obs = "
            "adata.obs.loc[:, ~adata.obs.columns.duplicated()]."
        )
    if column.dtype == object and (odd := {type(v).__name__ for v in column if not isinstance(v, Hashable)}):
        raise DataError(
            f"obs[{key!r}] holds a {sorted(odd)[0]} in a cell's place. A covariate has one text or number for each "
            "cell: take one entry out of each, or make a column for each."
        )
    return column


def column_levels(adata: "AnnData", key: str) -> tuple[CategoricalLevels, np.ndarray]:
    """Levels of an ``obs`` column, and the code of each cell; −1 where it has none."""
    column = obs_column(adata, key)
    levels = CategoricalLevels.register(key, column, allow_missing=True)
    return levels, levels.encode(column, allow_missing=True)


def numeric_column(key: str, column: pd.Series) -> np.ndarray:
    """Return an ``obs`` column as finite float64; a DataError names rows that are missing, infinite or R's NA."""
    column = column.infer_objects()  # numbers may stand in a column of type object
    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_complex_dtype(column.dtype):
        raise DataError(
            f"obs[{key!r}] is not numeric (dtype {column.dtype}, values such as "
            f"{listing(column.unique(), 3)}). Use pandas.to_numeric, or pass it as a categorical covariate."
        )
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    _reject_r_missing(key, values)
    bad = ~np.isfinite(values)
    if bad.any():
        raise DataError(
            f"obs[{key!r}] is missing or infinite in {_rows(bad, column.index)}. Remove these cells or fill "
            f"the values in."
        )
    return values


def size_factor_column(key: str, column: pd.Series, trained: tuple[float, float] | None = None) -> np.ndarray:
    """Return an ``obs`` column of size factors, float64; ``trained`` is their range in training, for other cells.

    A log line says where they are far from 1, which the encoder's log1p(x / s) is made for.

    Raises
    ------
    DataError
        If some are no numbers, not positive, of a size that float32 does not hold the means for, or more than
        ``FARTHEST_FACTOR`` times beyond the range in training: another scale, mostly.
    """
    values, fix = numeric_column(key, column), f"adata.obs[{key!r}] / adata.obs[{key!r}].mean()"
    low, high = SIZE_FACTORS if trained is None else (trained[0] / FARTHEST_FACTOR, trained[1] * FARTHEST_FACTOR)
    bad = (values < low) | (values > high)
    if bad.any():
        limit = "positive" if values.min() <= 0 else f"from {low:g} to {high:g}"
        scale = f"near 1, such as {fix}" if trained is None else f"of training, {trained[0]:g} to {trained[1]:g} there"
        raise DataError(
            f"Size factors obs[{key!r}] must be {limit}, but are {values[bad][0]:g} or the like in "
            f"{_rows(bad, column.index)}. Remove these cells, or compute the size factors again on the scale {scale}."
        )
    if trained is None and not 1 / FARTHEST_FACTOR < (median := float(np.median(values))) < FARTHEST_FACTOR:
        logger.warning("Size factors obs[%r] have the median %g and should lie near 1: take %s.", key, median, fix)
    return values


def _factorise(column: pd.Series) -> tuple[np.ndarray, list[Any]]:
    codes, uniques = pd.factorize(column, use_na_sentinel=True)
    return np.asarray(codes), uniques.tolist()


def _kind_of(values: Iterable[object]) -> str:
    values = list(values)
    if not values or any(not isinstance(value, Real | np.bool_) for value in values):
        return "str"
    booleans = [isinstance(value, bool | np.bool_) for value in values]
    if any(booleans):
        return "bool" if all(booleans) else "str"
    return "int" if all(isinstance(value, Integral) for value in values) else "float"


def loose_name(value: object) -> str:
    """Name of a level without its type: 1, 1.0, "1" and "1.0" agree, and so do True and "TRUE"."""
    text = str(value)
    if text.lower() in ("true", "false"):
        return text.lower()
    # whole numbers keep all their digits (float would merge neighbours beyond 2**53), and 01 is not 1
    if not _DECIMAL.fullmatch(text):
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() else repr(number)


def _rows(mask: np.ndarray, names: pd.Index) -> str:
    return f"{int(mask.sum())} of {len(mask)} cells ({listing(map(str, names[mask][: _SHOWN + 1]))})"


def _require_present(key: str, missing: np.ndarray, names: pd.Index) -> None:
    if missing.any():
        raise DataError(
            f"obs[{key!r}] is missing in {_rows(missing, names)}. Remove these cells, or make the gap a "
            f"level of its own: adata.obs[{key!r}] = adata.obs[{key!r}].astype(object).fillna('missing')."
        )


def _reject_r_missing(key: str, values: Iterable[Any]) -> None:
    if any(isinstance(value, Real) and value == R_INTEGER_NA for value in values):
        raise DataError(
            f"obs[{key!r}] contains {R_INTEGER_NA}, which is R's missing integer (NA) after the conversion "
            f"to Python. Remove these cells, or replace NA in R (e.g. as.character() and a level 'missing')."
        )
