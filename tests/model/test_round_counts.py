"""Counts that were corrected to fractions: refused as they are, rounded where that is asked for, and in queries too."""

import json

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

import omicvae as ov
from omicvae._core import DataError, SettingError
from omicvae.cli import main

from .conftest import FAST


@pytest.fixture
def corrected(counts):
    """Counts less an expected share of ambient ones."""
    x = counts.X.toarray().astype(float)
    counts.X = sp.csr_matrix(np.maximum(x - 0.05 * x.sum(1, keepdims=True) * x.sum(0) / x.sum(), 0))
    return counts


def made(adata, likelihood="nb", **setup):
    ov.CVAE.setup_anndata(adata, batch_key="batch", **setup)
    return ov.CVAE(adata, likelihood, 3, n_hidden=16)


def test_never_unasked(corrected):
    with pytest.raises(DataError, match=r"corrected to fractions.*setup_anndata\(adata, round_counts=True\)"):
        made(corrected, "auto")
    with pytest.raises(DataError, match=r"needs counts .*corrected to fractions.*round_counts=True"):
        made(corrected)
    assert made(corrected, "gaussian").config.likelihood == "gaussian"


def test_a_model_of_rounded_counts_is_that_of_counts_rounded_before(corrected, tmp_path):
    before = corrected.X.copy()
    whole = corrected.copy()
    whole.X = whole.X.rint()
    whole.X.eliminate_zeros()
    expected, model = made(whole, "auto"), made(corrected, "auto", round_counts=1.0)  # R sends numbers
    assert model.config.likelihood == "nb"
    for fit in (expected, model):
        fit.train(**FAST)
    assert (before != corrected.X).nnz == 0
    latent = expected.get_latent_representation()
    np.testing.assert_array_equal(model.get_latent_representation(), latent)

    query = ad.AnnData(corrected.X.copy(), obs=corrected.obs.copy(), var=corrected.var.copy())
    np.testing.assert_array_equal(model.get_latent_representation(query), latent)
    with pytest.raises(
        DataError, match=r"reads adata.X: put counts .* there; .*X.rint\(\)\) or make the model with round"
    ):
        expected.get_latent_representation(query)
    logs = ad.AnnData(np.log1p(to_total(corrected.X.toarray())), corrected.obs.copy(), corrected.var.copy())
    with pytest.raises(DataError, match=r"looks log-normalised .* The model reads adata.X: put counts \([^;]*there.$"):
        model.get_latent_representation(logs)
    model.save(tmp_path / "model")
    for loaded in (ov.CVAE.load(tmp_path / "model"), ov.CVAE.load(tmp_path / "model", adata=query)):
        np.testing.assert_array_equal(loaded.get_latent_representation(query), latent)
        np.testing.assert_array_equal(loaded.get_elbo(query, return_mean=False), model.get_elbo(return_mean=False))


def to_total(x, total=1e4):
    return x / np.maximum(x.sum(1, keepdims=True), 1) * total


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("panel", [False, True], ids=["genes", "panel without small counts"])
def test_whole_counts_stay_as_they_are(counts, dtype, panel):
    whole = np.random.default_rng(0).poisson(1.0, counts.shape).astype(dtype)
    whole[whole > 0] += 9 * panel
    counts.X = sp.csr_matrix(whole)
    model = made(counts, "auto", round_counts=True)
    for adata in (None, counts[:30].copy(), counts[:2].copy()):
        got = model.state.cells(adata).csr(np.arange(2)).toarray()
        np.testing.assert_array_equal(got, whole[:2])
    some = whole.astype(float)
    some[0, np.flatnonzero(some[0])[:2]] += 0.5
    made(ad.AnnData(some, counts.obs.copy()), round_counts=True)


def test_what_is_no_count_is_not_rounded(counts):
    x = counts.X.toarray()
    counts.X = np.log1p(to_total(x))
    for likelihood in ("nb", "auto"):
        with pytest.raises(DataError, match=r"round_counts=True is for counts .* looks log-normalised"):
            made(counts, likelihood, round_counts=True)
    x[0, 0] = -1.4
    counts.X = x
    with pytest.raises(DataError, match=r"needs counts .* holds -1 \(cell"):
        made(counts, "auto", round_counts=True)


def test_what_rounds_to_0_and_1_is_counted(counts):
    counts.X = np.minimum(counts.X.toarray(), 1.0) * np.random.default_rng(0).uniform(0.2, 1.4, counts.shape)
    assert made(counts, "auto", round_counts=True).config.likelihood == "nb"


def test_settings_that_do_not_go_together(corrected):
    with pytest.raises(SettingError, match="round_counts=True makes counts, and likelihood='gaussian' models none"):
        made(corrected, "gaussian", round_counts=True)
    with pytest.raises(SettingError, match="round_counts must be True or False, got 'yes'"):
        made(corrected, round_counts="yes")
    with pytest.raises(
        SettingError, match=r"For round_counts write round_counts, an argument of CVAE.setup_anndata\(\)"
    ):
        ov.CVAE(corrected, round_counts=True)


def test_one_call_and_the_command_line(corrected, tmp_path):
    short = {"train_arguments": FAST, "model_arguments": {"n_hidden": 16}, "umap": False}
    model = ov.tl.cvae(corrected, "nb", 3, batch_key="batch", round_counts=True, **short)
    assert model.schema.keys.round_counts
    again = ov.tl.cvae(corrected, "nb", 3, round_counts=np.False_, **short)  # an earlier set-up holds
    assert again.schema.keys.round_counts
    corrected.obs["depth"], corrected.obs["day"] = range(corrected.n_obs), 1
    for names in (np.array(["depth", "day"]), corrected.obs.columns[-2:]):
        of_an_array = ov.tl.cvae(corrected, "gaussian", 3, continuous_covariate_keys=names, **short)
        assert of_an_array.schema.keys.continuous_covariate_keys == ("depth", "day")

    corrected.write_h5ad(tmp_path / "cells.h5ad")
    options = ["--model", tmp_path / "model", "--out", tmp_path / "out.h5ad", "--max-epochs", 5, "--n-latent", 3]
    assert main([str(part) for part in ("train", tmp_path / "cells.h5ad", *options, "--round-counts")]) == 0
    assert json.loads((tmp_path / "model" / "model.json").read_text())["data"]["keys"]["round_counts"] is True


def test_the_layer_with_counts_is_named(counts):
    x = counts.X.toarray()
    counts.layers["raw_counts"] = counts.X.copy()
    counts.X = x / np.maximum(x.sum(1, keepdims=True), 1) * 1e4
    with pytest.raises(DataError, match=r"not logged .*setup_anndata\(adata, layer='raw_counts'\).*scanpy.pp.log1p"):
        ov.CVAE(counts)
    ov.CVAE.setup_anndata(counts, layer="raw_counts")
    assert ov.CVAE(counts).config.likelihood == "nb"
