"""The page: values in reading order, put into the template."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from omicvae.report._facts import ModelFacts
from omicvae.report._figures import covariate_figures, curves_legend, latent_figures, map_figures, training_figures
from omicvae.report._maps import CellMaps
from omicvae.report._svg import page_style

if TYPE_CHECKING:
    from omicvae.diagnostics import Diagnosis

SYMBOLS = {"good": "✓", "warning": "!", "bad": "✗"}


@dataclass(frozen=True, slots=True)
class Check:
    """A row of the evidence as text; ``mark`` is passed, failed or shown."""

    name: str
    value: str
    threshold: str
    mark: str
    meaning: str


def render(diagnosis: "Diagnosis", history: pd.DataFrame, facts: ModelFacts, maps: CellMaps | None) -> str:
    """Return the report as one HTML document that loads nothing.

    Parameters
    ----------
    diagnosis
        Read as it is: every row of its evidence, every remedy.
    history
        A row per epoch.
    facts
        What data and model are.
    maps
        Cells in two dimensions; None leaves them out.
    """
    checks = list(_checks(diagnosis.evidence))
    with page_style():
        figures = {
            "maps": [] if maps is None else map_figures(maps),
            "latent": [*latent_figures(diagnosis), *([] if maps is None else covariate_figures(maps))],
            "training": list(training_figures(history)),
        }
    return _template().render(
        verdict=diagnosis.verdict.replace("_", " "),
        tone=diagnosis.tone,
        symbol=SYMBOLS[diagnosis.tone],
        headline=diagnosis.headline,
        findings=[name.replace("_", " ") for name in diagnosis.findings],
        remarks=[_sentence(remark) for remark in diagnosis.remarks],
        facts=facts.lines(),
        remedies=diagnosis.remedies,
        checks=checks,
        tally=_tally(checks),
        **figures,
        curves=curves_legend(history),
        settings={
            "Model": _json(facts.model),
            "Objective of the last run": _json(facts.objective),
            "Data": _json(facts.setup),
        },
        date=dt.date.today().isoformat(),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("omicvae.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _checks(evidence: pd.DataFrame) -> Iterator[Check]:
    for row in evidence.to_dict("records"):
        passed = row["passed"]
        judged = passed is not None and passed == passed
        mark = "shown" if not judged else "passed" if passed else "failed"
        yield Check(str(row["check"]), number(row["value"]), str(row["threshold"] or ""), mark, str(row["meaning"]))


def number(value: float | None) -> str:
    """Three significant digits, thousands in full, what is missing as a dash."""
    if value is None or value != value:
        return "–"
    return f"{value:,.0f}".replace("-", "−") if abs(value) >= 100 else f"{value:.3g}".replace("-", "−")


def _tally(checks: list[Check]) -> str:
    judged = [check.mark for check in checks if check.mark != "shown"]
    return (
        f"{judged.count('passed')} of {len(judged)} judged checks passed; {len(checks) - len(judged)} are shown only."
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _json(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, indent=2, ensure_ascii=False, default=str)
