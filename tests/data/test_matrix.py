import anndata as ad
import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from omicvae._core import DataError
from omicvae.data import get_matrix, iter_rows


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch):
    monkeypatch.setattr("omicvae.data.matrix.CHUNK_ENTRIES", 7 * 12)


def whole(matrix):
    return np.vstack([chunk.toarray() for chunk in iter_rows(matrix)])


CONTAINERS = {
    "csr_matrix": sp.csr_matrix,
    "csr_array": sp.csr_array,
    "csc_matrix": sp.csc_matrix,
    "csc_array": sp.csc_array,
    "coo_matrix": sp.coo_matrix,
    "C order": np.ascontiguousarray,
    "F order": np.asfortranarray,
    "numpy.matrix": lambda x: x.view(np.matrix),
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_containers_give_the_same_chunks(counts, container, monkeypatch):
    matrix = container(counts)
    assert [chunk.shape[0] for chunk in iter_rows(matrix)] == [7, 7, 7, 7, 2]
    assert np.array_equal(whole(matrix), counts)
    monkeypatch.setattr("omicvae.data.matrix.CHUNK_ENTRIES", 10**6)
    assert np.array_equal(whole(matrix), counts)


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "uint16", "int64", "uint64", "f2", "f4", "f8", ">f4", ">i4"]
)
def test_number_types(counts, dtype):
    x = np.minimum(counts, 100).astype(dtype)
    chunks = list(iter_rows(x))
    assert np.array_equal(np.vstack([chunk.toarray() for chunk in chunks]), x)
    assert all(chunk.dtype.isnative and chunk.dtype.itemsize > (chunk.dtype.kind == "f") * 2 for chunk in chunks)
    if dtype not in ("f2", ">f4", ">i4"):  # scipy holds none of these
        assert np.array_equal(whole(sp.csr_matrix(x)), x)


@pytest.mark.parametrize("convert", [sp.csr_matrix, sp.csc_matrix, np.asarray], ids=["csr", "csc", "dense"])
def test_files_and_their_views(adata, counts, tmp_path, convert):
    adata.X = convert(counts)
    adata.layers["twice"] = convert(2 * counts)
    adata.write_h5ad(tmp_path / "x.h5ad")
    backed = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    chosen = [20, 3, 3, 11]
    try:
        assert np.array_equal(whole(get_matrix(backed, None)), counts)
        assert np.array_equal(whole(get_matrix(backed, "twice")), 2 * counts)
        assert np.array_equal(whole(get_matrix(backed[5:9, 2:4], None)), counts[5:9, 2:4])
        assert np.array_equal(whole(get_matrix(backed[chosen], None)), counts[chosen])
    finally:
        backed.file.close()


def test_hdf5_dataset(counts, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        assert np.array_equal(whole(file.create_dataset("x", data=counts)), counts)


@pytest.mark.parametrize("convert", [sp.csr_matrix, sp.csc_matrix, np.asarray], ids=["csr", "csc", "dense"])
def test_views(adata, counts, convert):
    adata.X = convert(counts)
    assert np.array_equal(whole(get_matrix(adata[[4, 1], ["gene3", "gene0"]], None)), counts[[4, 1]][:, [3, 0]])
    assert np.array_equal(whole(get_matrix(adata[10:25], None)), counts[10:25])


def test_disorder_is_repaired_in_a_copy():
    data, indices = np.array([200, 100, 0, 5], dtype=np.uint8), np.array([2, 2, 1, 0])
    matrix = sp.csr_matrix((data.copy(), indices.copy(), [0, 3, 4]), shape=(2, 3))
    (chunk,) = iter_rows(matrix)
    assert chunk.toarray().tolist() == [[0, 0, 300], [5, 0, 0]]
    assert chunk.nnz == 2
    assert np.array_equal(matrix.data, data)
    assert np.array_equal(matrix.indices, indices)


def test_unknown_layer_lists_the_layers(adata):
    adata.layers["counts"] = adata.X
    with pytest.raises(DataError, match=r"no 'raw'. Layers that exist: 'counts'"):
        get_matrix(adata, "raw")


def test_missing_x_points_to_the_layers(counts):
    adata = ad.AnnData(shape=counts.shape, layers={"counts": counts})
    with pytest.raises(DataError, match=r"adata.X is empty \(None\).*layer=.*'counts'"):
        get_matrix(adata, None)


def test_text_is_refused():
    with pytest.raises(DataError, match="not numeric"):
        list(iter_rows(np.array([["a"]], dtype=object)))
    with pytest.raises(DataError, match="is a list"):
        list(iter_rows([[1.0]]))


@pytest.mark.parametrize("place", ["X", "layer"])
@pytest.mark.parametrize("view", [slice(None), slice(1, None), np.array([4, 2]), "copy"])
def test_masked_entries_are_missing_values(adata, counts, place, view):
    values = np.ma.masked_array(counts.astype(np.float32), mask=np.zeros(counts.shape, bool))
    values[4, 3] = np.ma.masked
    if place == "X":
        adata.X = values
    else:
        adata.layers["masked"] = values
    layer = None if place == "X" else "masked"
    part = adata.copy() if isinstance(view, str) else adata[view]
    with pytest.raises(DataError, match=r"1 masked.*cell '.*gene '.*filled"):
        get_matrix(part, layer)
    whole_rows = adata[[0, 1]]  # these have none
    np.testing.assert_array_equal(whole(get_matrix(whole_rows, layer)), counts[:2])


def test_arrays_that_say_more_than_their_values_are_refused(counts):
    class Quantity(np.ndarray):
        unit = "kilocounts"

    with pytest.raises(DataError, match=r"Quantity.*subok=False"):
        next(iter_rows(counts.view(Quantity)))
    unmasked = np.ma.masked_array(counts)
    np.testing.assert_array_equal(whole(unmasked), counts)
