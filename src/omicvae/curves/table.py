"""From logged values, in any order and with gaps, to one row per epoch with canonical columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from omicvae.curves.names import EPOCH, STEP, log_name
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
    several: str = "last"


SEVERAL: dict[str, Callable[[FloatArray], float]] = {
    "mean": lambda values: float(np.mean(values)),
    "last": lambda values: float(values[-1]),
}


def log_table(log: Log) -> pd.DataFrame:
    """Table with a row per epoch, ascending; index ``epoch``, ``step`` or ``row``, as the log counts.

    NaN is "not logged", inf "logged and not finite". Empty (no columns) where no name is known.
    """
    names = _best_names(log.rows)
    clock, times = _clock(log.rows)
    values: dict[float, dict[str, list[float]]] = {}
    for row, time in zip(log.rows, times, strict=True):
        for name, value in row.items():
            if name in names and (number := as_number(value)) is not None:
                values.setdefault(time, {}).setdefault(names[name], []).append(number)
    combine = SEVERAL[log.several]
    combined = {
        time: {column: combine(np.array(numbers)) for column, numbers in columns.items()}
        for time, columns in sorted(values.items())
    }
    whole = all(time.is_integer() for time in combined)
    index = pd.Index(list(combined), name=clock, dtype=np.int64 if whole else np.float64)
    return pd.DataFrame(list(combined.values()), index=index, dtype=np.float64)


def as_number(value: Any) -> float | None:
    """Return a float, inf for what was logged and is not finite, None for what is no number."""
    if value is None or isinstance(value, bool) or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else float("inf")


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


def _clock(rows: Sequence[Row]) -> tuple[str, list[float]]:
    """Epoch of every row: as logged, else from the steps, else the number of the row."""
    found = {clock: _times(rows, clock) for clock in (EPOCH, STEP)}
    epochs, steps = found[EPOCH], found[STEP]
    if any(epoch is not None for epoch in epochs):
        return EPOCH, _filled(epochs, steps)
    if any(step is not None for step in steps):
        return STEP, _by_validation(rows, _filled(steps, steps))
    return NO_CLOCK, [float(number) for number in range(1, len(rows) + 1)]


def _times(rows: Sequence[Row], clock: str) -> list[float | None]:
    times: list[float | None] = []
    for row in rows:
        known = (as_number(value) for name, value in row.items() if _column(name) == clock)
        times.append(next((number for number in known if number is not None), None))
    return times


def _column(name: object) -> str | None:
    known = log_name(str(name))
    return None if known is None else known.column


def _filled(times: Sequence[float | None], steps: Sequence[float | None]) -> list[float]:
    """Fill the gaps: a row without a time takes that of the next step that has one, else of the row before it.

    Lightning's learning-rate monitor, for one, writes rows with a step and no epoch.
    """
    by_step = {step: time for step, time in zip(steps, times, strict=True) if step is not None and time is not None}
    known = np.array(sorted(by_step))
    last = next((time for time in times if time is not None), 0.0)
    filled = []
    for time, step in zip(times, steps, strict=True):
        if time is not None:
            last = time
        elif step is not None and len(known) and step <= known[-1]:
            last = by_step[float(known[np.searchsorted(known, step)])]
        filled.append(last)
    return filled


def _by_validation(rows: Sequence[Row], steps: list[float]) -> list[float]:
    """Without epochs a validation ends one: training steps count towards the next validation."""
    validated = {
        step
        for row, step in zip(rows, steps, strict=True)
        if any((_column(name) or "").endswith("_validation") and as_number(row[name]) is not None for name in row)
    }
    if not validated:
        return steps
    ends = np.array(sorted(validated))
    positions = np.minimum(np.searchsorted(ends, steps), len(ends) - 1)
    return [float(end) for end in ends[positions]]
