import json

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from omicvae._core import DataError
from omicvae.data import CellStore, DataSchema, SetupKeys
from omicvae.data.device import has_room

KEYS = SetupKeys(batch_key="batch", categorical_covariate_keys="site", continuous_covariate_keys="age")


def build(adata, keys=KEYS, **kwargs):
    return CellStore.build(adata, DataSchema.register(adata, keys), **kwargs)


def assert_same(one, other):
    pairs = [*zip(one.values.arrays, other.values.arrays, strict=True)]
    names = ("indptr", "columns", "library_N", "codes_ND", "continuous_NV")
    for a, b in [*pairs, *((getattr(one, name), getattr(other, name)) for name in names)]:
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)


def test_batch_is_what_was_asked_for(adata, counts):
    store = build(adata)
    rows = np.array([7, 0, 29, 7, 3])
    for indices in (rows, torch.from_numpy(rows), rows.tolist()):
        batch = store.batch(indices)
        assert torch.equal(batch.x_BG, torch.from_numpy(counts[rows]))
        assert torch.equal(batch.rows.positions(), batch.x_BG.view(-1).nonzero().squeeze(1))
        assert batch.library_B1[:, 0].tolist() == counts[rows].sum(1).tolist()
        assert batch.categories_BD.tolist() == [[0, 1], [1, 1], [2, 0], [0, 1], [1, 1]]
        assert batch.continuous_BV.shape == (5, 1)
    dtypes = [batch.x_BG.dtype, batch.library_B1.dtype, batch.continuous_BV.dtype]
    assert dtypes == [torch.float32] * 3
    assert batch.categories_BD.dtype == batch.rows.starts.dtype == torch.int64


def test_empty_cells_and_batches(adata, counts):
    counts[[0, 1, 29]] = 0
    adata.X = sp.csr_matrix(counts)
    store = build(adata, SetupKeys())
    assert torch.equal(store.batch(np.arange(30)).x_BG, torch.from_numpy(counts))
    assert store.batch([0, 1]).library_B1.tolist() == [[1.0], [1.0]]
    assert store.batch([0]).rows.values_M.shape == (0,)
    assert store.batch([]).x_BG.shape == (0, 12)
    assert store.batch([3]).categories_BD.shape == store.batch([3]).continuous_BV.shape == (1, 0)


@pytest.mark.parametrize(
    ("largest", "expected"),
    [
        (255, np.uint8),
        (256, np.uint8),
        (65535, np.uint8),
        (65536, np.float32),
        (2.5, np.float32),
        (-1, np.float32),
    ],
)
@pytest.mark.parametrize("rows", [4, 10**6])
def test_values_take_the_smallest_exact_type(monkeypatch, adata, counts, largest, expected, rows):
    monkeypatch.setattr("omicvae.data.matrix.CHUNK_ENTRIES", rows * 12)
    monkeypatch.setattr("omicvae.data.compact.worth_codes", lambda *sizes: False)  # see test_compact.py
    counts = np.minimum(counts, 9)
    counts[17, 4] = largest
    adata.X = counts
    store = build(adata)
    assert store.values.stored.dtype == expected
    assert store.columns.dtype == np.uint16
    assert torch.equal(store.batch(np.arange(30)).x_BG, torch.from_numpy(counts))


def test_few_large_counts_are_kept_apart_and_many_take_two_bytes(adata, counts):
    few = np.minimum(counts, 9)
    few[[3, 3, 20], [0, 5, 11]] = 255, 300, 65535
    adata.X = few
    store = build(adata)
    assert store.values.stored.dtype == np.uint8
    assert store.values.large_values.tolist() == [255, 300, 65535]
    assert store.nbytes < 30 * 100 + 3 * few.astype(bool).sum()
    rows = np.array([20, 4, 3])
    assert torch.equal(store.batch(rows).x_BG, torch.from_numpy(few[rows]))
    starts, columns, values = store.gather(rows)
    found = sp.csr_matrix((values, columns, starts), shape=(3, 12))
    assert np.array_equal(found.toarray(), few[rows])
    adata.X = many = np.minimum(counts, 200) * 300
    store = build(adata)
    assert store.values.stored.dtype == np.uint16
    assert torch.equal(store.batch(rows).x_BG, torch.from_numpy(many[rows]))


def test_many_genes_need_wider_columns():
    x = sp.csr_matrix(([1.0, 2.0], ([0, 1], [70000, 3])), shape=(2, 70001))
    store = build(ad.AnnData(x), SetupKeys())
    assert store.columns.dtype == np.int32
    assert store.batch([0, 1]).rows.positions().tolist() == [70000, 70004]


CPU = torch.device("cpu")


def tensors(batch):
    return batch.x_BG, batch.library_B1, batch.categories_BD, batch.continuous_BV


CELLS = {
    "bytes": lambda x: np.minimum(x, 9),
    "few large counts": lambda x: np.where(np.arange(x.size).reshape(x.shape) == 100, 60000, np.minimum(x, 9)),
    "many large counts": lambda x: np.minimum(x, 200) * 300,
    "real values": lambda x: x - 1.5,
    "values without repetition": lambda x: x * np.random.default_rng(0).random(x.shape),
    "empty cells": lambda x: x * (np.arange(len(x)) % 3 == 1)[:, None],
    "nothing": np.zeros_like,
    "many genes": lambda x: np.pad(x, ((0, 0), (70_000, 0))),
}


@pytest.mark.parametrize("values", CELLS.values(), ids=CELLS)
def test_minibatches_made_on_a_device_are_those_of_the_store(adata, counts, values):
    """What a GPU does, here on the CPU."""
    cells = ad.AnnData(values(counts).astype(np.float32), obs=adata.obs)
    store = build(cells)
    there = store.on_device(CPU)
    for rows in (np.array([29, 3, 3, 0]), np.arange(30), np.array([], dtype=np.int64)):
        for found, expected in zip(tensors(there.batch(rows)), tensors(store.batch(rows)), strict=True):
            assert found.dtype == expected.dtype
            assert torch.equal(found, expected)
        assert torch.equal(there.batch(rows).rows.starts, store.batch(rows).rows.starts)


def test_cells_stay_on_a_gpu_that_has_room_for_them(adata, monkeypatch):
    store, gpu = build(adata), torch.device("cuda")
    for free, fits in ((100 * store.nbytes, True), (3 * store.nbytes, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10 * free))
        assert has_room(store.nbytes, gpu) == fits
        assert not has_room(store.nbytes, CPU)


CONTAINERS = {
    "csr_array": sp.csr_array,
    "csc": sp.csc_matrix,
    "csc_array": sp.csc_array,
    "dense": np.asarray,
    "F order": np.asfortranarray,
    "int64": lambda x: x.astype(np.int64),
    "uint16": lambda x: sp.csr_matrix(x.astype(np.uint16)),
    "float64": lambda x: sp.csr_matrix(x.astype(np.float64)),
    "float16": lambda x: x.astype(np.float16),
}


@pytest.mark.parametrize("convert", CONTAINERS.values(), ids=CONTAINERS)
def test_containers_and_types_give_identical_stores(adata, counts, convert):
    reference = build(adata)
    adata.X = convert(counts)
    assert_same(build(adata), reference)


def test_layer_view_and_file_give_identical_stores(adata, counts, tmp_path):
    reference = build(adata)
    padded = ad.AnnData(
        np.pad(-counts, ((0, 5), (0, 4))),
        layers={"counts": sp.csr_matrix(np.pad(counts, ((0, 5), (0, 4))))},
        obs=adata.obs.reindex([*adata.obs_names, *"abcde"]),
    )
    padded.var_names = [*adata.var_names, *"wxyz"]
    keys = SetupKeys("counts", "batch", categorical_covariate_keys="site", continuous_covariate_keys="age")
    assert_same(build(padded[:30, :12], keys), reference)
    adata.write_h5ad(tmp_path / "x.h5ad")
    padded.write_h5ad(tmp_path / "padded.h5ad")
    for name, select, setup in (("x", slice(None), KEYS), ("padded", (slice(0, 30), slice(0, 12)), keys)):
        backed = ad.read_h5ad(tmp_path / f"{name}.h5ad", backed="r")
        try:
            assert_same(build(backed[select], setup), reference)
            assert_same(build(backed, setup), reference) if name == "x" else None
        finally:
            backed.file.close()


def test_chunking_has_no_effect(monkeypatch, adata):
    reference = build(adata)
    monkeypatch.setattr("omicvae.data.matrix.CHUNK_ENTRIES", 50)
    store = build(adata)
    assert_same(store, reference)
    assert torch.equal(store.moments(np.arange(30)).variance_G, reference.moments(np.arange(30)).variance_G)
    assert store.summary == reference.summary


def test_genes_and_categories_in_another_order_change_nothing(adata, rng):
    schema = DataSchema.register(adata, KEYS)
    reference = CellStore.build(adata, schema)
    shuffled = adata[:, rng.permutation(12)].copy()
    shuffled.obs["batch"] = shuffled.obs["batch"].cat.set_categories(["a", "unused", "c", "b"])
    shuffled.obs["site"] = shuffled.obs["site"].astype(str)
    assert_same(CellStore.build(shuffled, schema), reference)
    assert_same(CellStore.build(shuffled[::-1], schema).with_schema(schema), CellStore.build(adata[::-1], schema))


def test_extra_genes_do_not_enter_the_library(adata, counts):
    few = adata[:, [8, 2, 5]].copy()
    schema = DataSchema.register(few, KEYS)
    counts[0, 0] = np.nan  # a gene that the model does not know may hold anything
    adata.X = counts
    store = CellStore.build(adata, schema)
    assert_same(store, CellStore.build(few, schema))
    assert store.batch([4]).x_BG.tolist() == [counts[4, [8, 2, 5]].tolist()]


def test_missing_genes_are_filled_on_request(adata, counts):
    schema = DataSchema.register(adata, KEYS)
    query = adata[:, ::-1][:, :10].copy()
    with pytest.raises(DataError, match=r"2 of the model's 12 genes are missing.*'gene0', 'gene1'"):
        CellStore.build(query, schema)
    counts[:, :2] = 0
    store = CellStore.build(query, schema, missing_genes="zero")
    assert torch.equal(store.batch(np.arange(30)).x_BG, torch.from_numpy(counts))
    with pytest.raises(DataError, match="25%, more than the limit of 20%"):
        CellStore.build(adata[:, :9], schema, missing_genes="zero")


def test_unseen_levels_of_a_query(adata):
    schema = DataSchema.register(adata, KEYS)
    query = adata.copy()
    query.obs["batch"] = query.obs["batch"].astype(str).replace("c", "new")
    with pytest.raises(DataError, match=r"'batch'\] has 1 unknown level: 'new'. Known levels: 'a', 'b', 'c'"):
        CellStore.build(query, schema)
    assert_same(CellStore.build(query, schema, unseen="c"), CellStore.build(adata, schema))
    assert_same(CellStore.build(query, schema, unseen={"batch": "c"}), CellStore.build(adata, schema))
    with pytest.raises(DataError, match="unknown level"):
        CellStore.build(query, schema, unseen={"site": 1})


def test_queries_need_their_columns_but_no_labels(adata):
    schema = DataSchema.register(adata, SetupKeys(batch_key="batch", labels_key="label", size_factor_key="size"))
    query = adata.copy()
    del query.obs["label"]
    assert CellStore.build(query, schema).library_N.tolist() == adata.obs["size"].tolist()
    del query.obs["size"]
    with pytest.raises(DataError, match="no column 'size'"):
        CellStore.build(query, schema)
    with pytest.raises(DataError, match="no cells"):
        CellStore.build(adata[[]], schema)


def test_size_factors_of_a_query_are_on_the_scale_of_training(adata):
    schema = DataSchema.register(adata, SetupKeys(size_factor_key="size"))
    schema = DataSchema.from_dict(json.loads(json.dumps(schema.to_dict())))
    query = adata.copy()
    query.obs["size"] *= 10  # ten times deeper
    assert CellStore.build(query, schema).library_N.tolist() == query.obs["size"].tolist()
    for odd in (0.0, np.nan, 1e300, 20_000.0):  # the last a library size
        query.obs.loc["cell5", "size"] = odd
        with pytest.raises(DataError, match=r"obs\['size'\].* in 1 of 30 cells \('cell5'\)"):
            CellStore.build(query, schema)


def test_sizes(adata, counts):
    store = build(adata)
    assert (store.n_cells, store.n_genes, len(store.values)) == (30, 12, np.count_nonzero(counts))
    assert store.nbytes >= 4 * len(store.values)
    assert store.summary.maximum == 300
    with pytest.raises(AttributeError):
        store.values = None


@pytest.mark.parametrize("kind", ["counts", "real"])
def test_moments(adata, counts, rng, kind):
    x = counts.astype(np.float64) if kind == "counts" else rng.normal(1e4, 1, (30, 12))
    x[:, 5] = 0
    adata.X = x
    rows = np.array([1, 4, 5, 9, 28, 17, 3])
    moments = build(adata).moments(rows)
    x = x.astype(np.float32).astype(np.float64)
    library = np.maximum(x.sum(1, keepdims=True), 1)[rows]
    x = x[rows]
    mu = library * x.sum(0) / library.sum()
    excess = ((x - mu) ** 2).sum(0) - mu.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        theta = np.where(excess > 0, np.clip((mu**2).sum(0) / excess, 1e-2, 1e4), 1e4)
    np.testing.assert_allclose(moments.mean_G, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance_G, x.var(0), rtol=1e-9)
    np.testing.assert_allclose(moments.rate_G, x.sum(0) / library.sum(), rtol=1e-7)
    np.testing.assert_allclose(moments.inverse_dispersion_G, theta, rtol=1e-6)
    assert moments.mean_G.dtype == torch.float64


def test_moments_recover_the_dispersion(rng):
    n, theta = 4000, 2.0
    mu = rng.uniform(500, 2000, (n, 1)) * np.array([[0.02, 0.3, 0.68]])
    adata = ad.AnnData(rng.poisson(rng.gamma(theta, mu / theta)).astype(np.float32))
    adata.obs["size"] = mu.sum(1)
    found = build(adata, SetupKeys(size_factor_key="size")).moments(np.arange(n)).inverse_dispersion_G
    np.testing.assert_allclose(found, theta, rtol=0.15)


def test_log_normalised(adata, counts):
    counts[2] = 0
    adata.X = counts
    library = np.maximum(counts.sum(1, keepdims=True), 1)
    store = build(adata)
    found = store.log_normalised("counts")
    assert sp.issparse(found)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.toarray(), np.log1p(counts / library * 1e4), rtol=1e-6)
    by_size = build(adata, SetupKeys(size_factor_key="size")).log_normalised("counts").toarray()
    np.testing.assert_allclose(by_size, np.log1p(counts / adata.obs[["size"]].to_numpy()), rtol=1e-6)
    assert store.log_normalised("real").tolist() == counts.tolist()
    assert store.log_normalised("binary").toarray().tolist() == counts.tolist()
