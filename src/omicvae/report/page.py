"""The page: values in reading order, put into the template."""

import datetime as dt
import json
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from omicvae.report.facts import EvidenceFacts, ModelFacts
from omicvae.report.figures import covariate_figures, curves_legend, latent_figures, map_figures, training_figures
from omicvae.report.maps import CellMaps
from omicvae.report.svg import page_style

if TYPE_CHECKING:
    from omicvae.diagnostics import Diagnosis

SYMBOLS = {"good": "✓", "warning": "!", "bad": "✗"}


def render(
    diagnosis: "Diagnosis", history: pd.DataFrame, facts: ModelFacts | EvidenceFacts, maps: CellMaps | None
) -> str:
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
    marks = [check["mark"] for check in checks]
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
        remarks=[remark[:1].upper() + remark[1:] for remark in diagnosis.remarks],
        facts=facts.lines(),
        own=isinstance(facts, ModelFacts),
        remedies=diagnosis.remedies,
        checks=checks,
        n_judged=len(marks) - marks.count("shown"),
        n_passed=marks.count("passed"),
        **figures,
        curves=curves_legend(history),
        settings={
            name: json.dumps(settings, indent=2, ensure_ascii=False, default=str)
            for name, settings in facts.settings.items()
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


def _checks(evidence: pd.DataFrame) -> Iterator[dict[str, str]]:
    """Rows of the evidence as text, marked as passed, failed or shown."""
    for row in evidence.to_dict("records"):
        mark = "shown" if pd.isna(row["passed"]) else "passed" if row["passed"] else "failed"
        texts = {"name": row["check"], "threshold": row["threshold"] or "", "mark": mark, "meaning": row["meaning"]}
        yield {"value": number(row["value"])} | {name: str(text) for name, text in texts.items()}


def number(value: float | None) -> str:
    """Three significant digits, thousands in full, what is missing as a dash."""
    if value is None or value != value:
        return "–"
    return f"{value:,.0f}".replace("-", "−") if abs(value) >= 100 else f"{value:.3g}".replace("-", "−")
