"""Training curves, from ``model.history``: a row per epoch, terms of the loss in nats per cell."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from omicvae._core.errors import DataError
from omicvae.plotting.axes import BLUE, GREY, ORANGE, plain_frame, shown_axes

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
        With ``loss_train``, ``recon_train``, ``kl_train``, their ``_validation`` twins where cells were held out, and
        ``kl_weight`` where it is known.
    axes
        Three axes to draw on; a new figure where None.

    Returns
    -------
    list of matplotlib.axes.Axes
        The panels for total loss, reconstruction and KL.
    """
    columns = [f"{name}_{split}" for name, _ in PANELS for split in ("train", "validation")]
    x = _epochs(history, not set(columns).isdisjoint(history.columns), f"loss_curves draws {columns}")
    panels = shown_axes(3, width=3.6) if axes is None else list(axes)
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

    That is minus ``recon_train`` and ``kl_train``, and ``elbo_validation`` where cells were held out. The vertical
    range shows everything after the first tenth of the epochs.
    """
    bounds = {}
    if {"recon_train", "kl_train"} <= set(history.columns):
        bounds["elbo_train"] = -(history["recon_train"] + history["kl_train"])
    if "elbo_validation" in history.columns:
        bounds["elbo_validation"] = history["elbo_validation"]
    x = _epochs(history, bool(bounds), "elbo_curve draws recon_train with kl_train, and elbo_validation")
    ax = shown_axes()[0] if ax is None else ax
    _draw_panel(ax, history.assign(**bounds), x, "elbo")
    _label(ax, "ELBO", "nats per cell")
    ax.legend(frameon=False)
    return ax


def adversary_curve(history: "pd.DataFrame", name: str, ax: "Axes | None" = None) -> "Axes":
    """Draw the loss of an ``"adversary"`` or ``"discriminator"`` over the epochs, its term's weight as a grey area.

    The loss ``{name}_loss_train`` before its start, which is 0 because it had not begun, is not drawn: a dotted line
    marks the start. The weight is ``{name}_weight``, where it is known.
    """
    column = f"{name}_loss_train"
    x = _epochs(history, column in history.columns, f"adversary_curve draws {column}")
    ax = shown_axes()[0] if ax is None else ax
    loss = history[column].to_numpy(dtype=float)
    on = np.nan_to_num(loss) != 0
    ax.plot(x, np.where(on, loss, np.nan), color=BLUE, linewidth=1.6, marker=_single(on.sum()))
    if on.any() and not on[0]:
        ax.axvline(x[int(on.argmax())], color=GREY, linewidth=1.2, linestyle=":")
    ax.set_xlim(x[0] - 0.5, x[-1] + 0.5)
    ax.set_ylim(0, 1.05 * _top(loss[on]))
    _label(ax, name.capitalize(), "loss", color=BLUE)
    _draw_weight(ax, x, history, f"{name}_weight", "weight")
    return ax


def kl_weight_curve(history: "pd.DataFrame", ax: "Axes | None" = None) -> "Axes":
    """Draw the weight of the KL over the epochs, ``kl_weight``, as used in the last step of each.

    Where a ``capacity`` or a ``target_rate`` steers the KL, ``kl_train`` stands beside it, dashed, with a dotted line
    where it is to be; axis on the right.
    """
    x = _epochs(history, "kl_weight" in history.columns, "kl_weight_curve draws kl_weight")
    ax = shown_axes()[0] if ax is None else ax
    weight = history["kl_weight"].to_numpy(dtype=float)
    ax.plot(x, weight, color=BLUE, linewidth=1.8, marker=_single(len(x)))
    ax.set_ylim(0, 1.08 * _top(weight))
    _label(ax, "", "KL weight", color=BLUE)
    for name in history.columns.intersection(["capacity", "target_rate"]):
        beside = ax.twinx()
        beside.plot(x, history["kl_train"].to_numpy(dtype=float), "--", color=ORANGE, linewidth=1.6, label="KL")
        wanted = history[name].to_numpy(dtype=float)
        beside.plot(x, wanted, ":", color=GREY, linewidth=1.6, label=name.replace("_", " "))
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


def _single(n_points: int) -> str | None:
    """Marker of a curve: one point alone makes no line."""
    return "o" if n_points == 1 else None


def _top(values: np.ndarray) -> float:
    """Largest finite value, above 0 so that an axis can end there."""
    return max(float(np.max(values[np.isfinite(values)], initial=0.0)), 1e-12)


def _label(ax: "Axes", title: str, y: str = "", **style: Any) -> None:
    ax.set_title(title)
    ax.set_xlabel("epoch")
    ax.set_ylabel(y, **style)
    ax.xaxis.get_major_locator().set_params(integer=True)
    plain_frame(ax)


def _draw_panel(ax: "Axes", history: "pd.DataFrame", x: np.ndarray, name: str) -> None:
    settled = x >= x[0] + SETTLING_SHARE * (x[-1] - x[0])
    seen = [np.empty(0)]
    for split, colour, style in (("train", BLUE, "-"), ("validation", ORANGE, "--")):
        if f"{name}_{split}" in history.columns:
            y = history[f"{name}_{split}"].to_numpy(dtype=float)
            ax.plot(x, y, style, color=colour, label=split, linewidth=1.6, marker=_single(len(x)))
            seen.append(y[settled & np.isfinite(y)])
    values = np.concatenate(seen)
    if len(values):
        low, high = float(values.min()), float(values.max())
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        # a KL near 0 should look like one: its axis starts at 0
        ax.set_ylim(min(0.0, low) if name == "kl" else low - margin, high + margin)


def _draw_weight(ax: "Axes", x: np.ndarray, history: "pd.DataFrame", column: str, name: str) -> None:
    """Put the column behind the curves as a grey area, if there is one."""
    if column not in history.columns:
        return
    weight, behind = history[column].to_numpy(dtype=float), ax.twinx()
    behind.fill_between(x, weight, color=GREY, alpha=0.15, linewidth=0, step="mid" if len(x) == 1 else None)
    behind.set_ylim(0, 1.05 * _top(weight))
    behind.set_ylabel(name, color=GREY)
    behind.tick_params(axis="y", colors=GREY)
    behind.spines[["top", "left"]].set_visible(False)
    behind.spines["right"].set_color(GREY)
    # the curves stand in front of the area, and its axes let them through
    ax.set_zorder(behind.get_zorder() + 1)
    ax.patch.set_visible(False)
