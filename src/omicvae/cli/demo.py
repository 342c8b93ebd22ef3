"""Train, diagnose and draw on real cells; about a minute, no download."""

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omicvae.cli.shared import add

if TYPE_CHECKING:
    from omicvae.cli.demo_fits import DemoFit

# Samples × genes and epochs of the bulk cohort
FULL = {"n_samples": 5000, "n_genes": 2000, "max_epochs": 12}
QUICK = {"n_samples": 1000, "n_genes": 300, "max_epochs": 40}

STORY = (
    "The first fit averages its losses over genes and over dimensions, as many tutorials do. Its loss "
    "curves look fine, and a classifier of its posterior means does nearly as well as PCA, because it "
    "rescales them. But the model itself uses none of it: one draw from the posterior, which is what "
    "the decoder sees, tells nothing about the cell. The second fit, with the defaults, is alive. The "
    "third is compared with the effects that were simulated."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    add(parser, "--out", required=False, default=Path("omicvae_demo"), metavar="FOLDER", help="where files go")
    add(parser, "--seed")
    parser.add_argument("--quick", action="store_true", help="a smaller bulk cohort")


def run(options: argparse.Namespace) -> None:
    """Fit, diagnose, draw, write, explain."""
    from rich.console import Console
    from rich.markup import escape

    from omicvae._core.files import write_file, write_text
    from omicvae.cli import demo_figures, demo_fits
    from omicvae.cli.demo_table import comparison_table

    start = time.perf_counter()
    console = Console()
    out: Path = options.out
    write_text("Files of `omicvae demo`; it overwrites them when it runs again.\n", out / "README.txt")

    with console.status("Training on PBMC counts with losses averaged over genes and dimensions …"):
        pbmc = demo_fits.prepare_pbmc()
        collapsed = demo_fits.fit_collapsed(pbmc, seed=options.seed)
    with console.status("Training on the same cells with the defaults …"):
        defaults = demo_fits.fit_defaults(pbmc, seed=options.seed)
    with console.status("Training on a simulated bulk cohort …"):
        cohort, bulk = demo_fits.fit_bulk(**(QUICK if options.quick else FULL), seed=options.seed)
    fits = [collapsed, defaults, bulk]
    with console.status("Drawing …"):
        files = [demo_figures.draw_losses(fit, out) for fit in fits]
        files.append(demo_figures.draw_kl(fits, out))
        files += demo_figures.draw_pbmc(pbmc, collapsed, defaults, out, seed=options.seed)
        files.append(demo_figures.draw_bulk(cohort, bulk, out, seed=options.seed))
    write_file(out / "pbmc.h5ad", pbmc.write_h5ad)
    seconds = time.perf_counter() - start
    write_text(json.dumps(summary(fits, seed=options.seed, seconds=seconds), indent=2), out / "summary.json")

    console.print(comparison_table(fits))
    for fit in fits:
        console.print(f"\n[bold]{fit.title}[/]: {escape(fit.diagnosis.headline)}", highlight=False)
        for rank, remedy in enumerate(fit.diagnosis.remedies, start=1):
            console.print(f"  {rank}. {escape(remedy.why)}", highlight=False)
            # the call on a line of its own, unbroken, so that it can be copied
            console.print(f"     {escape(remedy.line)}", highlight=False, soft_wrap=True)
    console.print(f"\n{STORY}\n", highlight=False)
    for path in [out / "pbmc.h5ad", out / "summary.json", *files]:
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    console.print(f"\nDone in {seconds:.0f} s. The latents are in obsm of pbmc.h5ad.", highlight=False)


def summary(fits: "list[DemoFit]", *, seed: int, seconds: float) -> dict[str, Any]:
    """Return everything that was measured, as JSON takes it."""
    import platform
    from importlib import metadata

    versions = {name: metadata.version(name) for name in ("omicvae", "torch", "scvi-tools", "scanpy", "anndata")}
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "python": platform.python_version(),
        "versions": versions,
        "fits": {
            fit.name: {
                "title": fit.title,
                "training_seconds": round(fit.seconds, 2),
                "epochs": len(fit.model.history),
                **fit.diagnosis.to_dict(),
                **({"correlation_with_truth": dict(fit.truth)} if fit.truth else {}),
            }
            for fit in fits
        },
    }
