"""How well labels hold together in an embedding: neighbourhood purity and silhouette."""

import numpy as np

from omicvae._core.arguments import integral
from omicvae._core.errors import DataError
from omicvae.metrics.labels import Array, as_features, labelled_cells

MAX_CELLS = 3000


def neighbourhood_purity(
    embedding_ND: Array, labels_N: Array, k: int = 15, *, max_cells: int = MAX_CELLS, seed: int = 0
) -> float:
    """Mean share of a cell's k nearest neighbours (Euclidean, itself excluded) that bear its label.

    Parameters
    ----------
    embedding_ND
        N cells × D coordinates.
    labels_N
        Class of each cell; cells with None or NaN take no part, neither as a cell nor as a neighbour.
    k
        Neighbours; at most the number of cells minus one.
    max_cells
        At most about this many cells take part, thinned in proportion within classes.

    Returns
    -------
    float
        0 (every neighbour bears another label) to 1 (all bear the same), higher is purer. A random embedding
        gives about Σ_c p_c², see :func:`purity_by_chance`.
    """
    from sklearn.neighbors import NearestNeighbors

    k = integral("k", k, minimum=1)
    cells = labelled_cells(labels_N, minimum=1, max_cells=max_cells, seed=seed)
    n_cells = len(cells.index_M)
    if n_cells < 2:
        raise DataError(f"Neighbourhood purity needs at least 2 labelled cells, got {n_cells}.")
    values_MD = as_features(embedding_ND, len(np.asarray(labels_N)), "embedding")[cells.index_M]
    # without an argument, kneighbors leaves each point out of its own neighbours, ties included
    neighbours_Mk = NearestNeighbors(n_neighbors=min(k, n_cells - 1)).fit(values_MD).kneighbors(return_distance=False)
    return float((cells.codes_M[neighbours_Mk] == cells.codes_M[:, None]).mean())


def purity_by_chance(labels_N: Array) -> float:
    """Neighbourhood purity of an embedding that knows nothing: Σ_c p_c (n_c − 1) / (n − 1)."""
    cells = labelled_cells(labels_N, minimum=1, max_cells=len(np.asarray(labels_N)), seed=0)
    counts_C = np.bincount(cells.codes_M)
    total = int(counts_C.sum())
    if total < 2:
        raise DataError(f"Neighbourhood purity needs at least 2 labelled cells, got {total}.")
    return float((counts_C * (counts_C - 1)).sum() / (total * (total - 1)))


def silhouette(embedding_ND: Array, labels_N: Array, *, max_cells: int = MAX_CELLS, seed: int = 0) -> float:
    """Mean silhouette width (Rousseeuw 1987) of the labels, s = (b − a) / max(a, b), Euclidean.

    a is a cell's mean distance to its own class, b that to the nearest other class; cells of single-cell
    classes count as 0.

    Returns
    -------
    float
        −1 (cells lie in other classes) over 0 (classes overlap) to 1 (tight and far apart), higher is better.

    Raises
    ------
    DataError
        Unless there are at least two classes and fewer classes than cells.
    """
    from sklearn.metrics import silhouette_score

    cells = labelled_cells(labels_N, minimum=1, max_cells=max_cells, seed=seed)
    n_cells, n_classes = len(cells.index_M), len(cells.classes)
    if not 2 <= n_classes < n_cells:
        raise DataError(
            f"The silhouette needs at least 2 classes and fewer classes than cells; got {n_classes} classes "
            f"in "
            f"{n_cells} labelled cells."
        )
    values_MD = as_features(embedding_ND, len(np.asarray(labels_N)), "embedding")[cells.index_M]
    return float(silhouette_score(values_MD, cells.codes_M))
