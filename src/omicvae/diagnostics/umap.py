"""Two-dimensional UMAP of representations, for the check and for figures."""

import warnings

import numpy as np

from omicvae.metrics.labels import Array, FloatArray


def umap_coordinates(features_ND: Array, *, seed: int = 0) -> FloatArray:
    """Two-dimensional UMAP of the features as they are (McInnes et al. 2018), the same for the same seed.

    Dimensions are not scaled against each other: that would blow up unused ones. It starts from the first two
    principal components: the spectral start warns and draws at random on small or disconnected graphs.
    """
    from sklearn.neighbors import NearestNeighbors

    values_ND = np.asarray(features_ND, dtype=np.float32)
    values_ND = values_ND - values_ND.mean(axis=0)
    values_ND /= max(float(values_ND.std()), 1e-30)  # one factor for all dimensions, for float32's sake
    n_neighbors = min(15, len(values_ND) - 1)
    # exact neighbours from here: umap's own search for small data calls Python once per pair of cells
    distance_Nk, index_Nk = NearestNeighbors(n_neighbors=n_neighbors).fit(values_ND).kneighbors(values_ND)
    with warnings.catch_warnings():
        # umap announces that TensorFlow is missing and that new cells could not be added: no matter
        warnings.simplefilter("ignore", ImportWarning)
        warnings.filterwarnings("ignore", message="precomputed_knn", category=UserWarning)
        from umap import UMAP

        mapper = UMAP(
            n_neighbors=n_neighbors,
            init=_start(values_ND, np.random.default_rng(seed)),
            precomputed_knn=(index_Nk, distance_Nk.astype(np.float32), None),
            force_approximation_algorithm=True,
            n_epochs=200,
            random_state=seed,
            n_jobs=1,
        )
        return np.asarray(mapper.fit_transform(values_ND), dtype=np.float64)


def _start(values_ND: FloatArray, rng: np.random.Generator) -> FloatArray:
    from sklearn.utils.extmath import randomized_svd

    start_N2 = rng.normal(scale=1e-2, size=(len(values_ND), 2))
    if values_ND.shape[1] > 1:
        u_NK, scale_K, _ = randomized_svd(values_ND, n_components=2, random_state=0)
        start_N2 += u_NK * scale_K
    else:
        start_N2[:, 0] += values_ND[:, 0]
    return np.asarray(10 * start_N2 / np.abs(start_N2).max(), dtype=np.float32)
