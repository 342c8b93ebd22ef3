"""The same cells in any container give the same latent."""

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

import omicvae as ov

from .conftest import FAST


def latent(adata, **setup):
    ov.CVAE.setup_anndata(adata, batch_key="batch", **setup)
    model = ov.CVAE(adata, "nb", 3, n_hidden=16)
    model.train(**FAST)
    return model.get_latent_representation()


CONTAINERS = {
    "csc": sp.csc_matrix,
    "csr_array": sp.csr_array,
    "dense": lambda x: x.toarray(),
    "fortran": lambda x: np.asfortranarray(x.toarray()),
    "int64": lambda x: x.astype(np.int64),
    "uint16 dense": lambda x: x.toarray().astype(np.uint16),
    "float64": lambda x: x.astype(np.float64),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_and_types(counts, name):
    expected = latent(counts.copy())
    other = counts.copy()
    other.X = CONTAINERS[name](other.X)
    np.testing.assert_array_equal(latent(other), expected)


def test_layer(counts):
    expected = latent(counts.copy())
    counts.layers["counts"] = counts.X.copy()
    counts.X = np.log1p(counts.X.toarray())
    np.testing.assert_array_equal(latent(counts, layer="counts"), expected)


def test_view(counts):
    keep = np.arange(0, 120, 2)
    expected = latent(counts[keep].copy())
    np.testing.assert_array_equal(latent(counts[keep]), expected)


def test_a_view_of_a_set_up_object(counts):
    ov.CVAE.setup_anndata(counts, batch_key="batch")
    model = ov.CVAE(counts[:60], "nb", 3, n_hidden=16)
    model.train(**FAST)
    np.testing.assert_array_equal(model.get_latent_representation(), latent(counts[:60].copy()))


@pytest.mark.parametrize("dense", [False, True])
def test_backed(counts, tmp_path, dense):
    expected = latent(counts.copy())
    if dense:
        counts.X = counts.X.toarray()
    counts.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    np.testing.assert_array_equal(latent(backed), expected)


def test_backed_view(counts, tmp_path):
    expected = latent(counts[10:70].copy())
    counts.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    np.testing.assert_array_equal(latent(backed[10:70]), expected)


def test_category_order_and_unused_levels_have_no_effect(counts):
    expected = latent(counts.copy())
    swapped = counts.copy()
    swapped.obs["batch"] = swapped.obs["batch"].cat.set_categories(["unused", "b2", "b1"])
    np.testing.assert_array_equal(latent(swapped), expected)
