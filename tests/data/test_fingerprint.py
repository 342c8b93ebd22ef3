import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from omicvae.data import fingerprint

CONTAINERS = {
    "csr": sp.csr_matrix,
    "csc": sp.csc_matrix,
    "csr_array": sp.csr_array,
    "dense": np.array,
    "F": np.asfortranarray,
}


@pytest.mark.parametrize("convert", CONTAINERS.values(), ids=CONTAINERS)
def test_notices_changes_in_place(adata, counts, convert):
    adata.X = convert(counts)
    before = fingerprint(adata)
    assert fingerprint(adata) == before
    assert fingerprint(adata.copy()) == before
    values = adata.X if isinstance(adata.X, np.ndarray) else adata.X.data
    values[values == values.max()] += 1
    assert fingerprint(adata) != before


def test_equal_values_in_any_container(adata, counts):
    seen = set()
    for convert in CONTAINERS.values():
        for dtype in (np.float32, np.float64, np.int64):
            adata.layers["x"] = convert(counts.astype(dtype))
            seen.add(fingerprint(adata, "x"))
    assert len(seen) == 1


def test_order_shape_and_layer_matter(adata, counts):
    adata.layers["other"] = sp.csr_matrix(counts + 1)
    texts = [
        fingerprint(adata),
        fingerprint(adata, "other"),
        fingerprint(adata[::-1]),
        fingerprint(adata[:, ::-1]),
    ]
    texts += [fingerprint(adata[:29]), fingerprint(adata[:, :11])]
    assert len(set(texts)) == 6


def test_zeros_count_with_their_shape():
    assert fingerprint(ad.AnnData(np.zeros((2, 3)))) != fingerprint(ad.AnnData(np.zeros((3, 2))))


@pytest.mark.parametrize("convert", CONTAINERS.values(), ids=CONTAINERS)
def test_views_and_files(adata, counts, convert, tmp_path):
    adata.X = convert(counts)
    view = adata[[5, 2], 3:]
    assert fingerprint(view) == fingerprint(view) == fingerprint(view.copy())
    adata.write_h5ad(tmp_path / "x.h5ad")
    backed = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    try:
        assert fingerprint(backed) == fingerprint(adata)
    finally:
        backed.file.close()
