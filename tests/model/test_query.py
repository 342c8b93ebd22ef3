"""New cells are matched to the model by name, or refused."""

import numpy as np
import pandas as pd
import pytest

import omicvae as ov
from omicvae._core import DataError, SettingError

from .conftest import FAST


def test_reordered_genes_give_the_same_latent(fitted, counts):
    order = np.random.default_rng(0).permutation(counts.n_vars)
    np.testing.assert_array_equal(
        fitted.get_latent_representation(counts[:, order].copy()), fitted.get_latent_representation()
    )


def test_extra_genes_are_ignored(fitted, counts):
    import anndata as ad

    extra = counts[:, :2].copy()
    extra.var_names = ["new1", "new2"]
    wide = ad.concat([extra, counts], axis=1, merge="first")
    np.testing.assert_array_equal(fitted.get_latent_representation(wide), fitted.get_latent_representation())


def test_missing_genes_are_an_error_with_a_fill_option_and_a_limit(fitted, counts):
    few = counts[:, 2:].copy()
    with pytest.raises(DataError, match=r"(?s)2 .*gene0.*missing_genes=.zero"):
        fitted.get_latent_representation(few)
    assert np.isfinite(fitted.get_latent_representation(few, missing_genes="zero")).all()
    with pytest.raises(DataError, match=r"(?s)15 of the model's 30 genes.*20"):
        fitted.get_latent_representation(counts[:, 15:].copy(), missing_genes="zero")


def test_unseen_levels_list_the_known_ones_or_take_a_stand_in(fitted, counts):
    new = counts.copy()
    new.obs["batch"] = pd.Categorical(["b9"] * new.n_obs)
    with pytest.raises(DataError, match=r"(?s)b9.*'b1', 'b2'"):
        fitted.get_latent_representation(new)
    stand_in = counts.copy()
    stand_in.obs["batch"] = pd.Categorical(["b1"] * new.n_obs)
    np.testing.assert_array_equal(
        fitted.get_latent_representation(new, unseen={"batch": "b1"}),
        fitted.get_latent_representation(stand_in),
    )


def test_integer_and_string_levels_match(counts):
    counts.obs["batch"] = (counts.obs["batch"] == "b2").astype(int)
    ov.CVAE.setup_anndata(counts, batch_key="batch")
    model = ov.CVAE(counts, "nb", 2, n_hidden=8)
    model.train(**FAST)
    text = counts.copy()
    text.obs["batch"] = text.obs["batch"].astype(str)
    np.testing.assert_array_equal(model.get_latent_representation(text), model.get_latent_representation())


def test_a_query_is_left_untouched(fitted, counts):
    query = counts[:20].copy()
    query.uns.clear()
    before = query.copy()
    fitted.get_latent_representation(query)
    assert query.uns == {}
    pd.testing.assert_frame_equal(query.obs, before.obs)


def test_a_query_changed_in_place_is_read_again(fitted, counts):
    query = counts[:20].copy()
    first = fitted.get_latent_representation(query)
    query.X.data[:] *= 3
    assert not np.array_equal(first, fitted.get_latent_representation(query))


@pytest.mark.parametrize(("column", "values"), [("batch", "b1"), ("age", 80.0)])
def test_a_covariate_changed_in_place_is_read_again(fitted, counts, column, values):
    query = counts[:20].copy()
    first = fitted.get_latent_representation(query)
    query.obs[column] = values
    assert not np.array_equal(first, fitted.get_latent_representation(query))


@pytest.mark.parametrize("change", [lambda x: np.log1p(x), lambda x: -x])
def test_query_values_are_checked_like_training_data(fitted, counts, change):
    query = counts.copy()
    query.X = change(counts.X.toarray())
    with pytest.raises(DataError, match="needs counts"):
        fitted.get_latent_representation(query)


@pytest.mark.parametrize("indices", [[-1], [120], [1.5], [True, False], []])
def test_rows_that_do_not_exist_are_refused(fitted, indices):
    with pytest.raises(SettingError, match="indices"):
        fitted.get_latent_representation(indices=indices)


def test_a_mask_selects_rows(fitted):
    mask = np.arange(120) % 3 == 0
    np.testing.assert_array_equal(
        fitted.get_latent_representation(indices=mask), fitted.get_latent_representation()[mask]
    )


def test_permuted_cells_give_permuted_latents(fitted, counts):
    order = np.random.default_rng(1).permutation(counts.n_obs)
    np.testing.assert_allclose(
        fitted.get_latent_representation(counts[order].copy()),
        fitted.get_latent_representation()[order],
        atol=1e-5,
    )


@pytest.mark.parametrize(("factor", "answer"), [(100, "error"), (1.5, "warning"), (1, "same")])
def test_a_continuous_covariate_in_other_units_is_told(fitted, counts, factor, answer):
    query = counts[:20].copy()
    query.obs["age"] = counts.obs["age"].max() * factor
    if answer == "error":
        with pytest.raises(DataError, match=r"obs\['age'\].*times its width \(limit 2\).*units"):
            fitted.get_latent_representation(query)
    elif answer == "warning":
        with pytest.warns(UserWarning, match="extrapolates"):
            fitted.get_latent_representation(query)
    else:
        fitted.get_latent_representation(query)


def test_a_covariate_that_was_constant_in_training_moves_nothing(counts):
    counts.obs["dose"] = 3.0
    ov.CVAE.setup_anndata(counts, continuous_covariate_keys=["dose"])
    model = ov.CVAE(counts, "nb", 3, n_hidden=16)
    model.train(**FAST)
    query = counts.copy()
    query.obs["dose"] = 5e6
    with pytest.warns(UserWarning, match="no effect"):
        latent = model.get_latent_representation(query)
    np.testing.assert_array_equal(latent, model.get_latent_representation())
