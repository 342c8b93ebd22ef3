"""What the latent space holds: KL of each dimension, cells in two dimensions."""

from typing import TYPE_CHECKING, Any

import numpy as np

from omicvae._core.arrays import unmasked
from omicvae._core.errors import DataError
from omicvae.plotting.axes import BLUE, FAINT, GREY, PALE, category_look, literal, plain_frame, shown_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Where the KL is all that is known, a dimension below this (nats) tells cells apart no better than noise does.
SPEAKS = 0.01
# Bars below it are drawn at it (nats): the axis is logarithmic, and everything here is equally empty.
FLOOR = 1e-4


def kl_per_dimension(kl: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw the KL of each latent dimension as bars, largest first, on a logarithmic axis.

    ``kl`` is a diagnosis, whose active dimensions (see :class:`Diagnosis`) are blue and others grey; or the mean KL of
    each dimension (nats per cell), shape (K,), blue at 0.01 nats and above. The title counts the blue bars.
    """
    kl_K = np.asarray(unmasked("KLs", getattr(kl, "kl_per_dimension", kl)), dtype=float)
    if kl_K.ndim != 1 or len(kl_K) == 0 or not np.isfinite(kl_K).all():
        raise DataError(
            f"kl_per_dimension needs one finite KL for each dimension, got an array of shape {kl_K.shape}: {kl_K}."
        )
    ax = shown_axes(width=4.4)[0] if ax is None else ax
    order_K = np.argsort(-kl_K, kind="stable")
    sorted_K, active = kl_K[order_K], getattr(kl, "active_dimensions", None)
    blue_K = sorted_K >= SPEAKS if active is None else np.asarray(active, dtype=bool)[order_K]
    colours = np.where(blue_K, BLUE, FAINT)
    rank_K = np.arange(1, len(kl_K) + 1)
    ax.bar(rank_K, np.maximum(sorted_K, FLOOR) - FLOOR / 2, bottom=FLOOR / 2, color=list(colours), width=0.8)
    if active is None:
        ax.axhline(SPEAKS, color=GREY, linewidth=1, linestyle="--")
    ax.set_yscale("log")
    ax.set_ylim(FLOOR / 2, max(10 * SPEAKS, 2 * float(sorted_K[0])))
    ax.set_xlim(0.4, len(kl_K) + 0.6)
    ax.set_xlabel("latent dimension, sorted")
    ax.set_ylabel("KL (nats per cell)")
    meaning = f"≥ {SPEAKS}" if active is None else "active"
    ax.set_title(f"KL {kl_K.sum():.3g}, {blue_K.sum()} of {len(kl_K)} dimensions {meaning}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    plain_frame(ax)
    return ax


def embedding(xy: Any, values: Any = None, *, title: str | None = None, ax: "Axes | None" = None) -> "Axes":
    """Draw cells in two dimensions, coloured by a category or by a number.

    Parameters
    ----------
    xy
        Coordinates, shape (cells, 2), such as ``adata.obsm["X_omicvae_umap"]``.
    values
        One value a cell. Text, categories and booleans get a legend; numbers get a colour bar; None draws all
        alike.
    title
        Title of the axes; the name of ``values`` where it has one.
    """
    import pandas as pd

    xy_N2 = np.asarray(unmasked("coordinates", xy), dtype=float)
    if xy_N2.ndim != 2 or xy_N2.shape[1] != 2:
        raise DataError(f"embedding draws coordinates of shape (cells, 2), got {xy_N2.shape}.")
    if values is not None and len(values) != len(xy_N2):
        raise DataError(f"There are {len(xy_N2)} cells and {len(values)} values: one value a cell is needed.")
    ax = shown_axes(width=5.0, height=3.8)[0] if ax is None else ax
    size = float(np.clip(12_000 / max(len(xy_N2), 1), 1, 40))
    style = {"s": size, "linewidths": 0, "rasterized": True}
    if values is None:
        ax.scatter(*xy_N2.T, color=BLUE, **style)
    elif pd.api.types.is_numeric_dtype(series := pd.Series(values)) and not pd.api.types.is_bool_dtype(series):
        _draw_numbers(ax, xy_N2, series.to_numpy(dtype=float), style)
    else:
        _draw_categories(ax, xy_N2, series.astype("category"), style)
    name = getattr(values, "name", None)
    ax.set_title(title if title is not None else literal(name or ""))
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_aspect("equal", adjustable="datalim")
    return ax


def _draw_numbers(ax: "Axes", xy_N2: np.ndarray, values_N: np.ndarray, style: dict[str, Any]) -> None:
    known_N = np.isfinite(values_N)
    ax.scatter(*xy_N2[~known_N].T, color=PALE, **style)
    # high values last, so that few of them are not buried
    order = np.flatnonzero(known_N)[np.argsort(values_N[known_N], kind="stable")]
    points = ax.scatter(*xy_N2[order].T, c=values_N[order], cmap="viridis", **style)
    ax.figure.colorbar(points, ax=ax, shrink=0.8)


def _draw_categories(ax: "Axes", xy_N2: np.ndarray, values: Any, style: dict[str, Any]) -> None:
    codes_N = values.cat.codes.to_numpy()
    levels = [literal(level) for level in values.cat.categories]
    ax.scatter(*xy_N2[codes_N < 0].T, color=PALE, **style)
    for code, level in enumerate(levels):
        ax.scatter(*xy_N2[codes_N == code].T, label=level, **category_look(code), **style)
    if not levels:
        return
    legend = ax.legend(
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize="small",
        ncols=1 + (len(levels) - 1) // 14,
        handletextpad=0.2,
    )
    for handle in legend.legend_handles:
        handle.set_sizes([28.0])
