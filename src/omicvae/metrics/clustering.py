"""Classes for data that have no labels."""

import numpy as np

from omicvae._core.arguments import integral
from omicvae._core.errors import DataError
from omicvae.metrics.labels import Array, as_features

MAX_COMPONENTS = 30


def kmeans_classes(features_ND: Array, n_classes: int, rng: np.random.Generator) -> Array:
    """Cut cells into ``n_classes`` k-means classes of their leading principal components.

    Meant for the residuals of a model without latents: what such classes differ in is what a latent could
    encode. They are a stand-in for labels, found in the same data, and results must be marked so.

    Range: strings ``"k0"``, ``"k1"`` …, ordered by falling size. At most 30 principal components are used.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    n_classes = integral("n_classes", n_classes, minimum=2)
    values_ND = as_features(features_ND, len(features_ND))
    n_cells, n_features = values_ND.shape
    if n_cells < n_classes:
        raise DataError(f"{n_classes} classes need at least as many cells, got {n_cells}.")
    seed = int(rng.integers(2**31 - 1))
    n_components = min(MAX_COMPONENTS, n_features, n_cells)
    if n_components < n_features:
        values_ND = PCA(n_components, svd_solver="randomized", random_state=seed).fit_transform(values_ND)
    n_classes = min(n_classes, len(np.unique(values_ND, axis=0)))  # k-means warns where points coincide
    codes_N = KMeans(n_classes, n_init=4, random_state=seed).fit_predict(values_ND)
    rank_C = np.argsort(np.argsort(-np.bincount(codes_N, minlength=n_classes), kind="stable"))
    return np.array([f"k{rank_C[code]}" for code in codes_N], dtype=object)
