import numpy as np
import pytest

from omicvae._core import SettingError
from omicvae.datasets import simulate_bulk, simulate_counts


def fitted_means(adata, column):
    """Mean expression of each level, shape (levels, genes)."""
    levels = adata.obs[column].cat.categories
    return np.stack([adata.X[(adata.obs[column] == level).to_numpy()].mean(0) for level in levels])


@pytest.fixture(scope="module")
def cohort():
    return simulate_bulk(3000, 150, n_tissues=3, n_batches=3, seed=1)


def test_bulk_shape_types_and_seed(cohort):
    assert cohort.X.shape == (3000, 150)
    assert cohort.X.dtype == np.float32
    assert list(cohort.obs.columns) == ["tissue", "disease", "batch", "age"]
    again = simulate_bulk(3000, 150, n_tissues=3, n_batches=3, seed=1)
    np.testing.assert_array_equal(again.X, cohort.X)
    other = simulate_bulk(3000, 150, n_tissues=3, n_batches=3, seed=2)
    assert not np.array_equal(other.X, cohort.X)


def test_bulk_disease_effect_is_in_the_data(cohort):
    for tissue in cohort.obs["tissue"].cat.categories:
        inside = (cohort.obs["tissue"] == tissue).to_numpy()
        case = (cohort.obs["disease"] == "case").to_numpy()
        difference_G = cohort.X[inside & case].mean(0) - cohort.X[inside & ~case].mean(0)
        np.testing.assert_allclose(difference_G, cohort.varm["disease_effect"][tissue], atol=0.3)


def test_bulk_disease_genes_are_few_and_partly_tissue_specific():
    cohort = simulate_bulk(10, 2000, seed=0)
    effects_GT = cohort.varm["disease_effect"].to_numpy()
    active_GT = effects_GT[cohort.var["disease_gene"]] != 0
    assert cohort.var["disease_gene"].mean() == pytest.approx(0.1, abs=0.03)
    assert (~active_GT.all(1)).mean() == pytest.approx(0.3, abs=0.1)
    assert (effects_GT[~cohort.var["disease_gene"]] == 0).all()


def test_bulk_batch_and_tissue_effects_are_in_the_data(cohort):
    for column, atol in (("batch", 0.25), ("tissue", 0.25)):
        means = fitted_means(cohort, column)
        truth = cohort.varm[f"{column}_effect"].to_numpy().T
        measured = means - means[0]
        expected = truth - truth[0]
        if column == "tissue":  # half the samples of each tissue are cases
            disease = cohort.varm["disease_effect"].to_numpy().T / 2
            expected = expected + disease - disease[0]
        np.testing.assert_allclose(measured, expected, atol=atol)


def test_bulk_residual_variance_is_the_noise(cohort):
    design = np.column_stack(
        [
            np.eye(3)[cohort.obs["batch"].cat.codes],
            np.eye(6)[cohort.obs["tissue"].cat.codes * 2 + cohort.obs["disease"].cat.codes],
            cohort.obs["age"],
            cohort.obsm["programs"],
        ]
    )
    fitted = design @ np.linalg.lstsq(design, cohort.X, rcond=None)[0]
    np.testing.assert_allclose((cohort.X - fitted).std(0), cohort.var["noise_sd"], rtol=0.1)


def test_bulk_survives_an_h5ad_round_trip(cohort, tmp_path):
    import anndata

    cohort.write_h5ad(tmp_path / "cohort.h5ad")
    back = anndata.read_h5ad(tmp_path / "cohort.h5ad")
    np.testing.assert_array_equal(back.varm["disease_effect"], cohort.varm["disease_effect"])


def test_counts_have_the_moments_of_the_negative_binomial():
    adata = simulate_counts(20_000, 4, n_types=1, n_batches=1, library=400, dispersion=3.0, seed=0)
    share_G = np.exp(adata.var["mean"] + adata.varm["type_effect"]["type_0"] + adata.varm["batch_effect"]["batch_0"])
    share_G /= share_G.sum()
    # E[ℓ] and E[ℓ²] of the log-normal library
    first, second = 400 * np.exp(0.3**2 / 2), 400**2 * np.exp(2 * 0.3**2)
    mean_G = first * share_G
    variance_G = mean_G + second * share_G**2 * (1 + 1 / 3.0) - mean_G**2
    x_NG = adata.X.toarray().astype(float)
    np.testing.assert_allclose(x_NG.mean(0), mean_G, rtol=0.03)
    np.testing.assert_allclose(x_NG.var(0), variance_G, rtol=0.1)


def test_counts_signal_zero_leaves_no_type_difference():
    noise = simulate_counts(2000, 30, signal=0.0, n_batches=1, seed=3)
    strong = simulate_counts(2000, 30, signal=1.0, n_batches=1, seed=3)
    assert (noise.varm["type_effect"].to_numpy() == 0).all()

    def spread(adata):
        share = adata.X.toarray() / adata.X.sum(1)
        return np.std(
            [share[(adata.obs["cell_type"] == t).to_numpy()].mean(0) for t in adata.obs["cell_type"].cat.categories],
            0,
        ).mean()

    assert spread(strong) > 10 * spread(noise)


def test_counts_container_and_seed():
    first, second = simulate_counts(seed=4), simulate_counts(seed=4)
    assert first.X.format == "csr"
    assert first.X.dtype == np.float32
    assert (first.X != second.X).nnz == 0
    assert (first.X != simulate_counts(seed=5).X).nnz > 0


def test_integral_floats_are_accepted_because_r_sends_doubles():
    assert simulate_counts(20.0, 10.0, n_types=2.0, seed=1.0).shape == (20, 10)
    assert simulate_bulk(20.0, 10.0, n_tissues=2.0, seed=1.0).shape == (20, 10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"signal": -1.0}, "signal must be at least 0, got -1.0"),
        ({"dispersion": 0.0}, "dispersion must be above 0, got 0.0"),
        ({"n_types": 0}, "n_types must be at least 1, got 0"),
        ({"n_cells": 2.5}, "n_cells must be a whole number, got 2.5"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        simulate_counts(**settings)


def test_bulk_noise_must_be_positive():
    with pytest.raises(SettingError, match="noise_sd must be above 0, got 0"):
        simulate_bulk(10, 10, noise_sd=0)
