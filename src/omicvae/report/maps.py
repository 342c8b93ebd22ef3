"""Cells in two dimensions: UMAP of a posterior draw, of the means and of PCA, on the same cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omicvae.diagnostics import DiagnosisInputs, umap_coordinates

MAX_CELLS = 3000
MINIMUM_CELLS = 10


@dataclass(frozen=True, slots=True, eq=False)
class CellMaps:
    """Coordinates, shape (M, 2) for each representation, and colours of the M cells of ``n_cells`` that are drawn.

    ``labels`` and ``covariate`` (the first categorical one, or None) hold a level a cell and bear the column's name.
    """

    coordinates: Mapping[str, NDArray[np.float64]]
    labels: pd.Series
    labels_are_kmeans: bool
    covariate: pd.Series | None
    n_cells: int

    @classmethod
    def of_inputs(cls, inputs: DiagnosisInputs) -> Self | None:
        """Map what was diagnosed, coloured by its labels or the classes that stand in for them; None without either."""
        labels_N = inputs.fallback_groups_N if inputs.labels_N is None else inputs.labels_N
        if labels_N is None:
            return None
        shown = {"one posterior draw": inputs.draw_NK, "means": inputs.mean_NK, "PCA": inputs.reference_NK}
        others = (pair for pair in inputs.covariates.items() if pair[0] != inputs.labels_key)
        key, covariate_N = next(others, (None, None))
        name = "k-means class" if inputs.labels_N is None else inputs.labels_key or "labels"
        return cls.of(
            {title: values_NK for title, values_NK in shown.items() if values_NK is not None},
            labels=pd.Series(labels_N, name=name),
            labels_are_kmeans=inputs.labels_N is None,
            covariate=None if key is None else pd.Series(covariate_N, name=key),
            seed=inputs.seed,
        )

    @classmethod
    def of(
        cls,
        representations: Mapping[str, NDArray[np.float32]],
        *,
        labels: pd.Series,
        labels_are_kmeans: bool,
        covariate: pd.Series | None,
        seed: int,
    ) -> Self | None:
        """Make UMAPs of representations (N, K) of the same cells; at most 3000 of them, drawn at random.

        None where there are fewer than ten cells, or entries that are not finite.
        """
        n_cells = len(labels)
        finite = all(np.isfinite(values_NK).all() for values_NK in representations.values())
        if n_cells < MINIMUM_CELLS or not finite:
            return None
        chosen = np.sort(np.random.default_rng(seed).permutation(n_cells)[:MAX_CELLS])
        return cls(
            {name: umap_coordinates(values_NK[chosen], seed=seed) for name, values_NK in representations.items()},
            _as_levels(labels.iloc[chosen]),
            labels_are_kmeans,
            None if covariate is None else _as_levels(covariate.iloc[chosen]),
            n_cells,
        )


def _as_levels(values: pd.Series) -> pd.Series:
    """Make any column categorical with text levels, in the order of the values; missing stays missing."""
    levels = values.astype("category").cat.remove_unused_categories()
    return levels.cat.rename_categories([str(level) for level in levels.cat.categories])
