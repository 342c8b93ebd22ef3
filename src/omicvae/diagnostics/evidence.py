"""The evidence as rows that a person reads; every check gives its own."""

import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

import pandas as pd

WIDTH = 110
MARKS = {True: "ok", False: "FAIL", None: "–"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of evidence: ``meaning`` says what the value is; ``passed`` is None where it is shown and not judged."""

    check: str
    value: float
    meaning: str
    threshold: str = ""
    passed: bool | None = None


def not_measured(check: str, lacking: str) -> Row:
    """Return the line of a check that lacked its input."""
    return Row(check, float("nan"), f"not measured: {lacking}")


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


def verdict_lines(verdict: str, headline: str, evidence: pd.DataFrame) -> list[str]:
    """Verdict, its sentence and the table, at most ``WIDTH`` columns wide."""
    return [f"Verdict: {verdict}", *textwrap.wrap(headline, WIDTH), "", *_table(evidence)]


def _table(evidence: pd.DataFrame) -> list[str]:
    """Lines of at most ``WIDTH`` columns, names and meanings wrapped within theirs."""
    columns = [
        evidence["check"],
        evidence["value"].map(number),
        evidence["threshold"],
        evidence["passed"].map(MARKS.get),
    ]
    cells = [("check", "value", "wanted", ""), *zip(*columns, strict=True)]
    wrapped = [[textwrap.wrap(name, 34), *([text] for text in others)] for name, *others in cells]
    widths = [max(len(line) for row in wrapped for line in row[column]) for column in range(4)]
    left = sum(widths) + 2 * len(widths)
    lines = []
    for row, meaning in zip(wrapped, ["meaning", *evidence["meaning"]], strict=True):
        for name, value, wanted, mark, text in zip_longest(*row, textwrap.wrap(meaning, WIDTH - left), fillvalue=""):
            name, value = name.ljust(widths[0]), value.rjust(widths[1])
            lines.append(f"{name}  {value}  {wanted:<{widths[2]}}  {mark:<{widths[3]}}  {text}".rstrip())
    return lines
