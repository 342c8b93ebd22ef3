import numpy as np
import pytest
import scipy.sparse as sp

from omicvae._core import DataError
from omicvae.datasets import pbmc68k_counts
from omicvae.datasets.pbmc import counts_from_log_normalised


@pytest.fixture(scope="module")
def adata():
    return pbmc68k_counts()


def test_shape_and_annotation(adata):
    assert adata.shape == (700, 765)
    assert adata.obs["bulk_labels"].nunique() == 10
    assert set(adata.obs["phase"].unique()) == {"G1", "S", "G2M"}
    assert {"S_score", "G2M_score"} <= set(adata.obs.columns)
    assert adata.var_names.is_unique


def test_x_is_whole_counts_in_csr_float32(adata):
    assert sp.issparse(adata.X)
    assert adata.X.format == "csr"
    assert adata.X.dtype == np.float32
    assert (adata.X.data >= 1).all()
    assert (adata.X.data == np.rint(adata.X.data)).all()
    assert adata.X.max() == 259


def test_counts_reproduce_the_values_they_came_from(adata):
    import scanpy

    shipped = scanpy.datasets.pbmc68k_reduced().raw.X.toarray().astype(float)
    counts_NG = adata.X.toarray()
    # the normalisation factor of each cell, from its largest entry, explains all the other ones
    largest_N = counts_NG.argmax(axis=1)
    rows = np.arange(len(counts_NG))
    factor_N1 = (np.expm1(shipped[rows, largest_N]) / counts_NG[rows, largest_N])[:, None]
    np.testing.assert_allclose(np.log1p(counts_NG * factor_N1), shipped, atol=0.06)


def test_round_trip_with_empty_cells():
    rng = np.random.default_rng(0)
    counts_NG = rng.poisson(0.7, (30, 40)).astype(float)
    counts_NG[[0, 7, 29]] = 0
    counts_NG[1:3, 0] = 1
    size_N1 = np.maximum(counts_NG.sum(1, keepdims=True), 1)
    logged = sp.csr_matrix(np.log1p(counts_NG / size_N1 * 1e4).astype(np.float32))
    np.testing.assert_array_equal(counts_from_log_normalised(logged).toarray(), counts_NG)


def test_values_that_are_no_counts_are_refused():
    values = sp.csr_matrix(np.log1p([[1.0, 1.5, 2.0]]))
    with pytest.raises(DataError, match=r"largest distance from a whole number is 0\.50"):
        counts_from_log_normalised(values)
