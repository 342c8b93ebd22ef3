"""UMAP (McInnes et al. 2018) of a few thousand cells, in numpy: nothing to compile, nothing heavy to import.

``umap-learn`` compiles its kernels anew in every process and imports a search for approximate neighbours: 10 to 60 s
for a map that takes one second. On data sets of 700 to 3000 cells purity, silhouette and trustworthiness of the labels
agree with its maps to within what another seed does.
"""

import numpy as np

from omicvae.metrics.labels import Array, FloatArray, IntArray

N_NEIGHBOURS = 15
N_EPOCHS = 200

#: Random cells that repel a cell each time a neighbour attracts it, and the largest step along an axis.
N_REPELLING = 5
LARGEST_STEP = 4.0

#: Similarity in the plane 1 / (1 + A d^(2B)): the curve closest to exp(0.1 − d) beyond the distance 0.1, 1 below.
A, B = np.float32(1.5769434), np.float32(0.8950609)

#: Parts of an epoch, cells moving after each: all at once, cells of many neighbours overshoot.
PARTS = 2


def umap_coordinates(features_ND: Array, *, seed: int = 0) -> FloatArray:
    """Two-dimensional UMAP of the features as they are, the same for the same seed.

    Dimensions are not scaled against each other: that would blow up unused ones. It starts from the first two
    principal components.
    """
    from sklearn.neighbors import NearestNeighbors

    values_ND = np.asarray(features_ND, dtype=np.float32)
    values_ND = values_ND - values_ND.mean(axis=0)
    values_ND /= max(float(values_ND.std()), 1e-30)  # one factor for all dimensions, for float32's sake
    n_neighbours = min(N_NEIGHBOURS, len(values_ND) - 1)
    distance_Nk, index_Nk = NearestNeighbors(n_neighbors=n_neighbours).fit(values_ND).kneighbors(values_ND)
    rng = np.random.default_rng(seed)
    xy_2N = np.ascontiguousarray(_start(values_ND, rng).T)
    _attract_and_repel(xy_2N, *_similarities(distance_Nk, index_Nk), rng)
    return xy_2N.T.astype(np.float64)


def _similarities(distance_Nk: FloatArray, index_Nk: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of cells, each in both orders, and their similarity, 1 at most: the fuzzy union of what each cell says.

    A cell says exp(−(d − d_nearest) / s) of its neighbours, s such that they sum to log2 k.
    """
    from scipy.sparse import coo_array

    n_cells, k = distance_Nk.shape
    positive_Nk = np.where(distance_Nk > 0, distance_Nk, np.inf)
    nearest_N1 = positive_Nk.min(axis=1, keepdims=True)
    nearest_N1 = np.where(np.isfinite(nearest_N1), nearest_N1, 0.0)
    beyond_Nk = np.maximum(distance_Nk - nearest_N1, 0)[:, 1:]  # the first neighbour is the cell itself
    scale_N1, low_N1, high_N1 = np.ones((n_cells, 1)), np.zeros((n_cells, 1)), np.full((n_cells, 1), np.inf)
    for _ in range(64):
        too_wide = np.exp(-beyond_Nk / scale_N1).sum(axis=1, keepdims=True) > np.log2(k)
        high_N1, low_N1 = np.where(too_wide, scale_N1, high_N1), np.where(too_wide, low_N1, scale_N1)
        scale_N1 = np.where(np.isinf(high_N1), 2 * scale_N1, (low_N1 + high_N1) / 2)
    mean_N1 = np.where(nearest_N1 > 0, distance_Nk.mean(axis=1, keepdims=True), distance_Nk.mean())
    said_Nk = np.exp(-beyond_Nk / np.maximum(scale_N1, np.maximum(1e-3 * mean_N1, 1e-30)))
    rows = np.repeat(np.arange(n_cells), k - 1)
    said_NN = coo_array((said_Nk.ravel(), (rows, index_Nk[:, 1:].ravel())), shape=(n_cells, n_cells)).tocsr()
    union_NN = (said_NN + said_NN.T - said_NN * said_NN.T).tocoo()
    seen_E = union_NN.data * N_EPOCHS > union_NN.data.max(initial=0)  # the others would not be drawn once
    return union_NN.coords[0][seen_E], union_NN.coords[1][seen_E], union_NN.data[seen_E]


def _attract_and_repel(
    xy_2N: FloatArray, from_E: IntArray, to_E: IntArray, similarity_E: FloatArray, rng: np.random.Generator
) -> None:
    """Move the cells in place: in every epoch each pair is drawn as often as it is similar, by steps that end at 0."""
    order = rng.permutation(len(from_E))
    from_E, to_E, often_E = from_E[order], to_E[order], similarity_E[order] / similarity_E.max(initial=1e-30)
    n_cells = xy_2N.shape[1]
    for epoch in range(N_EPOCHS):
        step = np.float32(1 - epoch / N_EPOCHS)
        drawn = np.flatnonzero(np.floor((epoch + 1) * often_E) > np.floor(epoch * often_E))
        for part in np.array_split(drawn, PARTS):
            a, b = from_E[part], to_E[part]
            repelling = rng.integers(n_cells, size=(N_REPELLING, len(part)))
            attraction = step * _steps(xy_2N[:, a] - xy_2N[:, b], repel=False)
            repulsion = step * _steps(xy_2N[:, None, a] - xy_2N[:, repelling], repel=True).sum(axis=1)
            for coordinate_N, attracted, repelled in zip(xy_2N, attraction, repulsion, strict=True):
                coordinate_N += np.bincount(a, attracted + repelled, minlength=n_cells)
                coordinate_N -= np.bincount(b, attracted, minlength=n_cells)


def _steps(difference: FloatArray, *, repel: bool) -> FloatArray:
    """Gradient of log similarity (of log (1 − similarity) with ``repel``), clipped; x and y along the first axis."""
    squared = difference[0] ** 2 + difference[1] ** 2
    powered = A * squared**B
    if repel:
        factor = 2 * B / ((np.float32(1e-3) + squared) * (1 + powered))
    else:
        factor = -2 * B * powered / (np.maximum(squared, np.float32(1e-30)) * (1 + powered))
    return np.clip(factor * difference, -LARGEST_STEP, LARGEST_STEP)


def _start(values_ND: FloatArray, rng: np.random.Generator) -> FloatArray:
    from sklearn.utils.extmath import randomized_svd

    start_N2 = rng.normal(scale=1e-2, size=(len(values_ND), 2))
    if values_ND.shape[1] > 1:
        u_NK, scale_K, _ = randomized_svd(values_ND, n_components=2, random_state=0)
        start_N2 += u_NK * scale_K
    else:
        start_N2[:, 0] += values_ND[:, 0]
    return np.asarray(10 * start_N2 / np.abs(start_N2).max(), dtype=np.float32)
