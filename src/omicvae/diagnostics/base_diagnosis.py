"""What every diagnosis says and how it prints, whether it rests on a fit or on curves alone."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from omicvae.diagnostics.remedies import Remedy
from omicvae.diagnostics.rendering import as_html, as_text
from omicvae.diagnostics.rules import Tone


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

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the evidence."""
        return self.evidence.copy()

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON takes; what is NaN or infinite becomes None."""
        return {
            "verdict": self.verdict,
            "headline": self.headline,
            "findings": list(self.findings),
            "remarks": list(self.remarks),
            "evidence": plain_records(self.evidence),
            "remedies": [remedy.to_dict() for remedy in self.remedies],
        }

    def __str__(self) -> str:
        return as_text(self.headline, self.verdict, self.evidence, self.remedies, self.notes)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.verdict}>"

    def _repr_html_(self) -> str:
        return as_html(self.headline, self.verdict, self.evidence, self.remedies, self.notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is said below the evidence: findings, then remarks."""
        also = (f"also found: {', '.join(self.findings)}.",) if self.findings else ()
        return also + self.remarks


def plain_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as plain values."""
    return [{str(name): plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def plain(value: Any) -> Any:
    """Turn numpy scalars into Python's, and what is NaN or infinite into None."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
