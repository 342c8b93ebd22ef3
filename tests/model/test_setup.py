"""Bad input at set-up and construction: an error that says what and where, or the right answer."""

import logging

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import omicvae as ov
from omicvae._core import DataError, SettingError
from omicvae.data import SetupKeys

from .conftest import FAST, SETUP


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_values_name_cell_and_gene(counts, bad):
    counts.X[7, 3] = bad
    with pytest.raises(DataError, match=r"(?s)cell7.*gene3"):
        ov.CVAE.setup_anndata(counts)


@pytest.mark.parametrize("column", ["age", "size"])
def test_non_finite_covariates_name_the_row(counts, column):
    counts.obs[column] = 1.0
    counts.obs.iloc[5, counts.obs.columns.get_loc(column)] = np.inf
    keys = {"continuous_covariate_keys": ["age"]} if column == "age" else {"size_factor_key": "size"}
    with pytest.raises(DataError, match="cell5"):
        ov.CVAE.setup_anndata(counts, **keys)


@pytest.mark.parametrize(("value", "words"), [(-1.0, "at least 0"), (0.5, "whole numbers")])
def test_set_up_records_and_construction_refuses_non_counts(counts, value, words):
    counts.X[0, 0] = value
    ov.CVAE.setup_anndata(counts)  # knows no likelihood
    with pytest.raises(DataError, match=f"(?s)({words}).*gaussian"):
        ov.CVAE(counts, "nb")


def test_log_normalised_values_are_refused_under_auto_and_fine_as_gaussian(counts):
    x = counts.X.toarray()
    counts.X = sp.csr_matrix(np.log1p(x / x.sum(1, keepdims=True) * 1e4))
    with pytest.raises(DataError, match=r"(?s)layer=.*\.raw.*likelihood='gaussian'"):
        ov.CVAE(counts)
    assert ov.CVAE(counts, "gaussian").config.likelihood == "gaussian"


def test_auto_picks_by_the_values(counts):
    assert ov.CVAE(counts).config.likelihood == "nb"
    binary = counts.copy()
    binary.X = (counts.X > 2).astype(np.float32)
    ov.CVAE.setup_anndata(binary)
    assert ov.CVAE(binary).config.likelihood == "bernoulli"
    real = counts.copy()
    real.X = np.random.default_rng(0).normal(size=counts.shape).astype(np.float32)
    ov.CVAE.setup_anndata(real)
    assert ov.CVAE(real).config.likelihood == "gaussian"


def test_counts_above_2_to_24_warn(counts):
    counts.X[0, 0] = 2**24 + 2
    with pytest.warns(UserWarning, match="float32"):
        ov.CVAE(counts, "nb")


def test_zero_cells_and_genes_work_and_are_mentioned(counts, caplog):
    x = counts.X.toarray()
    x[4], x[:, 6] = 0, 0
    counts.X = x
    with caplog.at_level(logging.INFO, "omicvae"):
        model = ov.CVAE(counts, "nb", 3, n_hidden=16)
    assert "zero" in caplog.text
    model.train(**FAST)
    assert np.isfinite(model.get_latent_representation()).all()
    assert np.isfinite(model.get_elbo())


def test_duplicate_genes_no_genes_no_cells(counts):
    twice = counts.copy()
    twice.var_names = ["gene0", *twice.var_names[:-1]]
    with pytest.raises(DataError, match=r"gene0.*var_names_make_unique"):
        ov.CVAE.setup_anndata(twice)
    with pytest.raises(DataError, match="no genes"):
        ov.CVAE.setup_anndata(counts[:, :0].copy())
    with pytest.raises(DataError, match="no cells"):
        ov.CVAE.setup_anndata(counts[:0].copy())


def test_one_cell_works(counts):
    model = ov.CVAE(counts[:1].copy(), "nb", 2, n_hidden=8)
    model.train(**FAST)
    assert model.get_latent_representation().shape == (1, 2)


def test_missing_covariate_values_are_counted_and_named(counts):
    counts.obs["donor"] = counts.obs["donor"].where(np.arange(120) != 9)
    with pytest.raises(DataError, match=r"(?s)1 .*cell9"):
        ov.CVAE.setup_anndata(counts, categorical_covariate_keys=["donor"])


def test_labels_may_be_missing(counts):
    counts.obs["label"] = counts.obs["label"].where(np.arange(120) != 9)
    ov.CVAE.setup_anndata(counts, labels_key="label")


def test_a_wrong_column_lists_close_names(counts):
    with pytest.raises(DataError, match="Did you mean 'batch'"):
        ov.CVAE.setup_anndata(counts, batch_key="batsh")


def test_a_changed_matrix_is_noticed(counts):
    ov.CVAE.setup_anndata(counts)
    model = ov.CVAE(counts, "nb", 2)
    counts.X.data[:] += 1
    for act in (lambda: ov.CVAE(counts, "nb"), lambda: model.train(**FAST)):
        with pytest.raises(DataError, match="changed since it was set up"):
            act()


def test_a_copy_and_a_subset_keep_their_keys(counts):
    ov.CVAE.setup_anndata(counts, **SETUP)
    assert ov.CVAE(counts.copy(), "nb").schema.keys.batch_key == "batch"
    assert ov.CVAE(counts[:, :10].copy(), "nb").schema.keys.categorical_keys == ("batch", "donor")


def test_without_set_up_defaults_are_used_and_said(counts, caplog):
    model = ov.CVAE(counts)
    assert "setup_anndata" in caplog.text
    assert model.schema.keys.batch_key is None


def test_integral_floats_and_bare_strings_as_r_sends_them(counts):
    ov.CVAE.setup_anndata(counts, categorical_covariate_keys="donor", continuous_covariate_keys="age")
    model = ov.CVAE(counts, "nb", 5.0, n_hidden=16.0, n_layers=1.0, seed=3.0)
    model.train(max_epochs=2.0, batch_size=64.0, progress_bar=False, objective={"warmup_steps": 1.0})
    assert model.get_latent_representation(indices=[0.0, 1.0]).shape == (2, 5)
    with pytest.raises(SettingError, match="whole number"):
        ov.CVAE(counts, "nb", 5.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"likelihood": "negbin"}, "'nb', 'zinb', 'poisson', 'gaussian', 'bernoulli'"),
        ({"likelihood": "nb", "dispersion": "cell"}, "'gene', 'gene-batch', 'gene-cell'"),
        ({"likelihood": "nb", "dispersion": "gene-batch"}, "batch_key"),
        ({"likelihood": "nb", "activation": "sigmoid"}, "'relu'"),
        ({"likelihood": "nb", "dropout_rate": 1.0}, r"\[0, 1\)"),
        ({"likelihood": "nb", "prior": "flow"}, "'standard', 'conditional', 'vamp'"),
        ({"likelihood": "nb", "prior": "conditional"}, "needs covariates"),
        ({"likelihood": "nb", "prior": "vamp", "n_pseudo_inputs": 0}, "n_pseudo_inputs must be at least 1"),
        ({"likelihood": "nb", "n_layers_decoder": 0}, "n_layers_decoder must be at least 1"),
        ({"likelihood": "nb", "dropout_rate_decoder": -0.1}, r"dropout_rate_decoder must lie in \[0, 1\)"),
        ({"likelihood": "nb", "log_variance_bounds": (0.5, 5.0)}, "lower bound of at most 0"),
        ({"likelihood": "nb", "log_variance_bounds": (-5.0, float("inf"))}, "finite"),
        ({"likelihood": "nb", "log_variance_bounds": 5.0}, "must be two numbers"),
    ],
)
def test_unknown_settings_list_the_choices(counts, arguments, message):
    with pytest.raises(SettingError, match=message):
        ov.CVAE(counts, **arguments)


def test_set_up_leaves_obs_and_the_matrix_as_they_were(counts):
    before = counts.copy()
    ov.CVAE.setup_anndata(counts, **SETUP)
    ov.CVAE(counts, "nb")
    pd.testing.assert_frame_equal(counts.obs, before.obs)
    assert (counts.X != before.X).nnz == 0


def test_scvi_tools_words_get_the_right_one(counts):
    with pytest.raises(SettingError, match="For gene_likelihood write likelihood"):
        ov.CVAE(counts, gene_likelihood="nb")
    with pytest.raises(SettingError, match="For n_hiden write n_hidden"):
        ov.CVAE(counts, n_hiden=3)
    for key in SetupKeys().to_dict():
        with pytest.raises(SettingError, match=rf"For {key} write {key}, an argument of CVAE.setup_anndata\(\)\."):
            ov.CVAE(counts, **{key: "batch"})
