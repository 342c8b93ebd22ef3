"""Reconstructions beside the data: entries, genes, cells, and whether predictive intervals are honest."""

from typing import TYPE_CHECKING, Any

import numpy as np

from omicvae._core.errors import DataError
from omicvae.plotting.axes import BLUE, FAINT, GREY, ORANGE, plain_frame, shown_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: entries that are drawn at most
MOST_POINTS = 20_000


def reconstruction(result: Any, ax: "Axes | None" = None, *, seed: int = 0) -> "Axes":
    """Draw x against E[x | z, c], a point for each cell and gene (a random 20,000 of them), counts as log1p.

    ``result`` is what ``model.reconstruct()`` returns; points on the dashed line are as expected.
    """
    x, y = (np.asarray(_of(result, name), float).ravel() for name in ("predicted_NG", "observed_NG"))
    if len(x) > MOST_POINTS:
        chosen = np.random.default_rng(seed).choice(len(x), MOST_POINTS, replace=False)
        x, y = x[chosen], y[chosen]
    unit = "log1p of counts" if result.counts else "data units"
    ax = _scatter(ax, *((np.log1p(x), np.log1p(y)) if result.counts else (x, y)))
    ax.set(xlabel=f"expected ({unit})", ylabel=f"observed ({unit})", title="entries")
    return ax


def reconstruction_genes(result: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw each gene's mean and variance over cells, observed against draws of the posterior predictive."""
    calibration, ax = _of(result, "calibration"), shown_axes()[0] if ax is None else ax
    for name, colour in (("variance", ORANGE), ("mean", BLUE)):
        x, y = (getattr(calibration, f"{name}_{kind}_G") for kind in ("predicted", "observed"))
        _scatter(ax, x, y, color=colour, s=8, label=name)
    if result.counts:
        ax.set_xscale("symlog", linthresh=1e-2)
        ax.set_yscale("symlog", linthresh=1e-2)
    ax.set(xlabel="of draws", ylabel="of the data", title="genes")
    ax.legend(frameon=False, fontsize="small")
    return ax


def reconstruction_cells(result: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw the correlation of each cell with what is expected of it, against that of gene means alone."""
    x, y = np.asarray(_of(result, "baseline_correlation_N")), np.asarray(_of(result, "correlation_N"))
    ax = _scatter(ax, x, y)
    better = float((y > x)[np.isfinite(x) & np.isfinite(y)].mean())
    ax.set(
        xlabel="correlation with gene means", ylabel="correlation with the model", title=f"cells: {better:.0%} above"
    )
    return ax


def calibration(result: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw the share of entries below each quantile of the posterior predictive against the quantile.

    ``result`` is a :class:`~omicvae.metrics.Calibration`, or has one, as what ``model.reconstruct()`` returns. On the
    dashed line predictions are calibrated; an S (below, then above) says that they are too wide, and the reverse too
    narrow. A few draws of a model that has seen the cells are a little too wide.
    """
    pit_B = np.asarray(_of(getattr(result, "calibration", result), "pit_B"), float)
    ax = shown_axes()[0] if ax is None else ax
    quantiles = np.linspace(0, 1, len(pit_B) + 1)
    ax.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    ax.plot(quantiles, np.concatenate([[0.0], np.cumsum(pit_B)]), color=BLUE, marker="o", markersize=3)
    ax.set(xlabel="quantile of the posterior predictive", ylabel="share of entries below", title="calibration")
    ax.set_aspect("equal")
    plain_frame(ax)
    return ax


def _of(result: Any, name: str) -> Any:
    value = getattr(result, name, None)
    if value is None:
        raise DataError(f"This figure needs what model.reconstruct() returns, got {type(result).__name__}.")
    return value


def _scatter(ax: "Axes | None", x: Any, y: Any, **style: Any) -> "Axes":
    """Draw points and the line on which both are equal."""
    ax = shown_axes()[0] if ax is None else ax
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        raise DataError("There is no finite value to draw.")
    ends = [min(x[known].min(), y[known].min()), max(x[known].max(), y[known].max())]
    ax.plot(ends, ends, color=FAINT, linestyle="--", linewidth=1, zorder=0)
    ax.scatter(x, y, **{"color": BLUE, "s": 4, "alpha": 0.4, "linewidths": 0, "rasterized": True, **style})
    plain_frame(ax)
    return ax
