import json

import numpy as np
import pandas as pd
import pytest

from omicvae._core import SettingError
from omicvae.data import SetupKeys


@pytest.mark.parametrize(
    "given", ["age", ["age"], ("age",), np.array(["age"]), pd.Series(["age"]), pd.Index(["age"])], ids=repr
)
def test_covariates_are_kept_as_tuples(given):
    keys = SetupKeys(continuous_covariate_keys=given, categorical_covariate_keys=[])
    assert keys.continuous_covariate_keys == ("age",)
    assert keys.categorical_covariate_keys == ()


def test_categorical_keys_start_with_the_batch():
    assert SetupKeys(batch_key="b", categorical_covariate_keys=["z", "a"]).categorical_keys == ("b", "z", "a")
    assert SetupKeys(categorical_covariate_keys=["z"]).categorical_keys == ("z",)


def test_round_trip_through_json():
    keys = SetupKeys("counts", np.str_("b"), "l", ["c", "d"], "v", "s")
    assert SetupKeys(**json.loads(json.dumps(keys.to_dict()))) == keys
    assert SetupKeys(**json.loads(json.dumps(SetupKeys().to_dict()))) == SetupKeys()


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_key": "a", "labels_key": "a"},
        {"batch_key": "a", "categorical_covariate_keys": ["a"]},
        {"categorical_covariate_keys": ["a", "a"]},
        {"continuous_covariate_keys": "a", "size_factor_key": "a"},
    ],
    ids=str,
)
def test_a_column_plays_one_role(settings):
    with pytest.raises(SettingError, match=r"'a' is named twice, as .* and as"):
        SetupKeys(**settings)


@pytest.mark.parametrize("settings", [{"batch_key": 3}, {"layer": ["x"]}, {"categorical_covariate_keys": [1]}], ids=str)
def test_names_are_strings(settings):
    with pytest.raises(SettingError, match=f"{next(iter(settings))} must be"):
        SetupKeys(**settings)
