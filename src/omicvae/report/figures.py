"""The figures of a report, each with a sentence on how to read it; to be drawn in ``page_style``."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup

from omicvae import plotting as pl
from omicvae.plotting.axes import BLUE, ORANGE, literal, new_axes
from omicvae.report.maps import CellMaps
from omicvae.report.svg import as_svg, line, marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from omicvae.diagnostics import Diagnosis

# inches; the page scales a panel to its column
WIDTH, HEIGHT = 4.2, 3.1
SQUARE = 3.3
# levels that a legend names: below the row of maps, and in a single panel
WIDE_LEGEND, NARROW_LEGEND = 40, 12


@dataclass(frozen=True, slots=True)
class _Legend:
    """What the colours of a map mean: a name, symbols with levels, and how many levels found no room."""

    name: str
    entries: tuple[tuple[Markup, str], ...]
    more: int


@dataclass(frozen=True, slots=True)
class Figure:
    """One picture and how to read it."""

    svg: Markup
    reading: str
    legend: _Legend | None = None


def latent_figures(diagnosis: "Diagnosis") -> Iterator[Figure]:
    """Draw what the latent space holds: KL of each dimension and the classification check, where there are any."""
    kl_K = np.asarray(diagnosis.kl_per_dimension, dtype=float)
    if len(kl_K) and np.isfinite(kl_K).all():
        yield _figure(
            pl.kl_per_dimension(diagnosis, _panel()),
            "kl-dimensions",
            "KL of each latent dimension",
            "Each bar is a latent dimension, largest first: blue ones are active, their posterior means differ between "
            "cells (variance above 0.01); grey ones are not. Some unused dimensions do no harm; if all are unused, the "
            "latent is empty.",
        )
    probes = diagnosis.probes
    if len(probes):
        ax = pl.probe_scores(probes, _panel())
        labels = str(probes["labels"].iloc[0]) if "labels" in probes.columns else "the labels"
        ax.set_title("Classification check")
        yield _figure(
            ax,
            "probes",
            f"Balanced accuracy of {labels} from each representation",
            f"How well a classifier reads {labels}. The decoder gets a draw, so a draw should come near PCA and stay "
            "clear of the grey band; means prove little, because scaling magnifies what the noise drowns.",
        )


def map_figures(maps: CellMaps) -> list[Figure]:
    """Draw the cells by label in every representation; all share legend and reading."""
    labels = maps.labels
    shown = f"{len(labels):,} of {maps.n_cells:,} cells" if len(labels) < maps.n_cells else f"All {len(labels):,} cells"
    classes = "k-means classes of the data, as there are no labels" if maps.labels_are_kmeans else str(labels.name)
    reading = (
        f"{shown}, coloured by {classes}. Colours that hold together in the means but mix in the draw are too faint "
        "for the decoder, which sees draws only. UMAP keeps neighbours, not distances, and proves nothing alone."
    )
    return [
        _map(_panel(SQUARE, SQUARE), f"map-{number}", xy_M2, labels, f"UMAP of {name}", reading, WIDE_LEGEND)
        for number, (name, xy_M2) in enumerate(maps.coordinates.items())
    ]


def covariate_figures(maps: CellMaps) -> list[Figure]:
    """Draw the first map once more by the first covariate, if there is one."""
    if maps.covariate is None:
        return []
    name, xy_M2 = next(iter(maps.coordinates.items()))
    key = str(maps.covariate.name)
    reading = (
        f"The same UMAP of {name}, coloured by {key}: where its levels keep apart, the latent still holds {key}, or "
        "what goes with it."
    )
    return [_map(_panel(), "map-covariate", xy_M2, maps.covariate, f"Draw, by {key}", reading, NARROW_LEGEND)]


def curves_legend(history: pd.DataFrame) -> _Legend:
    """Say which line is which, beside the panels: inside, it would hide some curve."""
    lines = [(line("-", BLUE), "training cells (with dropout)")]
    if "elbo_validation" in history.columns and history["elbo_validation"].notna().any():
        lines.append((line("--", ORANGE), "cells held out"))
    return _Legend("Curves", tuple(lines), 0)


def training_figures(history: pd.DataFrame) -> Iterator[Figure]:
    """Draw the curves that the history has: losses, ELBO, KL weight, adversaries."""
    # cells that were never held out leave columns without an entry, which are no curves
    history = history.dropna(axis=1, how="all")
    if not {"recon_train", "kl_train"} <= set(history.columns):
        return
    panels = pl.loss_curves(history, [_panel() for _ in range(3)])
    readings = (
        "What training minimised: reconstruction, the weighted KL and further terms. It rises where their weights do, "
        "and says nothing about the latent.",
        "−log p(x | z, c): how badly cells are explained. A curve of held-out cells that turns upward while that of "
        "training cells goes on falling is overfitting.",
        "What the latent holds about a cell at most, before it is weighted (grey area). A KL that ends near 0 "
        "leaves the latent empty, however smooth the other curves are.",
    )
    for ax, name, reading in zip(panels, ("loss", "reconstruction", "kl"), readings, strict=True):
        ax.set_ylabel("nats per cell")
        yield _figure(_without_legend(ax), name, f"{ax.get_title()} over the epochs", reading)
    yield _figure(
        _without_legend(pl.elbo_curve(history, _panel())),
        "elbo",
        "ELBO over the epochs",
        "The bound on log p(x | c) with the KL at weight 1, whatever was minimised: higher is better, and a bound of "
        "held-out cells that still rises at the end wants more epochs.",
    )
    if "kl_weight" in history.columns:
        ax = pl.kl_weight_curve(history, _panel())
        ax.set_title("KL weight")
        steered = bool({"capacity", "target_rate"} & set(history.columns))
        yield _figure(
            ax,
            "kl-weight",
            "Weight of the KL over the epochs",
            "How dear the KL was; only epochs at its final value say how the model ends."
            + (" Dashed: the KL of the training cells; dotted: where it is steered to." if steered else ""),
        )
    for name in ("adversary", "discriminator"):
        if f"{name}_loss_train" in history.columns:
            yield _figure(
                pl.adversary_curve(history, name, _panel()),
                name,
                f"Loss and weight of the {name} over the epochs",
                f"{_phase(history, name)} Line: the {name}'s own loss. Grey area: mean weight of its term in the loss "
                "of the autoencoder.",
            )


def _phase(history: pd.DataFrame, name: str) -> str:
    on = history[f"{name}_loss_train"].fillna(0).to_numpy() != 0
    if not on.any():
        return "Off during the whole run."
    return "On from the first epoch." if on[0] else f"Off until epoch {history.index[int(on.argmax())]}."


def _panel(width: float = WIDTH, height: float = HEIGHT) -> "Axes":
    return new_axes(1, width=width, height=height)[0]


def _without_legend(ax: "Axes") -> "Axes":
    legend = ax.get_legend()
    if legend is not None:
        legend.remove()
    return ax


def _figure(ax: "Axes", name: str, description: str, reading: str) -> Figure:
    return Figure(as_svg(ax, name, description), reading)


def _map(ax: "Axes", name: str, xy_M2: np.ndarray, values: pd.Series, title: str, reading: str, limit: int) -> Figure:
    pl.embedding(xy_M2, values, title=literal(title), ax=ax)
    svg = as_svg(_without_legend(ax), name, f"{title}, coloured by {values.name}")
    levels = list(values.cat.categories)
    entries = tuple((marker(code), level) for code, level in enumerate(levels[:limit]))
    return Figure(svg, reading, _Legend(str(values.name), entries, max(0, len(levels) - limit)))
