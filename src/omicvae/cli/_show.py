"""The fits of the demo side by side, for a terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from omicvae.cli._demo_fits import DemoFit
    from omicvae.diagnostics import Diagnosis

STYLES = {"good": "bold green", "warning": "bold yellow", "bad": "bold red"}
MISSING = "–"


def number(value: float) -> str:
    """Write a value with three significant digits, and a missing one as a dash."""
    if value != value:
        return MISSING
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def styled(diagnosis: "Diagnosis") -> str:
    """Colour a verdict as rich markup."""
    return f"[{STYLES[diagnosis.tone]}]{diagnosis.verdict}[/]"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table: what it is called, and how to read it from a fit."""

    name: str
    read: "Callable[[DemoFit], str]"


def _check(name: str) -> "Callable[[DemoFit], str]":
    def read(fit: "DemoFit") -> str:
        evidence = fit.diagnosis.evidence
        values = evidence.loc[evidence["check"] == name, "value"]
        return number(values.iloc[0]) if len(values) else MISSING

    return read


def _probe(representation: str, column: str = "balanced_accuracy") -> "Callable[[DemoFit], str]":
    def read(fit: "DemoFit") -> str:
        probes = fit.diagnosis.probes
        if probes.empty:
            return MISSING
        # the logistic probe is the first of each representation
        return f"{probes.loc[probes['representation'] == representation, column].iloc[0]:.2f}"

    return read


def _truth(effect: str) -> "Callable[[DemoFit], str]":
    return lambda fit: f"{fit.truth[effect]:.3f}" if effect in fit.truth else ""


LINES = (
    Line("verdict", lambda fit: styled(fit.diagnosis)),
    Line("KL", _check("rate (KL)")),
    Line(
        "active dimensions",
        lambda fit: f"{_check('active units')(fit)} of {len(fit.diagnosis.kl_per_dimension)}",
    ),
    Line("cost of a permuted z", _check("decoder use")),
    Line("gain over no latent", _check("gain over null")),
    Line("labels from one draw", _probe("posterior draw")),
    Line("  by chance, at most", _probe("posterior draw", "permuted_high")),
    Line("  from rescaled means", _probe("standardised means")),
    Line("  from PCA", _probe("PCA")),
    Line("true batch effects, r", _truth("batch_effect")),
    Line("true disease effects, r", _truth("disease_effect")),
    Line("training, s", lambda fit: f"{fit.seconds:.1f}"),
)


def comparison_table(fits: "Sequence[DemoFit]") -> "Table":
    """Put the fits side by side."""
    from rich.table import Table

    table = Table(
        title="Is the latent space alive?",
        caption="KL, cost and gain: nats per cell. Labels: balanced accuracy. r: correlation over genes. On a new "
        "machine the first fit's seconds hold the compilation of the kernels.",
        title_style="bold",
    )
    table.add_column("")
    for fit in fits:
        table.add_column(fit.title.replace(", ", "\n", 1), justify="right", no_wrap=True)
    for line in LINES:
        table.add_row(line.name, *(line.read(fit) for fit in fits))
    return table


def show_remedies(diagnosis: "Diagnosis", console: "Console") -> None:
    """Print what to try, best first."""
    from rich.markup import escape

    for rank, remedy in enumerate(diagnosis.remedies, start=1):
        console.print(f"  {rank}. {escape(remedy.why)}", highlight=False)
        # the call on a line of its own, unbroken, so that it can be copied
        console.print(f"     {escape(remedy.line)}", highlight=False, soft_wrap=True)
