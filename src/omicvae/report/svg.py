"""Figures as inline SVG: no file of their own, colours that follow the page, identifiers that do not clash."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from omicvae.plotting.axes import BLUE, FAINT, GREY, ORANGE, category_look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# a colour that no figure uses stands for text and frames until the page chooses one
INK = "#010203"
ON_THE_PAGE = {
    INK: "currentColor",
    BLUE.lower(): "var(--blue)",
    ORANGE.lower(): "var(--orange)",
    GREY.lower(): "var(--grey)",
    FAINT.lower(): "var(--faint)",
}
STYLE = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.fontsize": 10,
    "svg.fonttype": "path",  # text takes the same room on every machine
    "svg.hashsalt": "omicvae",
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@contextmanager
def page_style() -> Iterator[None]:
    """Draw and write figures in the style of the page, whatever the style of the session; it comes back after."""
    from matplotlib import style

    with style.context(["default", STYLE]):
        yield


def as_svg(ax: "Axes", name: str, description: str) -> Markup:
    """Turn the figure of these axes into an SVG element; ``name`` makes its identifiers unique on the page."""
    text = StringIO()
    ax.figure.savefig(text, format="svg", transparent=True, metadata=NO_METADATA, dpi=200)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s(xmlns(:\w+)?|version)="[^"]*"', "", svg).replace("xlink:href=", "href=")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    for colour, variable in ON_THE_PAGE.items():
        svg = svg.replace(colour, variable)
    # the size comes from the page
    head, _, rest = svg.partition(">")
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return Markup(f'{head} role="img" aria-label="{escape(description)}">{rest}')


def marker(code: int) -> Markup:
    """Draw the symbol of the level with this number, for a legend."""
    from matplotlib.markers import MarkerStyle

    look = category_look(code)
    style = MarkerStyle(look["marker"])
    outline = style.get_path().transformed(style.get_transform())
    steps = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
    path = "".join(
        steps[int(kind)] + ("" if kind == 79 else " ".join(f"{value:.3g}" for value in points))
        for points, kind in outline.iter_segments(simplify=False)
    )
    return Markup(
        f'<svg class="marker" viewBox="-0.65 -0.65 1.3 1.3" aria-hidden="true">'
        f'<path fill="{look["color"]}" transform="scale(1 -1)" d="{path}"/></svg>'
    )


def line(style: str, colour: str) -> Markup:
    """Draw a short line, for a legend; ``"--"`` is dashed."""
    dashes = ' stroke-dasharray="7 3"' if style == "--" else ""
    return Markup(
        f'<svg class="line" viewBox="0 0 27 8" aria-hidden="true"><path d="M0 4H27" fill="none" stroke-width="2.4" '
        f'style="stroke: {ON_THE_PAGE[colour.lower()]}"{dashes}/></svg>'
    )
