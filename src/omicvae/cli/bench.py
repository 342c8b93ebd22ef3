"""Compare the speed of omicvae and scvi-tools on this machine, on synthetic counts."""

import argparse
from statistics import median
from typing import Any

from omicvae.cli.shared import add, likelihood_names, write_json

SIDES = ("omicvae", "scvi")
METRICS = {"train_cells_per_second": "training, cells/s", "latent_cells_per_second": "latents, cells/s"}
LIBRARY = 500.0  # counts per cell; with 2000 genes about 15 % of the matrix is not zero


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("--cells", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--genes", type=int, default=2000, help="default: 2000")
    add(parser, "--likelihood", help=f"what scvi-tools has too (default: nb) of {likelihood_names()}")
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    parser.add_argument("--epochs", type=int, default=3, help="the first is a warm-up; default: 3")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu", help="default: cpu")
    add(parser, "--json", help="write every single run there as well")


def run(options: argparse.Namespace) -> None:
    """Simulate, train both in turn, print a table."""
    import torch
    from rich.console import Console

    import omicvae as ov
    from omicvae._core.arguments import choose, integral
    from omicvae._core.errors import NotSupportedError
    from omicvae.model.speed import COMPARISONS, Run, measure

    choose("--likelihood", options.likelihood, tuple(COMPARISONS))
    repeats, epochs = (integral(f"--{name}", getattr(options, name), minimum=1) for name in ("repeats", "epochs"))
    if options.accelerator == "gpu" and not torch.cuda.is_available():
        raise NotSupportedError("--accelerator gpu needs a CUDA device, and torch finds none.")
    console = Console()
    adata = ov.datasets.simulate_counts(options.cells, options.genes, n_types=8, library=LIBRARY)
    task = Run(likelihood=options.likelihood, epochs=epochs, accelerator=options.accelerator)
    runs = []
    for repeat in range(repeats):
        for side in SIDES:
            with console.status(f"Repeat {repeat + 1} of {repeats}: {side} …"):
                runs.append({"repeat": repeat, "side": side, **measure(side, adata, task)})
    summary = summarise(runs)
    comparison = COMPARISONS[options.likelihood]
    density = adata.X.nnz / (adata.n_obs * adata.n_vars)
    title = f"{options.likelihood}, {adata.n_obs} cells × {adata.n_vars} genes, {density:.0%} not zero"
    machine = hardware(options.accelerator)
    console.print(_speed_table(summary, title, f"scvi-tools {comparison.peer}"))
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), highlight=False)
    for step in dict.fromkeys(run["step"] for run in runs if run["step"]):
        console.print(f"omicvae trained by the {step}.", highlight=False)
    if comparison.differs:
        console.print(f"Not the same model: {comparison.differs}.", highlight=False)
    report = {"data": title, "peer": comparison.peer, "hardware": machine, "summary": summary, "runs": runs}
    write_json(report, options.json)


def summarise(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Take medians of both sides, and the median, smallest and largest ratio over the repeats, of each metric."""
    summary = {}
    for metric in METRICS:
        of = {side: [run[metric] for run in runs if run["side"] == side] for side in SIDES}
        ratios = [ours / theirs for ours, theirs in zip(of["omicvae"], of["scvi"], strict=True)]
        summary[metric] = {
            **{side: median(values) for side, values in of.items()},
            "ratio": median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }
    return summary


def hardware(accelerator: str) -> dict[str, object]:
    """Return what the times depend on."""
    import os
    import platform
    from importlib import metadata

    import torch

    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        **({"gpu": torch.cuda.get_device_name()} if accelerator == "gpu" else {}),
        **{name: metadata.version(name) for name in ("omicvae", "torch", "scvi-tools")},
    }


def _speed_table(summary: dict[str, dict[str, float]], title: str, peer: str) -> Any:
    """Put both sides and their ratio side by side."""
    from rich.table import Table

    table = Table(title=title, caption="Medians; in brackets the smallest and largest ratio.", title_style="bold")
    table.add_column("")
    for name in ("omicvae", peer, "times faster"):
        table.add_column(name, justify="right")
    for metric, row in summary.items():
        ratio = f"{row['ratio']:.1f} ({row['ratio_min']:.1f} to {row['ratio_max']:.1f})"
        table.add_row(METRICS[metric], f"{row['omicvae']:,.0f}", f"{row['scvi']:,.0f}", ratio)
    return table
