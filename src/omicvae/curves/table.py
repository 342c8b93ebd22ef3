"""From logged values, in any order and with gaps, to one row per epoch with canonical columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import pandas as pd

from omicvae._core.errors import DataError
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


#: Columns of a table whose rows are runs.
RUN_NAMES = frozenset({"run", "run_id", "run_name", "seed", "trial", "model", "experiment", "config", "fold", "name"})

#: rows of a sweep over weights, at most
MOST_RUNS = 12


def log_table(log: Log) -> pd.DataFrame:
    """Table with a row per epoch, ascending; index ``epoch``, ``step`` or ``row``, as the log counts.

    NaN is "not logged", inf "logged and not finite". Empty (no columns) where no name is known.
    ``attrs["left_out"]`` says in a sentence what is of another run, empty where nothing is.

    Raises
    ------
    DataError
        If rows without epochs look like runs.
    """
    names = _best_names(log.rows)
    clock, times = _clock(log.rows)
    if clock == NO_CLOCK:
        _refuse_runs(log)
    logged = [
        (row_number, time, names[name], number)
        for row_number, (row, time) in enumerate(zip(log.rows, times.tolist(), strict=True))
        for name, value in row.items()
        if name in names and (number := as_number(value)) is not None
    ]
    values = pd.DataFrame(logged, columns=["line", clock, "column", "value"])
    values, left_out = _last_run(values, clock)
    values = values.sort_values(clock, kind="stable")
    if (values[clock] % 1 == 0).all() and (values[clock].abs() < 2**53).all():
        values = values.astype({clock: np.int64})
    table = values.groupby([clock, "column"])["value"].agg(log.several).unstack()
    table = table.reindex(columns=values["column"].unique()).rename_axis(columns=None)
    table.attrs["left_out"] = left_out
    return table


def _last_run(values: pd.DataFrame, clock: str) -> tuple[pd.DataFrame, str]:
    """Where the clock goes back and other values follow, drop what they replace: another run, or what was resumed.

    Rows that are shuffled or repeated say the same again, and replace nothing.
    """
    stretch = _runs(values, clock)
    if not stretch.any():
        return values, ""
    parts = values.groupby(["column", stretch.rename("stretch"), clock])["value"].apply(tuple)
    said = parts.groupby(["column", clock])
    if not (said.nunique() > 1).any():
        return values, ""
    starts = values.groupby(["column", stretch.rename("stretch")])[["line", clock]].first()
    starts = starts[starts.index.get_level_values("stretch") > 0]
    replaced = np.zeros(len(values), dtype=bool)
    for line, time in starts.drop_duplicates().itertuples(index=False):
        replaced |= ((values["line"] < line) & (values[clock] >= time)).to_numpy()
    times = ", ".join(f"{time:g}" for time in sorted(starts[clock].unique())[:3])
    first = int(starts["line"].max()) + 1
    return values[~replaced], (
        f"the {clock}s start again at {times}, so that several runs, or one resumed, stand in this log: the last is "
        f"judged (from value row {first} on), and what it replaces is left out. Give each run alone to judge them all."
    )


def _runs(values: pd.DataFrame, clock: str) -> "pd.Series[int]":
    """Return the run of each value, from 0: one begins where the clock goes back and two times or more come again.

    A remark on the best epoch names one, and shuffled rows go back and forth all the time.
    """
    column, times = values["column"], values[clock]
    if values.empty:
        return pd.Series(dtype=int)
    stretch = times.groupby(column).diff().lt(0).groupby(column).cumsum()
    again = times <= times.groupby(column).cummax().groupby(column).shift()
    run = again.groupby([column, stretch]).transform("sum") >= 2
    shuffled = 3 * stretch.groupby(column).transform("max") >= times.groupby(column).transform("size")
    begins = (stretch.groupby(column).diff() > 0) & run & ~shuffled
    return begins.astype(int).groupby(column).cumsum()


def _refuse_runs(log: Log) -> None:
    """Rows of a table without epochs may be runs: where a name of runs varies, or a weight that never rests."""
    if log.form not in ("table", "list of rows") or len(log.rows) < 2:
        return
    for name in _names(log.rows):
        seen = [row.get(name) for row in log.rows]
        weights = [as_number(value) for value in seen]
        never_rests = column_of(name) == "kl_weight" and len(set(weights[-3:])) > 1 and not _is_ramp(weights)
        if never_rests or (name.strip().lower() in RUN_NAMES and len({str(value) for value in seen}) > 1):
            raise DataError(
                f"The rows of this table may be runs, not epochs: {name!r} differs between them and no column counts "
                "epochs. Give the curves of one run; if the rows are its epochs, number them in a column 'epoch'."
            )


def _is_ramp(weights: Sequence[float | None]) -> bool:
    """Whether weights rise by equal steps, as in a warm-up, or are more than anyone tries in a sweep."""
    known = np.array([np.nan if weight is None or np.isinf(weight) else weight for weight in weights])
    steps = np.diff(known)
    return len(known) > MOST_RUNS or bool(np.allclose(steps, steps[0], rtol=1e-3) and steps[0] > 0)


def _names(rows: Iterable[Row]) -> list[str]:
    """Return the names of all rows, each once, as they come."""
    return list(dict.fromkeys(chain.from_iterable(rows)))


def _best_names(rows: Iterable[Row]) -> dict[str, str]:
    """Map logged names to columns; of several names for one column the best is kept."""
    best: dict[str, tuple[tuple[int, int, int], str]] = {}
    for name in _names(rows):
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
    clocks = [name for name in _names(rows) if column_of(name) == clock]
    times = np.full(len(rows), np.nan)
    for name in reversed(clocks):  # the first of several names is written last
        known = (as_number(row.get(name)) for row in rows)
        found = np.array([np.inf if number is None else number for number in known])
        times = np.where(np.isfinite(found), found, times)
    return pd.Series(times)


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
