"""Which cells a labelled metric may use: labels known, classes large enough, number of cells bounded."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from omicvae._core.arguments import integral
from omicvae._core.arrays import unmasked
from omicvae._core.errors import DataError

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: of metrics whose cost grows with the square of the cells
MAX_CELLS = 3000


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCells:
    """The cells that take part and their classes.

    ``index_M`` holds their ascending positions among all ``n_all`` cells and ``codes_M`` the class of each, 0 … C − 1.
    Names of ``classes``, and of those ``left_out`` for too few cells, are sorted.
    """

    n_all: int
    index_M: IntArray
    codes_M: IntArray
    classes: tuple[str, ...]
    left_out: tuple[str, ...]

    def rows(self, features_ND: Array, name: str = "embedding") -> FloatArray:
        """Check features of all cells and return those of the cells that take part."""
        return as_features(features_ND, self.n_all, name)[self.index_M]

    def require(self, minimum: int, subject: str) -> None:
        """Demand ``minimum`` labelled cells."""
        if len(self.index_M) < minimum:
            raise DataError(f"{subject} needs at least {minimum} labelled cells, got {len(self.index_M)}.")


def labelled_cells(labels_N: Array, *, minimum: int = 1, max_cells: float = np.inf, seed: int = 0) -> LabelledCells:
    """Choose the cells: a function of the labels and the seed alone, so every representation gets the same.

    Cells without a label (None or NaN) and classes below ``minimum`` cells are left out. Above ``max_cells``
    each class is thinned in proportion, but never below ``minimum``.
    """
    labels_N = np.asarray(unmasked("labels", labels_N))
    if labels_N.ndim != 1:
        raise DataError(f"Labels must be one value a cell (one-dimensional), got shape {labels_N.shape}.")
    known_M = np.flatnonzero(~pd.isna(labels_N))
    names, codes_M, counts_C = np.unique(labels_N[known_M].astype(str), return_inverse=True, return_counts=True)
    kept_C = counts_C >= minimum
    share = min(1.0, max_cells / max(int(counts_C[kept_C].sum()), 1))
    rng = np.random.default_rng(integral("seed", seed, minimum=0))
    chosen = [
        rng.permutation(known_M[codes_M == code])[: max(minimum, int(counts_C[code] * share))]
        for code in np.flatnonzero(kept_C)
    ]
    index_M = np.sort(np.concatenate([*chosen, np.empty(0, dtype=np.int64)])).astype(np.int64)
    classes = names[kept_C]
    return LabelledCells(
        n_all=len(labels_N),
        index_M=index_M,
        codes_M=np.searchsorted(classes, labels_N[index_M].astype(str)).astype(np.int64),
        classes=tuple(map(str, classes)),
        left_out=tuple(map(str, names[~kept_C])),
    )


def as_features(features_ND: Array, n_cells: int, name: str = "features") -> FloatArray:
    """Check a cells × dimensions array and return it in float64."""
    values_ND = np.asarray(unmasked(name, features_ND), dtype=np.float64)
    if values_ND.ndim != 2 or values_ND.shape[0] != n_cells or values_ND.shape[1] == 0:
        raise DataError(
            f"{name} must have a row for each of the {n_cells} labelled cells and at least one column, "
            f"got shape {values_ND.shape}."
        )
    if not np.isfinite(values_ND).all():
        raise DataError(f"{name} must be finite; {int((~np.isfinite(values_ND)).sum())} entries are NaN or inf.")
    return values_ND
