"""Nearest neighbours among labelled cells, and whether classes hang together in their graph."""

from dataclasses import dataclass

import numpy as np

from omicvae._core.arguments import integral
from omicvae._core.errors import DataError
from omicvae.metrics.labels import Array, FloatArray, IntArray, LabelledCells, as_features, labelled_cells


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The k nearest neighbours of each of M cells, itself excluded: places among the M, and distances."""

    index_Mk: IntArray
    distance_Mk: FloatArray


def nearest(embedding_ND: Array, labels_N: Array, cells: LabelledCells, k: int) -> Neighbours:
    """Find the k nearest neighbours (Euclidean) of the labelled cells among themselves."""
    from sklearn.neighbors import NearestNeighbors

    values_MD = as_features(embedding_ND, len(np.asarray(labels_N)), "embedding")[cells.index_M]
    # without an argument, kneighbors leaves each point out of its own neighbours, ties included
    distance_Mk, index_Mk = NearestNeighbors(n_neighbors=k).fit(values_MD).kneighbors()
    return Neighbours(np.asarray(index_Mk, dtype=np.int64), np.asarray(distance_Mk, dtype=np.float64))


def graph_connectivity(embedding_ND: Array, labels_N: Array, k: int = 15) -> float:
    """Graph connectivity (Luecken et al. 2022): whether labels stay in one piece of the neighbour graph.

    GC = 1/C Σ_c LCC(G_c) / n_c. G joins two cells if either is among the k nearest neighbours of the other; G_c is
    its part on the n_c cells of label c, and LCC the number of cells in the largest connected component.

    Parameters
    ----------
    embedding_ND
        N cells × D coordinates.
    labels_N
        Label of each cell; cells with None or NaN take no part.
    k
        Neighbours; at most the number of cells minus one.

    Returns
    -------
    float
        Above 0 (each label scattered in single cells) to 1 (each label in one piece), higher is better. scib takes
        scanpy's graph, which joins cells in the same way; scib-metrics follows edges in their direction and gives less.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    k = integral("k", k, minimum=1)
    cells = labelled_cells(labels_N, minimum=1, max_cells=len(np.asarray(labels_N)), seed=0)
    n_cells = len(cells.index_M)
    if n_cells < 2:
        raise DataError(f"A neighbour graph needs at least 2 labelled cells, got {n_cells}.")
    index_Mk = nearest(embedding_ND, labels_N, cells, min(k, n_cells - 1)).index_Mk
    ends = np.repeat(np.arange(n_cells), index_Mk.shape[1]), index_Mk.ravel()
    alike = cells.codes_M[ends[0]] == cells.codes_M[ends[1]]
    edges = csr_array((np.ones(int(alike.sum())), (ends[0][alike], ends[1][alike])), shape=(n_cells, n_cells))
    # edges lie within labels, so every component does too; weak connection takes an edge in either direction
    _, component_M = connected_components(edges, directed=True, connection="weak")
    shares = []
    for code in range(len(cells.classes)):
        sizes = np.bincount(component_M[cells.codes_M == code])
        shares.append(sizes.max() / sizes.sum())
    return float(np.mean(shares))
