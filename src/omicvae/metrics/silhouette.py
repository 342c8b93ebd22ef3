"""Silhouette widths: of labels, and of batches within labels, plain and in scib's scale."""

import numpy as np
import pandas as pd

from omicvae._core.arrays import unmasked
from omicvae._core.errors import DataError
from omicvae.metrics.labels import MAX_CELLS, Array, labelled_cells


def silhouette(embedding_ND: Array, labels_N: Array, *, max_cells: int = MAX_CELLS, seed: int = 0) -> float:
    """Mean silhouette width (Rousseeuw 1987) of the labels, s = (b − a) / max(a, b), Euclidean.

    a is a cell's mean distance to its own class, b that to the nearest other class; cells of single-cell
    classes count as 0. There must be at least two classes and fewer classes than cells.

    Range: −1 (cells lie in other classes) over 0 (classes overlap) to 1 (tight and far apart), higher is better.
    """
    from sklearn.metrics import silhouette_score

    cells = labelled_cells(labels_N, max_cells=max_cells, seed=seed)
    n_cells, n_classes = len(cells.index_M), len(cells.classes)
    if not 2 <= n_classes < n_cells:
        raise DataError(
            f"The silhouette needs at least 2 classes and fewer classes than cells; got {n_classes} classes in "
            f"{n_cells} labelled cells."
        )
    return float(silhouette_score(cells.rows(embedding_ND), cells.codes_M))


def silhouette_label(embedding_ND: Array, labels_N: Array, *, max_cells: int = MAX_CELLS, seed: int = 0) -> float:
    """Silhouette of labels in scib's scale, (s + 1) / 2 (Luecken et al. 2022), with s of :func:`silhouette`.

    Range: 0 (cells lie in other classes) over 0.5 (classes overlap) to 1 (tight and far apart), higher is better.
    """
    return (silhouette(embedding_ND, labels_N, max_cells=max_cells, seed=seed) + 1) / 2


def silhouette_batch(
    embedding_ND: Array, labels_N: Array, batches_N: Array, *, max_cells: int = MAX_CELLS, seed: int = 0
) -> float:
    """Silhouette of batches within labels in scib's scale (Luecken et al. 2022).

    1/C Σ_c 1/n_c Σ_{i in c} (1 − abs(s_i)), with s_i the silhouette width of cell i for its batch among the cells of
    its label c. Labels found in one batch only, or with a batch for each cell, take no part.
    Where no label is left that is an error. The width looks at the nearest other batch only, so batches mixed in pairs
    score well too (Rautenstrauch & Ohler 2025): read it beside :func:`ilisi`.

    Range: 0 (batches apart) to 1 (batches overlap), higher is better mixed.
    """
    from sklearn.metrics import silhouette_samples

    labels_N = np.asarray(unmasked("labels", labels_N), dtype=object)
    batches_N = np.asarray(unmasked("batches", batches_N), dtype=object)
    if labels_N.shape != batches_N.shape:
        raise DataError(f"Labels and batches must be of the same cells: shapes {labels_N.shape}, {batches_N.shape}.")
    both_N = pd.Series(labels_N).where(pd.notna(batches_N), None).to_numpy()
    cells = labelled_cells(both_N, max_cells=max_cells, seed=seed)
    values_MD, batches_M = cells.rows(embedding_ND), batches_N[cells.index_M].astype(str)
    mixing = []
    for code in range(len(cells.classes)):
        own = cells.codes_M == code
        if 1 < len(np.unique(batches_M[own])) < int(own.sum()):
            mixing.append(float((1 - np.abs(silhouette_samples(values_MD[own], batches_M[own]))).mean()))
    if not mixing:
        raise DataError("The silhouette of batches needs a label with cells of at least 2 batches; found none.")
    return float(np.mean(mixing))
