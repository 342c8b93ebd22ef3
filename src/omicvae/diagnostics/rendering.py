"""How a diagnosis prints: text and HTML."""

import html
import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd

from omicvae.diagnostics.remedies import Remedy

WIDTH = 110
MARKS = {True: "ok", False: "FAIL", None: "–"}


def number(value: Any) -> str:
    """Three significant digits; what is missing as a dash."""
    return "–" if value is None or value != value else f"{value:.3g}"


def as_text(
    headline: str, verdict: str, evidence: pd.DataFrame, remedies: Sequence[Remedy], remarks: Sequence[str]
) -> str:
    """Headline, table, remarks and remedies, at most 110 columns wide."""
    lines = [f"Verdict: {verdict}", *textwrap.wrap(headline, WIDTH), "", *_table(evidence)]
    for remark in remarks:
        lines += textwrap.wrap(f"Note: {remark}", WIDTH, subsequent_indent="      ")
    if remedies:
        lines += ["", "What to try, best first:"]
    for rank, remedy in enumerate(remedies, start=1):
        lines += textwrap.wrap(f"{rank}. {remedy.why}", WIDTH, subsequent_indent="   ")
        # a call must stay runnable when copied: it breaks after commas, which Python allows inside brackets
        lines += textwrap.wrap(
            remedy.line, WIDTH, initial_indent="   ", subsequent_indent="       ", break_long_words=False
        )
    return "\n".join(lines)


def as_html(
    headline: str, verdict: str, evidence: pd.DataFrame, remedies: Sequence[Remedy], remarks: Sequence[str]
) -> str:
    """Verdict, sentence and remarks, the table folded away, remedies as code."""
    rows = "".join(
        f"<tr><td>{html.escape(row.check)}</td><td>{number(row.value)}</td><td>{html.escape(row.threshold)}</td>"
        f"<td>{MARKS[row.passed]}</td><td>{html.escape(row.meaning)}</td></tr>"
        for row in _rows(evidence)
    )
    head = "".join(f"<th>{name}</th>" for name in evidence.columns)
    items = "".join(
        f"<li>{html.escape(remedy.why)}<br><code>{html.escape(remedy.line)}</code></li>" for remedy in remedies
    )
    return (
        f"<div><b>{html.escape(verdict)}</b>: {html.escape(' '.join([headline, *remarks]))}"
        f"<details><summary>evidence</summary><table><tr>{head}</tr>{rows}</table></details><ol>{items}</ol></div>"
    )


def _rows(evidence: pd.DataFrame) -> list[Any]:
    return list(evidence.itertuples(index=False))


def _table(evidence: pd.DataFrame) -> list[str]:
    cells = [("check", "value", "wanted", "")] + [
        (row.check, number(row.value), row.threshold, MARKS[row.passed]) for row in _rows(evidence)
    ]
    wrapped = [(textwrap.wrap(cell[0], 34) or [""], *cell[1:]) for cell in cells]
    widths = (
        max(len(line) for names, *_ in wrapped for line in names),
        *(max(len(str(row[column])) for row in wrapped) for column in (1, 2, 3)),
    )
    meanings = ["meaning", *evidence["meaning"]]
    left = sum(widths) + 2 * len(widths)
    lines: list[str] = []
    for (names, value, threshold, mark), meaning in zip(wrapped, meanings, strict=True):
        texts = textwrap.wrap(meaning, WIDTH - left) or [""]
        for position in range(max(len(names), len(texts))):
            first = position == 0
            name = names[position] if position < len(names) else ""
            text = texts[position] if position < len(texts) else ""
            line = (
                f"{name:<{widths[0]}}  {value if first else '':>{widths[1]}}  "
                f"{threshold if first else '':<{widths[2]}}"
                f"  {mark if first else '':<{widths[3]}}  {text}"
            )
            lines.append(line.rstrip())
    return lines
