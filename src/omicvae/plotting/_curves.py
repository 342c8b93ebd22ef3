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
    x = _epochs(history, not set(columns).isdisjoint(history.columns), f"loss_curves draws {columns}")
    panels = new_axes(3, width=3.6) if axes is None else list(axes)
    if len(panels) != 3:
        raise DataError(f"loss_curves draws on 3 axes, got {len(panels)}.")
    for ax, (name, title) in zip(panels, PANELS, strict=True):
        _draw_panel(ax, history, x, name)
        _label(ax, title)
    panels[0].set_ylabel("nats per cell")
    panels[0].legend(frameon=False)
    _draw_weight(panels[2], x, history, "kl_weight", "KL weight")
    return panels


def elbo_curve(history: "pd.DataFrame", ax: "Axes | None" = None) -> "Axes":
    """Draw the bound at β = 1 over the epochs, for training and validation cells; higher is better.

    The vertical range shows everything after the first tenth of the epochs.

    Parameters
    ----------
    history
        ``model.history``: a row per epoch with ``recon_train`` and ``kl_train``, and ``elbo_validation`` where cells
        were held out. Nats per cell.
    ax
        Axes to draw on; a new figure where None.

    Raises
    ------
    DataError
        If the history has no row, or none of the columns that are drawn.
    """
    bounds = {}
    if {"recon_train", "kl_train"} <= set(history.columns):
        bounds["elbo_train"] = -(history["recon_train"] + history["kl_train"])
    if "elbo_validation" in history.columns:
        bounds["elbo_validation"] = history["elbo_validation"]
    x = _epochs(history, bool(bounds), "elbo_curve draws recon_train with kl_train, and elbo_validation")
    ax = new_axes(1)[0] if ax is None else ax
    _draw_panel(ax, history.assign(**bounds), x, "elbo")
    _label(ax, "ELBO")
    ax.set_ylabel("nats per cell")
    ax.legend(frameon=False)
    return ax


def adversary_curve(history: "pd.DataFrame", name: str, ax: "Axes | None" = None) -> "Axes":
    """Draw the loss of an adversary or discriminator over the epochs, and the weight of its term as a grey area.

    The loss before its start, which is 0 because it had not begun, is not drawn: a dotted line marks the start.

    Parameters
    ----------
    history
        ``model.history``: a row per epoch with ``{name}_loss_train``, and ``{name}_weight`` where it is known.
    name
        ``"adversary"`` or ``"discriminator"``.
    ax
        Axes to draw on; a new figure where None.

    Raises
    ------
    DataError
        If the history has no row or no loss of this adversary.
    """
    column = f"{name}_loss_train"
    x = _epochs(history, column in history.columns, f"adversary_curve draws {column}")
    ax = new_axes(1)[0] if ax is None else ax
    loss = history[column].to_numpy(dtype=float)
    on = np.nan_to_num(loss) != 0
    ax.plot(x, np.where(on, loss, np.nan), color=BLUE, linewidth=1.6, marker="o" if on.sum() == 1 else None)
    if on.any() and not on[0]:
        ax.axvline(x[int(on.argmax())], color=GREY, linewidth=1.2, linestyle=":")
    ax.set_xlim(x[0] - 0.5, x[-1] + 0.5)
    ax.set_ylim(0, 1.05 * max(float(np.max(loss[on & np.isfinite(loss)], initial=0.0)), 1e-12))
    _label(ax, name.capitalize())
    ax.set_ylabel("loss", color=BLUE)
    plain_frame(ax)
    _draw_weight(ax, x, history, f"{name}_weight", "weight")
    return ax


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
    x = _epochs(history, "kl_weight" in history.columns, "kl_weight_curve draws kl_weight")
    ax = new_axes(1)[0] if ax is None else ax
    weight = history["kl_weight"].to_numpy(dtype=float)
    ax.plot(x, weight, color=BLUE, linewidth=1.8, marker="o" if len(x) == 1 else None)
    ax.set_ylim(0, 1.08 * max(float(np.nanmax(weight)), 1e-12))
    _label(ax)
    ax.set_ylabel("KL weight", color=BLUE)
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


def _epochs(history: "pd.DataFrame", known: bool, drawn: str) -> np.ndarray:
    """Return the epochs; raise where there are none, or no column of what is drawn is ``known``."""
    if len(history) == 0 or not known:
        raise DataError(f"This history has {len(history)} epochs and the columns {list(history.columns)}; {drawn}.")
    return np.asarray(history["epoch"] if "epoch" in history.columns else history.index, dtype=float)


def _label(ax: "Axes", title: str = "") -> None:
    ax.set_title(title)
    ax.set_xlabel("epoch")
    ax.xaxis.get_major_locator().set_params(integer=True)


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


def _draw_weight(ax: "Axes", x: np.ndarray, history: "pd.DataFrame", column: str, name: str) -> None:
    """Put the column behind the curves as a grey area, if there is one."""
    if column not in history.columns:
        return
    weight, behind = history[column].to_numpy(dtype=float), ax.twinx()
    behind.fill_between(x, weight, color=GREY, alpha=0.15, linewidth=0, step="mid" if len(x) == 1 else None)
    behind.set_ylim(0, 1.05 * max(float(np.nanmax(weight)), 1e-12))
    behind.set_ylabel(name, color=GREY)
    behind.tick_params(axis="y", colors=GREY)
    behind.spines[["top", "left"]].set_visible(False)
    behind.spines["right"].set_color(GREY)
    # the curves stand in front of the area, and its axes let them through
    ax.set_zorder(behind.get_zorder() + 1)
    ax.patch.set_visible(False)
