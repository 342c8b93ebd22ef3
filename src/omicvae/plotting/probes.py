"""The classification check: how well labels are read from each representation."""

from typing import TYPE_CHECKING, Any

from omicvae._core.errors import DataError
from omicvae.plotting.axes import BLUE, GREY, ORANGE, plain_frame, shown_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ("representation", "classifier", "balanced_accuracy")
LOOKS = (
    {"marker": "o", "color": BLUE, "zorder": 3},
    {"marker": "D", "markerfacecolor": "none", "color": ORANGE, "zorder": 3},
)


def probe_scores(probes: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw the balanced accuracy of each representation and classifier as dots, with chance beside them.

    The dashed line is guessing, the grey band what permuted labels give. ``probes`` is a diagnosis, or its table
    ``probes``.
    """
    table = getattr(probes, "probes", probes)
    if len(table) == 0 or not set(COLUMNS) <= set(table.columns):
        raise DataError(
            f"This table has {len(table)} rows and the columns {list(table.columns)}; probe_scores draws "
            f"{list(COLUMNS)}. A diagnosis without labels or k-means classes has no probes."
        )
    ax = shown_axes(width=4.4)[0] if ax is None else ax
    representations = list(dict.fromkeys(table["representation"]))
    places = {name: len(representations) - 1 - place for place, name in enumerate(representations)}
    if {"permuted_low", "permuted_high"} <= set(table.columns):
        low, high = table["permuted_low"].iloc[0], table["permuted_high"].iloc[0]
        ax.axvspan(low, high, color=GREY, alpha=0.2, linewidth=0, label="permuted labels")
    if "chance" in table.columns:
        ax.axvline(table["chance"].iloc[0], color=GREY, linewidth=1.2, linestyle="--", label="guessing")
    for number, (name, rows) in enumerate(table.groupby("classifier", sort=False)):
        look = LOOKS[number % len(LOOKS)]
        y = [places[representation] for representation in rows["representation"]]
        ax.plot(rows["balanced_accuracy"], y, linestyle="none", markersize=8, label=str(name), **look)
    ax.set_yticks(list(places.values()), [name.replace(" ", "\n") for name in places])
    ax.set_ylim(-0.6, len(places) - 0.4)
    ax.set_xlim(0, 1.02)
    ax.set_xlabel("balanced accuracy")
    ax.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    plain_frame(ax)
    return ax
