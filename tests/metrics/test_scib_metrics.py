import numpy as np
import pytest

from omicvae.metrics import clisi, ilisi, pcr_comparison, silhouette_batch, silhouette_label


def test_scores_agree_with_scib_metrics(cells):
    scib = pytest.importorskip("scib_metrics")
    embedding, labels, batches = cells
    from scib_metrics.nearest_neighbors import NeighborsResults
    from sklearn.neighbors import NearestNeighbors

    distances, indices = NearestNeighbors(n_neighbors=90).fit(embedding).kneighbors()
    neighbours = NeighborsResults(indices=indices, distances=distances)
    assert ilisi(embedding, batches) == pytest.approx(scib.ilisi_knn(neighbours, batches), abs=1e-3)
    assert clisi(embedding, labels) == pytest.approx(scib.clisi_knn(neighbours, labels), abs=1e-3)
    assert silhouette_label(embedding, labels) == pytest.approx(scib.silhouette_label(embedding, labels), abs=1e-5)
    theirs = scib.silhouette_batch(embedding, labels, batches)
    assert silhouette_batch(embedding, labels, batches) == pytest.approx(theirs, abs=1e-5)
    after = embedding - 0.7 * np.array([embedding[batches == b].mean(0) for b in (0, 1)])[batches]
    theirs = scib.pcr_comparison(embedding, after, batches, categorical=True)
    assert pcr_comparison(embedding, after, batches).score == pytest.approx(theirs, abs=1e-4)
