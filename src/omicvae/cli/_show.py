"""The fits of the demo side by side, for a terminal."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from omicvae.cli._demo_fits import DemoFit
    from omicvae.diagnostics import Diagnosis

STYLES = {"good": "bold green", "warning": "bold yellow", "bad": "bold red"}
MISSING = "–"


def _styled(diagnosis: "Diagnosis") -> str:
    """Colour a verdict as rich markup."""
    return f"[{STYLES[diagnosis.tone]}]{diagnosis.verdict}[/]"


def _check(name: str) -> "Callable[[DemoFit], str]":
    def read(fit: "DemoFit") -> str:
        from omicvae.report import number

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


#: A line of the table: what it is called, and how to read it from a fit.
LINES: "dict[str, Callable[[DemoFit], str]]" = {
    "verdict": lambda fit: _styled(fit.diagnosis),
    "KL": _check("rate (KL)"),
    "active dimensions": lambda fit: f"{_check('active units')(fit)} of {len(fit.diagnosis.kl_per_dimension)}",
    "cost of a permuted z": _check("decoder use"),
    "gain over no latent": _check("gain over null"),
    "labels from one draw": _probe("posterior draw"),
    "  by chance, at most": _probe("posterior draw", "permuted_high"),
    "  from rescaled means": _probe("standardised means"),
    "  from PCA": _probe("PCA"),
    "true batch effects, r": _truth("batch_effect"),
    "true disease effects, r": _truth("disease_effect"),
    "training, s": lambda fit: f"{fit.seconds:.1f}",
}


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
    for name, read in LINES.items():
        table.add_row(name, *(read(fit) for fit in fits))
    return table


def show_remedies(diagnosis: "Diagnosis", console: "Console") -> None:
    """Print what to try, best first."""
    from rich.markup import escape

    for rank, remedy in enumerate(diagnosis.remedies, start=1):
        console.print(f"  {rank}. {escape(remedy.why)}", highlight=False)
        # the call on a line of its own, unbroken, so that it can be copied
        console.print(f"     {escape(remedy.line)}", highlight=False, soft_wrap=True)
