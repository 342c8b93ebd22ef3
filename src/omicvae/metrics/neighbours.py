"""Nearest neighbours: whether they bear one label, whether labels hang together, and whether two embeddings agree."""

import numpy as np

from omicvae._core.arguments import integral
from omicvae._core.errors import DataError
from omicvae.metrics.labels import MAX_CELLS, Array, FloatArray, IntArray, LabelledCells, as_features, labelled_cells

N_NEIGHBOURS = 15


def nearest(embedding_ND: Array, cells: LabelledCells, k: int) -> tuple[IntArray, FloatArray]:
    """Places and distances, (M, k) each, of the k nearest of the other M − 1 labelled cells (Euclidean)."""
    return nearest_of(cells.rows(embedding_ND), None, k)


def nearest_of(points_MD: Array, cells_ND: Array | None, k: int) -> tuple[IntArray, FloatArray]:
    """Places and distances, (N, k) each, of the k nearest among M points (Euclidean); of all where there are fewer.

    ``cells_ND`` None asks for the neighbours of the points themselves, each left out of its own, ties included.
    """
    from sklearn.neighbors import NearestNeighbors

    most = len(points_MD) - (cells_ND is None)
    distance_Nk, index_Nk = NearestNeighbors(n_neighbors=min(k, most)).fit(points_MD).kneighbors(cells_ND)
    return index_Nk, distance_Nk


def neighbourhood_purity(
    embedding_ND: Array, labels_N: Array, k: int = N_NEIGHBOURS, *, max_cells: int = MAX_CELLS, seed: int = 0
) -> float:
    """Mean share of a cell's k nearest neighbours (Euclidean, itself excluded) that bear its label.

    Where there are fewer than k other cells, all of them are neighbours.

    Range: 0 (every neighbour bears another label) to 1 (all bear the same), higher is purer. A random embedding gives
    about Σ_c p_c², see :func:`purity_by_chance`.
    """
    k = integral("k", k, minimum=1)
    cells = labelled_cells(labels_N, max_cells=max_cells, seed=seed)
    cells.require(2, "Neighbourhood purity")
    index_Mk, _ = nearest(embedding_ND, cells, k)
    return float((cells.codes_M[index_Mk] == cells.codes_M[:, None]).mean())


def purity_by_chance(labels_N: Array) -> float:
    """Neighbourhood purity of an embedding that knows nothing: Σ_c p_c (n_c − 1) / (n − 1).

    Range: 0 to 1, a yardstick.
    """
    cells = labelled_cells(labels_N)
    cells.require(2, "Neighbourhood purity")
    counts_C = np.bincount(cells.codes_M)
    return float((counts_C * (counts_C - 1)).sum() / (counts_C.sum() * (counts_C.sum() - 1)))


def graph_connectivity(embedding_ND: Array, labels_N: Array, k: int = N_NEIGHBOURS) -> float:
    """Graph connectivity (Luecken et al. 2022): whether labels stay in one piece of the neighbour graph.

    GC = 1/C Σ_c LCC(G_c) / n_c. G joins two cells if either is among the k nearest neighbours of the other; G_c is
    its part on the n_c cells of label c, and LCC the number of cells in the largest connected component. scib takes
    scanpy's graph, which joins cells in the same way; scib-metrics follows edges in their direction and gives less.

    Range: above 0 (each label scattered in single cells) to 1 (each label in one piece), higher is better.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    k = integral("k", k, minimum=1)
    cells = labelled_cells(labels_N)
    cells.require(2, "A neighbour graph")
    index_Mk, _ = nearest(embedding_ND, cells, k)
    n_cells = len(index_Mk)
    ends = np.repeat(np.arange(n_cells), index_Mk.shape[1]), index_Mk.ravel()
    alike = cells.codes_M[ends[0]] == cells.codes_M[ends[1]]
    edges = csr_array((np.ones(int(alike.sum())), (ends[0][alike], ends[1][alike])), shape=(n_cells, n_cells))
    # edges lie within labels, so every component does too; weak connection takes an edge in either direction
    _, component_M = connected_components(edges, directed=True, connection="weak")
    sizes = [np.bincount(component_M[cells.codes_M == code]) for code in range(len(cells.classes))]
    return float(np.mean([size.max() / size.sum() for size in sizes]))


def neighbour_overlap(first_ND: Array, second_ND: Array, k: int = N_NEIGHBOURS) -> FloatArray:
    """Share of the k nearest neighbours of each cell in one embedding that are so in the other, shape (N,).

    Range: 0 to 1, higher is more alike; k / (N − 1) for embeddings that have nothing to do with each other.

    Parameters
    ----------
    first_ND, second_ND
        Two embeddings of the same cells, which may have different dimensions.
    """
    from sklearn.neighbors import kneighbors_graph

    k, n_cells = integral("k", k, minimum=1), len(first_ND)
    if n_cells <= k:
        raise DataError(f"{k} neighbours need at least {k + 1} cells, got {n_cells}.")
    graphs = [kneighbors_graph(as_features(values_ND, n_cells), k) for values_ND in (first_ND, second_ND)]
    return np.asarray(graphs[0].multiply(graphs[1]).sum(axis=1) / k, dtype=np.float64).ravel()
