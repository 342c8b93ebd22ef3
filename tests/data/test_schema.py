import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from omicvae._core import DataError
from omicvae.data import CellStore, DataSchema, SetupKeys

KEYS = SetupKeys(
    batch_key="batch",
    labels_key="label",
    categorical_covariate_keys="site",
    continuous_covariate_keys="age",
    size_factor_key="size",
)


def test_register_and_round_trip(adata):
    schema = DataSchema.register(adata, KEYS)
    assert schema.gene_names == tuple(adata.var_names)
    assert [(levels.key, levels.levels) for levels in schema.categorical] == [
        ("batch", ("a", "b", "c")),
        ("site", (1, 2)),
    ]
    assert schema.labels.levels == ("B cell", "T cell")
    assert (schema.n_cells, schema.n_genes) == (30, 12)
    assert DataSchema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    plain = DataSchema.register(adata)
    assert DataSchema.from_dict(json.loads(json.dumps(plain.to_dict()))) == plain


def test_register_leaves_adata_alone(adata):
    before = adata.copy()
    CellStore.build(adata, DataSchema.register(adata, KEYS))
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert not adata.uns
    assert (adata.X != before.X).nnz == 0


def test_duplicate_genes(adata):
    adata.var_names = ["x", "x", "y", "y", "y", *adata.var_names[5:]]
    with pytest.raises(DataError, match=r"2 gene names .*'x', 'y'.*adata.var_names_make_unique\(\)"):
        DataSchema.register(adata)


def test_empty(adata):
    with pytest.raises(DataError, match="no cells"):
        DataSchema.register(adata[[]])
    with pytest.raises(DataError, match="no genes"):
        DataSchema.register(adata[:, []])


def test_one_cell(adata):
    one = adata[[4]].copy()
    store = CellStore.build(one, DataSchema.register(one, KEYS))
    batch = store.batch([0])
    assert len(batch) == 1
    assert batch.continuous_BV.tolist() == [[0.0]]
    assert all(
        moment.isfinite().all() for moment in (store.moments([0]).variance_G, store.moments([0]).inverse_dispersion_G)
    )


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "bacth",
            r"no column 'bacth'. Did you mean 'batch'\? Columns: 'batch', 'site', 'age', 'label', 'size'",
        ),
        ("zzz", r"no column 'zzz'. Columns: 'batch'"),
    ],
)
@pytest.mark.parametrize(
    "role",
    ["batch_key", "labels_key", "categorical_covariate_keys", "continuous_covariate_keys", "size_factor_key"],
)
def test_unknown_columns(adata, key, message, role):
    with pytest.raises(DataError, match=message):
        DataSchema.register(adata, SetupKeys(**{role: key}))


def test_unknown_layer(adata):
    with pytest.raises(DataError, match=r"no 'counts'\. Layers that exist: none"):
        DataSchema.register(adata, SetupKeys(layer="counts"))


@pytest.mark.parametrize("convert", [sp.csr_matrix, np.asarray], ids=["csr", "dense"])
def test_not_finite_entries(adata, counts, convert):
    counts[7, 2] = np.nan
    adata.X = convert(counts)
    with pytest.raises(DataError, match=r"first is nan \(cell 'cell7', gene 'gene2'\)"):
        DataSchema.register(adata)


@pytest.mark.parametrize(
    ("role", "column", "bad", "message"),
    [
        ("batch_key", "batch", None, r"'batch'\] is missing in 1 of 30 cells \('cell5'\)"),
        (
            "continuous_covariate_keys",
            "age",
            np.inf,
            r"'age'\] is missing or infinite in 1 of 30 cells \('cell5'\)",
        ),
        ("size_factor_key", "size", np.nan, r"'size'\] is missing or infinite in 1 of 30 cells \('cell5'\)"),
        (
            "size_factor_key",
            "size",
            -1.0,
            r"'size'\] must be positive, but are -1 .* 1 of 30 cells \('cell5'\)",
        ),
    ],
)
def test_bad_values_in_columns(adata, role, column, bad, message):
    adata.obs.loc["cell5", column] = bad
    with pytest.raises(DataError, match=message):
        DataSchema.register(adata, SetupKeys(**{role: column}))


def test_negative_and_fractional_values_pass_set_up(adata, counts):
    adata.X = counts / 2 - 1  # set-up knows no likelihood
    assert DataSchema.register(adata).n_genes == 12


def test_scales_are_those_of_the_training_cells(adata):
    schema = DataSchema.register(adata, KEYS)
    store = CellStore.build(adata, schema)
    train = np.arange(10)
    store = store.with_schema(schema.fit_scaling(store.continuous_NV[train]))
    age = adata.obs["age"].to_numpy()
    expected = (age - age[:10].mean()) / age[:10].std()
    np.testing.assert_allclose(store.batch(np.arange(30)).continuous_BV[:, 0], expected, rtol=1e-6)
    assert store.schema != schema
    assert store.continuous_NV[:, 0].tolist() == age.tolist()


def test_constant_covariate_gives_zeros(adata):
    adata.obs["age"] = 0.1
    schema = DataSchema.register(adata, SetupKeys(continuous_covariate_keys="age"))
    assert (CellStore.build(adata, schema).batch([0, 1]).continuous_BV == 0).all()
