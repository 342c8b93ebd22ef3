"""The UMAP check: do labels hold together in UMAP of a draw, of the means, and of PCA."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from omicvae.diagnostics.evidence_table import Row, shown
from omicvae.diagnostics.umap import umap_coordinates
from omicvae.metrics import neighbourhood_purity, purity_by_chance, silhouette
from omicvae.metrics.labels import MAX_CELLS, Array, labelled_cells

MINIMUM_CELLS = 10


@dataclass(frozen=True, slots=True)
class EmbeddingScore:
    """Purity (0 to 1) and silhouette (−1 to 1) of labels in one UMAP, higher is better."""

    purity: float
    silhouette: float


@dataclass(frozen=True, slots=True)
class EmbeddingCheck:
    """Scores in UMAP of a posterior draw, of the posterior means and of PCA, on the same cells.

    It is never judged: UMAP keeps neighbours and not distances, and of means it draws islands from
    differences that the posterior's noise would drown.
    """

    draw: EmbeddingScore
    means: EmbeddingScore
    reference: EmbeddingScore
    chance: float
    n_cells: int

    @property
    def scores(self) -> dict[str, EmbeddingScore]:
        """Scores by what was embedded."""
        return {"draw": self.draw, "means": self.means, "PCA": self.reference}

    def rows(self) -> Iterator[Row]:
        """Purity in each of the three, shown."""
        for title, score in self.scores.items():
            text = f"share of like neighbours (chance {self.chance:.2f}); silhouette {score.silhouette:.2f}"
            yield shown(f"UMAP of {title}, purity", score.purity, f"{text}; shown, not judged")

    def to_frame(self) -> pd.DataFrame:
        """One row per representation: purity, silhouette, purity by chance."""
        scores = {"posterior draw": self.draw, "means": self.means, "PCA": self.reference}
        rows = [
            {"representation": name, "purity": score.purity, "silhouette": score.silhouette}
            for name, score in scores.items()
        ]
        return pd.DataFrame(rows).assign(purity_by_chance=self.chance, n_cells=self.n_cells)


def umap_check(
    draw_NK: Array,
    mean_NK: Array,
    reference_NK: Array,
    *,
    labels_N: Array,
    seed: int = 0,
    max_cells: int = MAX_CELLS,
) -> EmbeddingCheck | None:
    """Score labels in the three UMAPs; None with fewer than two classes or fewer than ten labelled cells."""
    cells = labelled_cells(labels_N, minimum=2, max_cells=max_cells, seed=seed)
    if len(cells.classes) < 2 or len(cells.index_M) < MINIMUM_CELLS:
        return None

    def score(features_NK: Array) -> EmbeddingScore:
        coordinates_M2 = umap_coordinates(features_NK[cells.index_M], seed=seed)
        bound = len(cells.index_M)
        return EmbeddingScore(
            neighbourhood_purity(coordinates_M2, cells.codes_M, max_cells=bound),
            silhouette(coordinates_M2, cells.codes_M, max_cells=bound),
        )

    return EmbeddingCheck(
        draw=score(draw_NK),
        means=score(mean_NK),
        reference=score(reference_NK),
        chance=purity_by_chance(cells.codes_M),
        n_cells=len(cells.index_M),
    )
