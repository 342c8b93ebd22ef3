"""What several fits of the same cells agree on."""

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from omicvae._core.errors import DataError
from omicvae.plotting.axes import BLUE, GREY, ORANGE, plain_frame, shown_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def stability(result: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw the agreement of every pair of fits as dots: blue where the least alike pair reaches the floor, else orange.

    The dashed line is the floor, the grey bar what chance gives. ``result`` is what ``omicvae.stability`` returned.
    """
    agreements = getattr(result, "agreements", None)
    if not agreements:
        raise DataError(f"stability draws what ov.stability() returned, got {type(result).__name__}.")
    ax = shown_axes(width=4.8)[0] if ax is None else ax
    for place, one in enumerate(agreements):
        y = len(agreements) - 1 - place
        pairs_P = one.pairs_P[np.isfinite(one.pairs_P)]
        spread_P = np.linspace(-0.14, 0.14, len(pairs_P)) if len(pairs_P) > 1 else np.zeros(len(pairs_P))
        ax.plot(pairs_P, y + spread_P, "o", markersize=5, color=BLUE if one.reliable else ORANGE)
        ax.vlines(one.floor, y - 0.3, y + 0.3, color=GREY, linestyle="--", linewidth=1.2)
        ax.barh(y, one.chance, height=0.5, color=GREY, alpha=0.3)
    ax.set_yticks(range(len(agreements)), [fill(one.name, 18) for one in reversed(agreements)])
    lowest = min(0.0, *(float(np.nanmin([*one.pairs_P, 0.0])) for one in agreements))
    ax.set_xlim(lowest - 0.02, 1.02)
    ax.set_xlabel("agreement of pairs of fits (dashed: floor, grey: chance)")
    plain_frame(ax)
    return ax
