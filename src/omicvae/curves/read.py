"""Curves of any program as one table: DataFrame, CSV, JSON, TensorBoard, log text."""

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from omicvae._core.errors import DataError
from omicvae.curves.names import EPOCH, STEP, log_name
from omicvae.curves.table import Log, Row, as_number, log_table
from omicvae.curves.text import TEXT_FORMS, plain_lines, read_text

#: Columns without which there is nothing to judge.
JUDGED = ("loss", "recon", "kl", "elbo", "minus_elbo")
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
    known = [name for name in table.columns if str(name).rsplit("_", 1)[0] in JUDGED]
    if not known:
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
    """Read a table whose gaps are NaN: not logged where rows share epochs or in validation, else not finite."""
    if log_name(str(frame.index.name)) is not None and frame.index.name not in frame.columns:
        frame = frame.reset_index()
    rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    clocks = [str(name) for name in frame.columns if (known := log_name(str(name))) and known.column == EPOCH]
    sparse = any(frame[name].isna().any() or frame[name].duplicated().any() for name in clocks)
    for name in map(str, frame.columns):
        logged = np.array([as_number(row[name]) is not None and row[name] == row[name] for row in rows], dtype=bool)
        _drop_gaps(rows, name, logged, sparse)
    return Log("table", rows, several="mean")


def _drop_gaps(rows: list[dict[str, Any]], name: str, logged_R: "np.ndarray[Any, Any]", sparse: bool) -> None:
    """Take out the NaN that mean "not logged"; one that ends a training curve early stays."""
    known = log_name(name)
    training = known is not None and known.column.endswith("_train")
    if training and not sparse:
        return
    positions = np.flatnonzero(logged_R)
    # rows of one kind come at equal distances; a curve that stops for twice the longest has become NaN
    stopped = training and len(positions) > 1 and len(rows) - 1 - positions[-1] > 2 * np.diff(positions).max()
    for position in np.flatnonzero(~logged_R):
        if not (stopped and position == len(rows) - 1):
            del rows[position][name]


def _from_mapping(source: Mapping[str, Any]) -> Log:
    """Read a dict of columns: lists, arrays, Series, ``{row: value}``, or one-column tables (scvi-tools)."""
    for wrapper in ("history", "log_history"):
        if isinstance(inner := source.get(wrapper), (Mapping, list)):
            return _from_object(inner)
    if tables := {name: column for name, column in source.items() if isinstance(column, (pd.DataFrame, pd.Series))}:
        return _from_frame(_joined(tables))
    columns = {
        name: list(column.values() if isinstance(column, Mapping) else column)
        for name, column in source.items()
        if isinstance(column, (Mapping, Sequence, np.ndarray)) and not isinstance(column, str)
    }
    if not columns:
        return Log("row of values", [source])
    length = max(len(column) for column in columns.values())
    spread = {name: _spread(name, column, length) for name, column in columns.items()}
    rows = [{name: column[i] for name, column in spread.items() if column[i] is not None} for i in range(length)]
    return Log("table of columns", rows)


def _joined(tables: Mapping[str, "pd.DataFrame | pd.Series[Any]"]) -> pd.DataFrame:
    """Join one-column tables by epoch; those that count something else (steps) are left out."""
    columns = [
        (column.iloc[:, 0] if isinstance(column, pd.DataFrame) else column).rename(name)
        for name, column in tables.items()
    ]
    clock = EPOCH if any(column.index.name == EPOCH for column in columns) else columns[0].index.name
    frame = pd.concat([column for column in columns if column.index.name == clock], axis=1)
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
    return Log("list of rows", [{name: value for name, value in row.items() if value is not None} for row in rows])


def _from_string(source: str) -> Log:
    """Read a file of that name; else the text itself, if it looks like one."""
    one_line = "\n" not in source and "\r" not in source and source.strip()
    # os.path.exists is False, and no error, for what is too long for a name
    if one_line and (os.path.exists(source) or not re.search(r"[=:{\[]\s*\S", source)):
        return _from_path(Path(source))
    return _from_text(source)


def _from_path(path: Path) -> Log:
    if not path.exists():
        raise DataError(f"There is no file {str(path)!r}.")
    if path.is_dir():
        return _from_folder(path)
    if "tfevents" in path.name:
        return _from_events(path)
    try:
        return _from_text(path.read_text(encoding="utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r} is no text; these forms are read:\n{forms()}") from error
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error}") from error


def _from_folder(path: Path) -> Log:
    """Read a logger's folder: its event files, or its ``metrics.csv``."""
    if list(path.glob("*tfevents*")):
        return _from_events(path)
    if (path / "metrics.csv").is_file():
        return _from_path(path / "metrics.csv")
    raise DataError(f"The folder {str(path)!r} holds neither TensorBoard event files nor a metrics.csv.")


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
    events.Reload()
    rows = [{STEP: event.step, tag: event.value} for tag in events.Tags()["scalars"] for event in events.Scalars(tag)]
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
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return _from_object(json.loads(text))
    except json.JSONDecodeError:
        return _json_lines(text)


def _json_lines(text: str) -> Log | None:
    try:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError:
        return None
    return _from_rows(rows) if all(isinstance(row, Mapping) for row in rows) else None


def _csv(text: str) -> Log | None:
    """Read comma, semicolon or tab separated values whose first line names a known column.

    An empty cell is "not logged" and the word ``nan`` a NaN, which a table of pandas cannot tell apart.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    for delimiter in ",;\t":
        names = [name.strip() for name in next(csv.reader(lines[:1], delimiter=delimiter), [])]
        if len(names) > 1 and any(log_name(name) for name in names) and all(_is_name(name) for name in names):
            return Log("table", list(_csv_rows(lines[1:], names, delimiter)), several="mean")
    return None


def _is_name(text: str) -> bool:
    return re.search(r"[=:]|(^|\s)[-+]?\.?\d", text) is None


def _csv_rows(lines: list[str], names: list[str], delimiter: str) -> Iterator[Row]:
    for cells in csv.reader(lines, delimiter=delimiter):
        yield {name: cell for name, cell in zip(names, cells, strict=False) if cell.strip()}


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
    (Iterable, _from_rows),
)
#: Readers of text, tried in this order; each returns None for what is not its own.
TEXTS: tuple[Callable[[str], Log | None], ...] = (_json, _csv, read_text)
