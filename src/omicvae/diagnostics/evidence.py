"""The evidence as rows that a person reads; every check gives its own."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, slots=True)
class Row:
    """One line of evidence: ``meaning`` says what the value is; ``passed`` is None where it is shown and not judged."""

    check: str
    value: float
    meaning: str
    threshold: str = ""
    passed: bool | None = None


class Check(ABC):
    """A result of measuring, frozen, that gives its own evidence."""

    __slots__ = ()

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Evidence in reading order."""

    def to_frame(self) -> pd.DataFrame:
        """Evidence as a table."""
        return evidence_table(self.rows())


def evidence_table(rows: Iterable[Row]) -> pd.DataFrame:
    """Put rows in a table with the columns check, value, threshold, passed, meaning."""
    table = pd.DataFrame(list(rows), columns=["check", "value", "threshold", "passed", "meaning"])
    return table.astype({"value": float, "passed": object})


def number(value: float | None) -> str:
    """Three significant digits; what is missing as a dash."""
    return "–" if value is None or value != value else f"{value:.3g}"
