"""Saved models of released versions load for ever, and say what they said."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import omicvae as ov

FIXTURES = Path(__file__).parents[1] / "fixtures"
FOLDERS = sorted(path.parent for path in FIXTURES.glob("*/model.json"))
#: of sums of float32 in another order, on another machine
CLOSE = {"rtol": 2e-4, "atol": 2e-5}


def told(folder):
    """Cells and answers as they were written down, and an AnnData of them."""
    record = json.loads((folder / "expected.json").read_text())
    obs = pd.DataFrame({key: record[key] for key in ("batch", "age")}, index=[f"cell{n}" for n in range(8)])
    x = np.array(record["x"], dtype=np.float32)
    return record["answers"], ad.AnnData(x, obs=obs, var=pd.DataFrame(index=record["genes"]))


def test_there_is_a_model_of_counts_and_one_of_real_values():
    assert {"version_0_1_nb", "version_0_1_gaussian"} <= {folder.name for folder in FOLDERS}
    assert sum(path.stat().st_size for folder in FOLDERS for path in folder.iterdir()) < 400_000


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_it_loads_and_says_what_it_said(folder):
    expected, adata = told(folder)
    model = ov.CVAE.load(folder)
    mean, variance = model.get_latent_representation(adata, return_dist=True)
    answers = {
        "mean": mean,
        "variance": variance,
        "elbo": model.get_elbo(adata, return_mean=False),
        "marginal": model.get_marginal_ll(adata, n_mc_samples=5, return_mean=False),
        "expression": model.get_normalized_expression(adata, return_numpy=True),
        "other batch": model.get_normalized_expression(adata, transform_batch="b1", return_numpy=True),
    }
    assert answers.keys() == expected.keys()
    for name, values in answers.items():
        np.testing.assert_allclose(values, expected[name], err_msg=name, **CLOSE)
    assert len(model.history) == 30
    assert model.schema.categorical[0].levels == ("b1", "b2")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_it_saves_again_and_trains_on(folder, tmp_path):
    expected, adata = told(folder)
    ov.CVAE.load(folder).save(tmp_path)
    again = ov.CVAE.load(tmp_path, adata=ad.concat([adata] * 4, index_unique="-"))
    np.testing.assert_allclose(again.get_latent_representation()[:8], expected["mean"], **CLOSE)
    again.train(1, progress_bar=False, accelerator="cpu")
    assert len(again.history) == 31
