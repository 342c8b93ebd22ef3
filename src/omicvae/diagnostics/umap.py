"""The UMAP check: do labels hold together in UMAP of a draw, of the means, and of PCA. Its maps serve figures too."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd

from omicvae._core.together import Together
from omicvae.diagnostics.evidence import Check, Row
from omicvae.metrics import neighbourhood_purity, purity_by_chance, silhouette
from omicvae.metrics.labels import MAX_CELLS, Array, FloatArray, labelled_cells

MINIMUM_CELLS = 10


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingCheck(Check):
    """Purity (0 to 1) and silhouette (−1 to 1) of labels in UMAPs of the same cells, higher is better.

    It is never judged: UMAP keeps neighbours and not distances, and of means it draws islands from
    differences that the posterior's noise would drown.

    Attributes
    ----------
    scores
        A row per representation: ``representation purity silhouette purity_by_chance n_cells``.
    """

    scores: pd.DataFrame

    def rows(self) -> Iterator[Row]:
        """Purity in each, shown."""
        for score in self.scores.to_dict("records"):
            title = score["representation"].removeprefix("posterior ")
            meaning = f"share of like neighbours (chance {score['purity_by_chance']:.2f}); silhouette "
            meaning += f"{score['silhouette']:.2f}; shown, not judged"
            yield Row(f"UMAP of {title}, purity", score["purity"], meaning)


def umap_check(
    representations: Mapping[str, Array], labels_N: Array, *, seed: int = 0, max_cells: int = MAX_CELLS
) -> EmbeddingCheck | None:
    """Score labels in UMAPs of representations; None with fewer than two classes or fewer than ten labelled cells."""
    cells = labelled_cells(labels_N, minimum=2, max_cells=max_cells, seed=seed)
    n_cells = len(cells.index_M)
    if len(cells.classes) < 2 or n_cells < MINIMUM_CELLS:
        return None
    rows = []
    for title, features_NK in representations.items():
        coordinates_M2 = umap_coordinates(features_NK[cells.index_M], seed=seed)
        purity, shape = (
            score(coordinates_M2, cells.codes_M, max_cells=n_cells) for score in (neighbourhood_purity, silhouette)
        )
        rows.append({"representation": title, "purity": purity, "silhouette": shape})
    return EmbeddingCheck(pd.DataFrame(rows).assign(purity_by_chance=purity_by_chance(cells.codes_M), n_cells=n_cells))


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
    with _quiet_umap():
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


@Together
@contextmanager
def _quiet_umap() -> Iterator[None]:
    """Keep back that TensorFlow is missing and that new cells could not be added: no matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)
        warnings.filterwarnings("ignore", message="precomputed_knn", category=UserWarning)
        yield


def _start(values_ND: FloatArray, rng: np.random.Generator) -> FloatArray:
    from sklearn.utils.extmath import randomized_svd

    start_N2 = rng.normal(scale=1e-2, size=(len(values_ND), 2))
    if values_ND.shape[1] > 1:
        u_NK, scale_K, _ = randomized_svd(values_ND, n_components=2, random_state=0)
        start_N2 += u_NK * scale_K
    else:
        start_N2[:, 0] += values_ND[:, 0]
    return np.asarray(10 * start_N2 / np.abs(start_N2).max(), dtype=np.float32)
