"""Curves of any program as one table: DataFrame, CSV, JSON, TensorBoard, log text."""

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from omicvae._core.errors import DataError
from omicvae.curves.files import decoded, found_log, shortened, text_of
from omicvae.curves.names import EPOCH, STEP, column_of
from omicvae.curves.numbers import as_number, has_decimal_commas, plain_numbers
from omicvae.curves.table import Log, log_table
from omicvae.curves.text import TEXT_FORMS, plain_lines, read_text
from omicvae.diagnostics.curve_statistics import LOSSES

#: What no name of a column holds: a sign between name and value, or a number.
NO_NAME = re.compile(r"[=:]|(^|\s)[-+]?\.?\d")
SHOWN_LINES, SHOWN_WIDTH = 3, 100


def read_log(source: Any) -> pd.DataFrame:
    """Read curves from any of the forms that :func:`diagnose_history` lists.

    Returns
    -------
    DataFrame
        A row per epoch (index ``epoch``, ``step`` or ``row``), columns as far as they were logged:
        ``loss_train recon_train kl_train loss_validation … kl_weight lr discriminator_loss_train …``. NaN is
        "not logged", inf "logged and not finite". ``attrs["form"]`` says what was read.

    Raises
    ------
    DataError
        If there is no such file, or the form is none of those; the message shows how the text begins.
    NotSupportedError
        If a TensorBoard file is given and the package ``tensorboard`` is not installed.
    """
    log = _from_object(source)
    table = log_table(log)
    if not any(str(name).rsplit("_", 1)[0] in LOSSES for name in table.columns):
        names = list(dict.fromkeys(str(name) for row in log.rows for name in row))
        raise DataError(
            f"This {log.form} holds no loss, reconstruction or KL under a name that is known, only "
            f"{names[:12]}. Rename the columns to 'loss_train', 'recon_train', 'kl_train', 'loss_validation' …"
        )
    table.attrs["form"] = log.form
    return table


def _from_object(source: Any) -> Log:
    # Keras' History and trained scvi-tools models hold their curves under this name
    source = source if isinstance(source, (pd.DataFrame, Mapping)) else getattr(source, "history", source)
    for kind, read in OBJECTS:
        if isinstance(source, kind):
            return read(source)
    raise DataError(f"Curves cannot be read from a {type(source).__name__}; these forms are read:\n{forms()}")


def _from_frame(frame: pd.DataFrame) -> Log:
    """Read a table whose gaps are NaN: not logged where rows share epochs or in validation, else not finite.

    In a table where rows share epochs a NaN that ends a training curve early is no gap either.
    """
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"The table has several columns of the name {twice!r}; keep the one that is meant.")
    if column_of(frame.index.name) and frame.index.name not in frame.columns:
        frame = frame.reset_index()
    rows = _plain_cells([{str(name): value for name, value in row.items()} for row in frame.to_dict("records")])
    clocks = [name for name in frame.columns if column_of(name) == EPOCH]
    sparse = any(frame[name].isna().any() or frame[name].duplicated().any() for name in clocks)
    for name in map(str, frame.columns):
        training = column_of(name).endswith("_train")
        if training and not sparse:
            continue
        logged_R = np.array([as_number(row[name]) is not None and row[name] == row[name] for row in rows], dtype=bool)
        positions = np.flatnonzero(logged_R)
        # rows of one kind come at equal distances; a curve that stops for twice the longest has become NaN
        stopped = training and len(positions) > 1 and len(rows) - 1 - positions[-1] > 2 * np.diff(positions).max()
        for position in np.flatnonzero(~logged_R[:-1] if stopped else ~logged_R):
            del rows[position][name]
    return Log("table", rows, several="mean")


def _from_mapping(source: Mapping[str, Any]) -> Log:
    """Read a dict of columns: lists, arrays, Series, ``{row: value}``, or one-column tables (scvi-tools)."""
    for wrapper in ("history", "log_history"):
        if isinstance(inner := source.get(wrapper), (Mapping, list)):
            return _from_object(inner)
    if tables := {name: column for name, column in source.items() if isinstance(column, (pd.DataFrame, pd.Series))}:
        return _from_frame(_joined(tables))
    listed = {name: c.tolist() if isinstance(c, np.ndarray) else c for name, c in source.items()}
    columns = {
        name: list(column.values() if isinstance(column, Mapping) else column)
        for name, column in listed.items()
        if isinstance(column, (Mapping, Sequence)) and not isinstance(column, str)
    }
    if not columns:
        return Log("row of values", [source])
    length = max(len(column) for column in columns.values())
    spread = {name: _spread(name, column, length) for name, column in columns.items()}
    rows = [{name: column[i] for name, column in spread.items() if column[i] is not None} for i in range(length)]
    return Log("table of columns", _plain_cells(rows))


def _joined(tables: Mapping[str, "pd.DataFrame | pd.Series[Any]"]) -> pd.DataFrame:
    """Join one-column tables by epoch; those that count something else (steps) are left out."""
    columns = {name: c.iloc[:, 0] if isinstance(c, pd.DataFrame) else c for name, c in tables.items()}
    clocks = [column.index.name for column in columns.values()]
    clock = EPOCH if EPOCH in clocks else clocks[0]
    counted = {name: column for name, column in columns.items() if column.index.name == clock}
    frame = pd.concat(counted, axis=1)
    frame.index.name = clock
    return frame


def _spread(name: str, column: list[Any], length: int) -> list[Any]:
    """Place a shorter column at every second, third, … row, as Keras' ``validation_freq`` makes it."""
    if not column:
        return [None] * length
    stride = length // len(column)
    if len(column) != length // stride:
        raise DataError(f"Column {name!r} has {len(column)} values and others {length}: which epochs are they of?")
    spread = [None] * length
    spread[stride - 1 : stride * len(column) : stride] = column
    return spread


def _from_rows(source: Iterable[Any]) -> Log:
    rows = list(source)
    if all(isinstance(row, str) for row in rows):
        return _from_text("\n".join(rows))
    if not all(isinstance(row, Mapping) for row in rows):
        raise DataError("A list of curves holds one mapping per row, such as {'epoch': 1, 'loss': 0.87, 'kl': 0.05}.")
    known = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return Log("list of rows", _plain_cells(known))


def _plain_cells(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rewrite the numbers in cells of text as Python reads them; what a comma is, the known columns say together."""
    texts = [(name, value) for row in rows for name, value in row.items() if isinstance(value, str)]
    if not any("," in value or "#" in value or "(" in value for _, value in texts):
        return rows
    commas = has_decimal_commas(value.strip() for name, value in texts if column_of(name))
    return [
        {name: plain_numbers(v, decimal_commas=commas) if isinstance(v, str) else v for name, v in row.items()}
        for row in rows
    ]


def _from_string(source: str) -> Log:
    """Read a file of that name; else the text itself, if it looks like one."""
    one_line = "\n" not in source and "\r" not in source and source.strip()
    # os.path.exists is False, and no error, for what is too long for a name
    if one_line and (os.path.exists(source) or not re.search(r"[=:{\[]\s*\S", source)):
        return _from_path(Path(source))
    return _from_text(source)


def _from_path(path: Path) -> Log:
    path = found_log(path)
    if path.is_dir() or "tfevents" in path.name:
        return _from_events(path)
    return _from_decoded(text_of(path), shortened(path))


def _from_bytes(data: bytes) -> Log:
    return _from_decoded(decoded(data), "This value of bytes")


def _from_decoded(text: str | None, where: str) -> Log:
    if text is None:
        raise DataError(f"{where} is no text; these forms are read:\n{forms()}")
    return _from_text(text, where)


def _from_events(path: Path) -> Log:
    """Read the scalars of TensorBoard event files; the scalar ``epoch``, where there is one, gives the epochs."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        from omicvae._core.errors import NotSupportedError

        raise NotSupportedError(
            f"{str(path)!r} is a TensorBoard log; reading it needs tensorboard: pip install 'omicvae[tensorboard]'."
        ) from error
    events = EventAccumulator(str(path), size_guidance={"scalars": 0})
    try:
        events.Reload()
    except Exception as error:  # its reader has no class of errors of its own
        raise DataError(f"{shortened(path)} is no TensorBoard log, or a damaged one: {error}") from error
    scalars = [(event, tag) for tag in events.Tags()["scalars"] for event in events.Scalars(tag)]
    scalars.sort(key=lambda scalar: scalar[0].wall_time)  # as they were logged, so that a second run shows
    rows = [{STEP: event.step, tag: event.value} for event, tag in scalars]
    if not rows:
        raise DataError(f"{str(path)!r} holds no TensorBoard scalars.")
    return Log("TensorBoard log", rows, several="mean")


def _from_text(text: str, where: str = "This text") -> Log:
    for read in TEXTS:
        if (log := read(text)) is not None:
            return log
    lines = plain_lines(text)
    shown = "\n".join(f"  {line[:SHOWN_WIDTH]}" for line in lines[:SHOWN_LINES]) or "  (nothing)"
    raise DataError(f"{where} is no log that omicvae can read. It begins:\n{shown}\nThese forms are read:\n{forms()}")


def _json(text: str) -> Log | None:
    """Read one JSON value, or a row per line: joined by commas, lines are a list of rows."""
    if text.lstrip().startswith(("{", "[")):
        for value in (text, f"[{','.join(line for line in text.splitlines() if line.strip())}]"):
            # what is nested too deeply is no log; an integer may have more digits than int() takes
            with suppress(json.JSONDecodeError, RecursionError):
                return _from_object(json.loads(value, parse_int=float))
    return None


def _csv(text: str) -> Log | None:
    """Read comma, semicolon or tab separated values whose first line names a known column.

    An empty cell is "not logged" and the word ``nan`` a NaN, which a table of pandas cannot tell apart.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    for delimiter in ",;\t":
        names, *_ = _cells(lines[:1], delimiter) or [[]]
        if len(names) > 1 and any(map(column_of, names)) and not any(map(NO_NAME.search, names)):
            pairs = (zip(names, row, strict=False) for row in _cells(lines[1:], delimiter))
            cells = [{name: cell for name, cell in row if name and cell} for row in pairs]
            return Log("table", _plain_cells(cells), several="mean")
    return None


def _cells(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """Split lines at a delimiter, outside of quotes: the reader of csv stops at cells of 131,072 characters."""
    if any('"' in line for line in lines):
        with suppress(csv.Error):
            return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    return [[cell.strip() for cell in line.split(delimiter)] for line in lines]


#: Form → what it looks like, beside the forms of text.
TABLE_FORMS = {
    "DataFrame": "a row per epoch",
    "CSV": "epoch,loss,kl,val_loss; Lightning's metrics.csv with its gaps",
    "JSON": "rows, columns (Keras' history.history), or a row per line",
    "TensorBoard": "an event file or its folder",
}


def forms() -> str:
    """List the forms that are read, a line each."""
    read = {**TABLE_FORMS, **{form.name: form.example for form in TEXT_FORMS}}
    return "\n".join(f"  {name}: {example}" for name, example in read.items())


#: Type → reader, the first that fits.
OBJECTS: tuple[tuple[type, Callable[[Any], Log]], ...] = (
    (pd.DataFrame, _from_frame),
    (Mapping, _from_mapping),
    (str, _from_string),
    (Path, _from_path),
    (bytes, _from_bytes),
    (Iterable, _from_rows),
)
#: Readers of text, tried in this order; each returns None for what is not its own.
TEXTS: tuple[Callable[[str], Log | None], ...] = (_json, _csv, read_text)
