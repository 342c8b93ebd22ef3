"""Effects of genes against their mean and their significance."""

from typing import TYPE_CHECKING, Any

import numpy as np

from omicvae._core.arguments import choose, integral
from omicvae.plotting.axes import FAINT, GREY, ORANGE, literal, plain_frame, shown_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def effects(result: Any, ax: "Axes | None" = None, *, against: str = "auto", n_names: int = 8) -> "Axes":
    """Draw a dot for each gene: effect and −log₁₀ p (a volcano), or mean and effect; hits coloured, the first named.

    Parameters
    ----------
    result
        What ``CVAE.effects`` returns.
    against
        ``"p"``, ``"mean"``, or ``"auto"``: p where there is one, which takes replicates.
    n_names
        Genes to name, in the order of the table.
    """
    frame = result.to_frame()
    tested = "p" in frame
    if choose("against", against, ("auto", "p", "mean") if tested else ("auto", "mean")) == "auto":
        against = "p" if tested else "mean"
    ax = shown_axes(width=4.4)[0] if ax is None else ax
    x, y = (frame["effect"], -np.log10(frame["p"])) if against == "p" else (frame["mean"], frame["effect"])
    hit = (frame["q"] <= result.fdr).to_numpy() if tested else np.zeros(len(frame), bool)
    ax.scatter(x[~hit], y[~hit], s=8, color=FAINT, linewidths=0)
    c = result.compared
    title = f"{c.groupby}: {c.group} against {c.reference}"
    if tested:
        null = f"; permuted labels: {np.median(result.null_hits):g}" if len(result.null_hits) else ""
        ax.scatter(x[hit], y[hit], s=12, color=ORANGE, linewidths=0, label=f"{hit.sum()} hits{null}")
        ax.legend(frameon=False, loc="best")
    for gene in frame.index[: integral("n_names", n_names, minimum=0)]:
        ax.annotate(
            literal(gene), (x[gene], y[gene]), xytext=(3, 2), textcoords="offset points", fontsize=7, color=GREY
        )
    if against == "p":
        ax.axvline(0, color=GREY, linewidth=0.8)
    else:
        ax.axhline(0, color=GREY, linewidth=0.8)
        if (frame["mean"] > 0).all() and result.unit != "data units":
            ax.set_xscale("log")
    ax.set_xlabel(result.unit if against == "p" else "mean of a cell")
    ax.set_ylabel("−log₁₀ p" if against == "p" else result.unit)
    ax.set_title(literal(title), fontsize="medium")
    plain_frame(ax)
    return ax
