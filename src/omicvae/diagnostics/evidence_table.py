"""The evidence as rows that a person reads; every check gives its own."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

import pandas as pd


@dataclass(frozen=True, slots=True)
class Row:
    """One line of evidence; ``passed`` is None where the value is shown and not judged."""

    check: str
    value: float
    threshold: str
    passed: bool | None
    meaning: str


def shown(check: str, value: float, meaning: str) -> Row:
    """Give a row that is not judged."""
    return Row(check, value, "", None, meaning)


def evidence_table(rows: Iterable[Row]) -> pd.DataFrame:
    """Put rows in a table with the columns check, value, threshold, passed, meaning."""
    columns = [field.name for field in fields(Row)]
    table = pd.DataFrame([astuple(row) for row in rows], columns=columns)
    return table.astype({"value": float, "passed": object})
