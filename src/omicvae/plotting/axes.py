"""What all figures share: axes, a plain frame, colours safe for colour-blind people."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito (2008)
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#6B6B6B"
#: of what is unused, and of cells without a value
FAINT, PALE = "#B8B8B8", "#D9D9D9"

# Ten colours in the order of Petroff (2021), chosen for colour-vision deficiency.
CATEGORIES = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
# From the eleventh level on, the colours come again with the next marker.
MARKERS = ("o", "^", "s", "D", "v", "P", "X")


def new_axes(n_columns: int = 1, n_rows: int = 1, *, width: float = 4.0, height: float = 3.2) -> "list[Axes]":
    """Return the axes, row by row, of a figure that belongs to no window."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * n_columns, height * n_rows), layout="constrained", dpi=150)
    return list(figure.subplots(n_rows, n_columns, squeeze=False).ravel())


def shown_axes(n_columns: int = 1, *, width: float = 4.0, height: float = 3.2) -> "list[Axes]":
    """Return the axes, from left to right, of a figure that a notebook or an interactive session shows.

    There the figure is pyplot's, in the user's resolution; elsewhere it belongs to no window, as nobody would close it.
    """
    import matplotlib as mpl

    if not (_in_ipython() or mpl.is_interactive()):
        return new_axes(n_columns, width=width, height=height)
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(width * n_columns, height), layout="constrained")
    return list(figure.subplots(1, n_columns, squeeze=False).ravel())


def _in_ipython() -> bool:
    """Whether IPython or Jupyter runs this, without loading it."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def plain_frame(ax: "Axes") -> None:
    """Take away the lines that carry no information."""
    ax.spines[["top", "right"]].set_visible(False)


def category_look(code: int) -> "dict[str, Any]":
    """Return colour and marker of the level with this number."""
    return {"color": CATEGORIES[code % len(CATEGORIES)], "marker": MARKERS[code // len(CATEGORIES) % len(MARKERS)]}


def literal(text: object) -> str:
    """Return text that is drawn as it is: matplotlib takes what stands between dollars for a formula."""
    return str(text).replace("$", r"\$")
