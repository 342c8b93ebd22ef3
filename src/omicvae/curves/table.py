"""From logged values, in any order and with gaps, to one row per epoch with canonical columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from omicvae.curves.names import EPOCH, STEP, column_of, log_name
from omicvae.curves.numbers import as_number
from omicvae.metrics.labels import FloatArray

Row = Mapping[str, Any]
#: What a clock shows that never stood in the log.
NO_CLOCK = "row"


@dataclass(frozen=True, slots=True)
class Log:
    """Values as they were read.

    Attributes
    ----------
    form
        What was read, in words.
    rows
        Name → value, as logged; a name that is absent was not logged there, a NaN was.
    several
        Which of several values in one epoch counts: ``"mean"`` (values of batches) or ``"last"`` (running
        values, as progress bars show them).
    """

    form: str
    rows: Sequence[Row]
    several: Literal["mean", "last"] = "last"


def log_table(log: Log) -> pd.DataFrame:
    """Table with a row per epoch, ascending; index ``epoch``, ``step`` or ``row``, as the log counts.

    NaN is "not logged", inf "logged and not finite". Empty (no columns) where no name is known.
    """
    names = _best_names(log.rows)
    clock, times = _clock(log.rows)
    logged = [
        (time, names[name], number)
        for row, time in zip(log.rows, times, strict=True)
        for name, value in row.items()
        if name in names and (number := as_number(value)) is not None
    ]
    values = pd.DataFrame(logged, columns=[clock, "column", "value"]).sort_values(clock, kind="stable")
    if (values[clock] % 1 == 0).all():
        values = values.astype({clock: np.int64})
    table = values.groupby([clock, "column"])["value"].agg(log.several).unstack()
    return table.reindex(columns=values["column"].unique()).rename_axis(columns=None)


def _best_names(rows: Iterable[Row]) -> dict[str, str]:
    """Map logged names to columns; of several names for one column the best is kept."""
    best: dict[str, tuple[tuple[int, int, int], str]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        known = log_name(str(name))
        if known is None or known.column in (EPOCH, STEP):
            continue
        if known.column not in best or known.rank < best[known.column][0]:
            best[known.column] = (known.rank, name)
    return {name: column for column, (_, name) in best.items()}


def _clock(rows: Sequence[Row]) -> tuple[str, FloatArray]:
    """Epoch of every row: as logged, else from the steps, else the number of the row."""
    epochs, steps = _times(rows, EPOCH), _times(rows, STEP)
    if epochs.notna().any():
        return EPOCH, _filled(epochs, steps)
    if steps.notna().any():
        return STEP, _by_validation(rows, _filled(steps, steps))
    return NO_CLOCK, np.arange(1.0, len(rows) + 1)


def _times(rows: Sequence[Row], clock: str) -> "pd.Series[float]":
    known = ((as_number(value) for name, value in row.items() if column_of(name) == clock) for row in rows)
    return pd.Series(
        [next((number for number in numbers if number is not None), np.nan) for numbers in known], dtype=float
    )


def _filled(times: "pd.Series[float]", steps: "pd.Series[float]") -> FloatArray:
    """Fill the gaps: a row without a time takes that of the next step that has one, else of the row before it.

    Lightning's learning-rate monitor, for one, writes rows with a step and no epoch.
    """
    by_step = times[times.notna()].groupby(steps).last()
    next_times = pd.Series(by_step.reindex(steps, method="bfill").to_numpy(), times.index)
    filled = times.fillna(next_times).ffill().fillna(times[times.first_valid_index()])
    return np.asarray(filled, dtype=np.float64)


def _by_validation(rows: Sequence[Row], steps: FloatArray) -> FloatArray:
    """Without epochs a validation ends one: training steps count towards the next validation."""
    validated = [
        any(column_of(name).endswith("_validation") and as_number(value) is not None for name, value in row.items())
        for row in rows
    ]
    if not any(validated):
        return steps
    ends = np.unique(steps[validated])
    return np.asarray(ends[np.minimum(np.searchsorted(ends, steps), len(ends) - 1)], dtype=np.float64)
