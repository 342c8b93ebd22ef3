"""What every diagnosis says and how it prints, whether it rests on a fit or on curves alone."""

import html
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import pandas as pd

from omicvae.diagnostics.discriminator import discriminator_won
from omicvae.diagnostics.evidence import MARKS, WIDTH, Row, evidence_table, number, verdict_lines
from omicvae.diagnostics.remedies import WEAKER_DISCRIMINATOR, Remedy
from omicvae.diagnostics.rules import Rule, Statistics, Tone, judge, ranked_remedies

#: A part of a call up to a comma with a blank; what stands in quotes is whole.
UNBROKEN = re.compile(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^'",]|,(?! ))+(?:, )?""")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BaseDiagnosis:
    """A verdict with its reasons.

    Attributes
    ----------
    verdict
        Name of the rule that holds.
    headline
        The verdict in a sentence.
    findings
        Names of further verdicts whose conditions hold as well.
    remarks
        Sentences that changed nothing: unused dimensions, labels that prove nothing, an adversary that was off.
    evidence
        Columns ``check``, ``value``, ``threshold`` (text), ``passed`` (True, False, or None: shown, not judged)
        and ``meaning``.
    remedies
        Ranked; each is a mapping that ``model.train(objective=...)`` takes.
    sound
        Whether there is nothing to mend.
    tone
        How grave the verdict is: ``"good"``, ``"warning"`` or ``"bad"``.
    """

    verdict: str
    headline: str
    findings: tuple[str, ...]
    remarks: tuple[str, ...]
    evidence: pd.DataFrame
    remedies: tuple[Remedy, ...]
    sound: bool
    tone: Tone

    @classmethod
    def of(
        cls,
        rules: Sequence[Rule[Statistics]],
        statistics: Statistics,
        rows: Iterable[Row],
        *,
        curves: pd.DataFrame,
        remarks: Iterable[str],
        **own: Any,
    ) -> Self:
        """Judge by a table of rules, and the players of a VAE-GAN by its curves; ``own`` are further fields."""
        judged, won = judge(rules, statistics), discriminator_won(curves)
        rule, *findings = judged
        return cls(
            verdict=rule.name,
            headline=rule.headline(statistics),
            findings=tuple(finding.name for finding in findings),
            evidence=evidence_table(rows),
            remarks=(*remarks, *won),
            remedies=(*ranked_remedies(judged, statistics), *((WEAKER_DISCRIMINATOR,) if won else ())),
            sound=rule.sound,
            tone=rule.tone,
            **own,
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the evidence."""
        return self.evidence.copy()

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON takes; what is NaN or infinite becomes None."""
        names = [field.name for field in fields(self) if field.name not in ("sound", "tone", "inputs")]
        return {name: plain(getattr(self, name)) for name in names}

    @property
    def notes(self) -> tuple[str, ...]:
        """What is said below the evidence: findings, then remarks."""
        also = (f"also found: {', '.join(self.findings)}.",) if self.findings else ()
        return also + self.remarks

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.verdict}>"

    def __str__(self) -> str:
        """Headline, table, notes and remedies, at most 110 columns wide."""
        return self.text()

    def text(self, call: Callable[[Remedy], Sequence[str]] | None = None) -> str:
        """Return the same with the lines of a ``call`` that runs each remedy, by default in Python."""
        lines = verdict_lines(self.verdict, self.headline, self.evidence)
        for note in self.notes:
            lines += textwrap.wrap(f"Note: {note}", WIDTH, subsequent_indent="      ")
        if self.remedies:
            lines += ["", "What to try, best first:"]
        for rank, remedy in enumerate(self.remedies, start=1):
            lines += textwrap.wrap(f"{rank}. {remedy.why}", WIDTH, subsequent_indent="   ")
            lines += [f"   {line}" for line in (call or _python)(remedy)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Verdict, sentence and notes, the table folded away, remedies as code."""
        marks, values = self.evidence["passed"].map(MARKS.get), self.evidence["value"].map(number)
        with pd.option_context("display.max_colwidth", None):
            table = self.evidence.assign(value=values, passed=marks).to_html(index=False, border=0)
        said = html.escape(" ".join([self.headline, *self.notes]))
        items = (f"<li>{html.escape(r.why)}<br><code>{html.escape(r.line)}</code></li>" for r in self.remedies)
        return (
            f"<div><b>{html.escape(self.verdict)}</b>: {said}<details><summary>evidence</summary>{table}</details>"
            f"<ol>{''.join(items)}</ol></div>"
        )


def _python(remedy: Remedy) -> list[str]:
    """Break the call after commas outside quotes, as Python allows inside brackets: it must run when copied."""
    return filled(UNBROKEN.findall(remedy.line), WIDTH - 3)


def filled(parts: Iterable[str], width: int) -> list[str]:
    """Lines of parts that are not broken, at most ``width`` wide where a part allows; the later ones are indented."""
    lines = [""]
    for part in parts:
        if lines[-1].strip() and len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("    ")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def plain(value: Any) -> Any:
    """Turn a value into what JSON takes: tables into rows, NaN and infinite into None."""
    if isinstance(value, pd.DataFrame):
        return [{str(name): plain(cell) for name, cell in row.items()} for row in value.to_dict("records")]
    if isinstance(value, Remedy):
        return value.to_dict()
    if isinstance(value, (tuple, np.ndarray, pd.Series, pd.Index)):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
