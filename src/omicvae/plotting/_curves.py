"""Training curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from omicvae._core.errors import DataError
from omicvae.plotting._axes import BLUE, GREY, ORANGE, new_axes, plain_frame

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PANELS = (("loss", "Total loss"), ("recon", "Reconstruction"), ("kl", "KL"))

# The first epochs, which fall from far above, may leave the frame so that the rest can be read.
SETTLING_SHARE = 0.1


def loss_curves(history: "pd.DataFrame", axes: "Sequence[Axes] | None" = None) -> "list[Axes]":
    """Draw total loss, reconstruction and KL over the epochs, for training and validation cells.

    The KL weight stands as a grey area behind the KL. The vertical range shows everything after the first
    tenth of the epochs.

    Parameters
    ----------
    history
        ``model.history``: a row per epoch, with ``loss_train``, ``recon_train``, ``kl_train``, their
        ``_validation`` twins where cells were held out, and ``kl_weight`` where it is known. Nats per cell.
    axes
        Three axes to draw on; a new figure where None.

    Returns
    -------
    list of matplotlib.axes.Axes
        The panels for total loss, reconstruction and KL.

    Raises
    ------
    DataError
        If the history has no row, or none of the columns that are drawn, or ``axes`` are not three.
    """
    columns = [f"{name}_{split}" for name, _ in PANELS for split in ("train", "validation")]
    if len(history) == 0 or not any(column in history.columns for column in columns):
        raise DataError(
            f"This history has {len(history)} epochs and the columns {list(history.columns)}; "
            f"loss_curves draws {columns}."
        )
    panels = new_axes(3, width=3.6) if axes is None else list(axes)
    if len(panels) != 3:
        raise DataError(f"loss_curves draws on 3 axes, got {len(panels)}.")
    epochs = history["epoch"] if "epoch" in history.columns else history.index
    x = np.asarray(epochs, dtype=float)
    for ax, (name, title) in zip(panels, PANELS, strict=True):
        _draw_panel(ax, history, x, name)
        ax.set_title(title)
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel("nats per cell")
    panels[0].legend(frameon=False)
    if "kl_weight" in history.columns:
        _draw_weight(panels[2], x, history["kl_weight"].to_numpy(dtype=float))
    return panels


def kl_weight_curve(history: "pd.DataFrame", ax: "Axes | None" = None) -> "Axes":
    """Draw the weight of the KL over the epochs, as used in the last step of each.

    Where a capacity or a target rate steers the KL, the KL of the training cells stands beside it, dashed, with a
    dotted line where it is to be; nats per cell, axis on the right.

    Parameters
    ----------
    history
        ``model.history``: a row per epoch with ``kl_weight``, and ``kl_train`` with ``capacity`` or ``target_rate``.
    ax
        Axes to draw on; a new figure where None.

    Raises
    ------
    DataError
        If the history has no row or no ``kl_weight``.
    """
    if len(history) == 0 or "kl_weight" not in history.columns:
        raise DataError(
            f"This history has {len(history)} epochs and the columns {list(history.columns)}; "
            "kl_weight_curve draws kl_weight."
        )
    ax = new_axes(1)[0] if ax is None else ax
    x = np.asarray(history["epoch"] if "epoch" in history.columns else history.index, dtype=float)
    weight = history["kl_weight"].to_numpy(dtype=float)
    ax.plot(x, weight, color=BLUE, linewidth=1.8, marker="o" if len(x) == 1 else None)
    ax.set_ylim(0, 1.08 * max(float(np.nanmax(weight)), 1e-12))
    ax.set_xlabel("epoch")
    ax.set_ylabel("KL weight", color=BLUE)
    ax.xaxis.get_major_locator().set_params(integer=True)
    plain_frame(ax)
    for name, label in (("capacity", "capacity"), ("target_rate", "target rate")):
        if name in history.columns:
            beside = ax.twinx()
            beside.plot(x, history["kl_train"].to_numpy(dtype=float), "--", color=ORANGE, linewidth=1.6, label="KL")
            beside.plot(x, history[name].to_numpy(dtype=float), ":", color=GREY, linewidth=1.6, label=label)
            beside.set_ylabel("nats per cell", color=ORANGE)
            beside.set_ylim(bottom=0)
            beside.spines[["top"]].set_visible(False)
            beside.legend(frameon=False, loc="lower right")
    return ax


def _draw_panel(ax: "Axes", history: "pd.DataFrame", x: np.ndarray, name: str) -> None:
    settled = x >= x[0] + SETTLING_SHARE * (x[-1] - x[0])
    seen = []
    for split, colour, style in (("train", BLUE, "-"), ("validation", ORANGE, "--")):
        column = f"{name}_{split}"
        if column not in history.columns:
            continue
        y = history[column].to_numpy(dtype=float)
        ax.plot(x, y, style, color=colour, label=split, linewidth=1.6, marker="o" if len(x) == 1 else None)
        seen.append(y[settled & np.isfinite(y)])
    values = np.concatenate([*seen, np.empty(0)])
    if len(values):
        low, high = float(values.min()), float(values.max())
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        # a KL near 0 should look like one: its axis starts at 0
        ax.set_ylim(min(0.0, low) if name == "kl" else low - margin, high + margin)
    plain_frame(ax)


def _draw_weight(ax: "Axes", x: np.ndarray, weight: np.ndarray) -> None:
    behind = ax.twinx()
    behind.fill_between(x, weight, color=GREY, alpha=0.15, linewidth=0, step="mid" if len(x) == 1 else None)
    behind.set_ylim(0, 1.05 * max(float(np.nanmax(weight)), 1e-12))
    behind.set_ylabel("KL weight", color=GREY)
    behind.tick_params(axis="y", colors=GREY)
    behind.spines[["top"]].set_visible(False)
    behind.spines["right"].set_color(GREY)
    # the curves stand in front of the area, and its axes let them through
    ax.set_zorder(behind.get_zorder() + 1)
    ax.patch.set_visible(False)
