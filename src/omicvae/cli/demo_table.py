"""The fits of the demo side by side, for a terminal."""

from collections.abc import Sequence

from rich.table import Table

from omicvae.cli.demo_fits import DemoFit
from omicvae.report import number

STYLES = {"good": "bold green", "warning": "bold yellow", "bad": "bold red"}


def _column(fit: DemoFit) -> dict[str, str]:
    """Say of a fit what the table shows."""
    diagnosis = fit.diagnosis
    value = dict(zip(diagnosis.evidence["check"], diagnosis.evidence["value"], strict=True))

    def probe(representation: str, column: str = "balanced_accuracy") -> str:
        if diagnosis.probes.empty:
            return number(None)
        # the logistic probe is the first of each representation
        return f"{diagnosis.probes.loc[diagnosis.probes['representation'] == representation, column].iloc[0]:.2f}"

    active = number(value.get("active units"))
    return {
        "verdict": f"[{STYLES[diagnosis.tone]}]{diagnosis.verdict}[/]",
        "KL": number(value.get("rate (KL)")),
        "active dimensions": f"{active} of {len(diagnosis.kl_per_dimension)}",
        "cost of a permuted z": number(value.get("decoder use")),
        "gain over no latent": number(value.get("gain over null")),
        "labels from one draw": probe("posterior draw"),
        "  by chance, at most": probe("posterior draw", "permuted_high"),
        "  from rescaled means": probe("standardised means"),
        "  from PCA": probe("PCA"),
        **{f"true {effect.replace('_', ' ')}s, r": f"{r:.3f}" for effect, r in fit.truth.items()},
        "training, s": f"{fit.seconds:.1f}",
    }


def comparison_table(fits: Sequence[DemoFit]) -> Table:
    """Put the fits side by side."""
    table = Table(
        title="Is the latent space alive?",
        caption="KL, cost and gain: nats per cell. Labels: balanced accuracy. r: correlation over genes. On a new "
        "machine the first fit's seconds hold the compilation of the kernels.",
        title_style="bold",
    )
    table.add_column("")
    for fit in fits:
        table.add_column(fit.title.replace(", ", "\n", 1), justify="right", no_wrap=True)
    columns = [_column(fit) for fit in fits]
    for name in max(columns, key=len):
        table.add_row(name, *(column.get(name, "") for column in columns))
    return table
