"""How far each of several fits lies behind the best."""

from textwrap import fill
from typing import TYPE_CHECKING, Any

from omicvae._core.errors import DataError
from omicvae.plotting.axes import BLUE, GREY, ORANGE, literal, plain_frame, shown_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Standard errors that an interval reaches to either side.
REACH = 2.0


def compare(result: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw by how many nats a cell each fit's bound lies behind the best, ± two standard errors.

    Sound fits are blue, others orange, with their verdicts at the right; the line is the best. Drawn are the fits of
    the first base measure; ``result`` is what ``omicvae.compare`` returned.
    """
    table = getattr(result, "table", None)
    if table is None or "behind" not in table:
        raise DataError(f"compare draws what ov.compare() returned, got {type(result).__name__}.")
    ranked = table[table["behind"].notna()]
    if ranked.empty:
        raise DataError("None of these runs has a bound that can be compared: there is nothing to draw.")
    measure = ranked["base_measure"].iloc[0]
    ranked = ranked[ranked["base_measure"] == measure]
    ax = shown_axes(width=5.4, height=1.2 + 0.45 * len(ranked))[0] if ax is None else ax
    for place, (_, run) in enumerate(ranked.iterrows()):
        y, colour = len(ranked) - 1 - place, BLUE if run["sound"] else ORANGE
        ax.errorbar(run["behind"], y, xerr=REACH * run["behind_se"], fmt="o", color=colour, capsize=3, markersize=5)
        ax.annotate(run["verdict"], (1.02, y), xycoords=ax.get_yaxis_transform(), va="center", color=colour, fontsize=8)
    ax.axvline(0.0, color=GREY, linestyle="--", linewidth=1.2, zorder=0)
    ax.set_yticks(range(len(ranked)), [fill(literal(name), 24) for name in reversed(ranked.index)])
    ax.set_ylim(-0.6, len(ranked) - 0.4)
    ax.set_xlabel("nats per cell behind the best (± 2 SE)")
    ax.set_title(literal(measure), fontsize=9)
    plain_frame(ax)
    return ax
