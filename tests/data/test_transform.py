"""Covariates that the user names: for every cell, or one for each point."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from omicvae._core import DataError, SettingError
from omicvae.data import CellStore, DataSchema, SetupKeys, Transform, covariate_columns


@pytest.fixture
def schema() -> DataSchema:
    obs = pd.DataFrame({"batch": ["a", "b", "c", "a"], "dose": [0.0, 1.0, 2.0, 3.0]}, index=list("wxyz"))
    adata = AnnData(np.ones((4, 3), np.float32), obs=obs)
    return DataSchema.register(adata, SetupKeys(batch_key="batch", continuous_covariate_keys=("dose",)))


def points(schema: DataSchema) -> CellStore:
    return CellStore.of_points(schema, np.array([[0], [1]]), np.array([[0.0], [3.0]]), np.ones(2))


def test_named_covariates_replace_those_of_every_cell_and_no_others(schema):
    batch = points(schema).batch([0, 1])
    there = Transform.of(schema, {"batch": "c"})(batch)
    assert there.categories_BD[:, 0].tolist() == [2, 2]
    assert (there.continuous_BV == batch.continuous_BV).all()
    there = Transform.of(schema, {"dose": 1.5})(batch)
    assert there.continuous_BV[:, 0].tolist() == [0, 0]  # 1.5 is the mean
    assert (there.categories_BD == batch.categories_BD).all()
    assert Transform.of(schema, None)(batch) is batch


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"donor": "a"}, SettingError, "'batch', 'dose'"),
        ({"batch": "q"}, DataError, "Known levels: 'a', 'b', 'c'"),
        ({"batch": ["a", "b"]}, SettingError, "one value"),
        ({"dose": 300.0}, DataError, "training range, 0 to 3"),
        ("batch", SettingError, "mapping"),
    ],
)
def test_what_cannot_be_set_is_named(schema, given, error, words):
    with pytest.raises(error, match=words):
        Transform.of(schema, given)


def test_points_have_a_value_each_or_one_for_all(schema):
    columns = covariate_columns(schema, {"batch": "b", "dose": [0.0, 3.0]}, 2, "covariates")
    assert columns["batch"].tolist() == [1, 1]
    assert columns["dose"].tolist() == [0.0, 3.0]
    with pytest.raises(DataError, match="3 values for 2 points"):
        covariate_columns(schema, {"batch": ["a", "b", "c"]}, 2, "covariates")
