"""Whatever data a fit takes, its diagnosis takes too: a verdict, in numbers that are finite, and every form of it."""

import json

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import omicvae as ov

N, G = 40, 6
RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(3, (N, G)).astype(np.float32)
REAL = RNG.normal(size=(N, G)).astype(np.float32)
NUMBERS = RNG.normal(size=N)


def _with_one(x_NG, value):
    x_NG = x_NG.copy()
    x_NG[3, 4] = value
    return x_NG


#: name → values, likelihood, columns of obs
ODD = {
    "zeros": (0 * COUNTS, "nb", {}),
    "zeros as 0/1": (0 * COUNTS, "auto", {}),
    "ones": (0 * COUNTS + 1, "zinb", {}),
    "zeros, real": (0 * REAL, "gaussian", {}),
    "constant genes": (np.hstack([COUNTS, 0 * COUNTS + 2]), "poisson", {}),
    "cells without counts": (np.vstack([COUNTS[:20], 0 * COUNTS[:20]]), "nb", {}),
    "one count of 1e30": (_with_one(COUNTS, 1e30), "nb", {}),
    "one value of 1e30": (_with_one(REAL, 1e30), "gaussian", {}),
    "tiny": (REAL * np.float32(1e-30), "student_t", {}),
    "huge": (REAL * np.float32(1e30), "gaussian", {}),
    "one gene": (COUNTS[:, :1], "nb", {}),
    "one gene, real": (REAL[:, :1], "gaussian", {}),
    "one cell": (COUNTS[:1], "nb", {}),
    "two cells": (COUNTS[:2], "nb", {}),
    "one cell forty times": (np.tile(COUNTS[:1], (N, 1)), "nb", {"label": ["a", "b"] * 20}),
    "a covariate of 1e300": (COUNTS, "nb", {"number": np.where(np.arange(N) == 0, 1e300, NUMBERS)}),
    "a covariate around 1e300": (COUNTS, "nb", {"number": 1e300 * NUMBERS}),
    "a covariate around 1e-300": (COUNTS, "nb", {"number": 1e-300 * NUMBERS}),
    "a batch of one cell, a label": (COUNTS, "nb", {"batch": ["a"] + ["b"] * 39, "label": ["a"] * N}),
    "batches and labels of one cell": (COUNTS, "nb", {"batch": np.arange(N), "label": np.arange(N) * 1.5}),
    "no labels": (COUNTS, "nb", {"label": pd.Categorical([None] * N)}),
}
SETUP = {"batch": "batch_key", "label": "labels_key", "number": "continuous_covariate_keys"}


def _diagnosed(values_NG, likelihood, obs, n_latent=10, train_size=0.9):
    adata = AnnData(values_NG.copy(), obs=pd.DataFrame(obs, index=[f"cell{i}" for i in range(len(values_NG))]))
    ov.CVAE.setup_anndata(adata, **{SETUP[name]: name for name in obs})
    model = ov.CVAE(adata, likelihood, n_latent, n_hidden=8)
    model.train(2, train_size=train_size, progress_bar=False, accelerator="cpu")
    return model, model.diagnose(umap=False)


def _require_sound_forms(model, diagnosis, path):
    assert not np.isinf(diagnosis.evidence["value"]).any()
    assert not {"nan", "inf"} & set(diagnosis.headline.replace("(", " ").split())
    assert diagnosis.verdict in str(diagnosis)
    assert diagnosis.verdict in diagnosis._repr_html_()
    assert json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))["verdict"] == diagnosis.verdict
    assert model.report(path, diagnosis=diagnosis, umap=False).stat().st_size > 1000


@pytest.mark.filterwarnings("ignore:The largest count:UserWarning")
@pytest.mark.parametrize("name", ODD)
def test_odd_data_get_a_verdict(name, tmp_path):
    _require_sound_forms(*_diagnosed(*ODD[name]), tmp_path / "report.html")


@pytest.mark.parametrize(("n_latent", "train_size"), [(1, 1.0), (50, 0.5)])
def test_odd_latents_and_splits_get_a_verdict(n_latent, train_size, tmp_path):
    fit = _diagnosed(COUNTS, "nb", {"label": ["a", "b"] * 20}, n_latent, train_size)
    _require_sound_forms(*fit, tmp_path / "report.html")


def test_an_outlying_covariate_of_cells_that_validate_leaves_the_fit_finite():
    numbers = np.where(np.arange(N) % 4 == 0, 1e300, NUMBERS)
    numbers[1::2] = NUMBERS[1::2]
    model, diagnosis = _diagnosed(COUNTS, "nb", {"number": numbers}, train_size=0.5)
    assert np.isfinite(model.get_latent_representation()).all()
    assert "non-finite" not in diagnosis.headline
