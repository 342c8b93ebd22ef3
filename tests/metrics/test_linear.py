import numpy as np
import pytest
import scipy.sparse as sp

from omicvae.metrics.linear import pca_scores, residuals


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_residuals_hold_nothing_of_the_design(rng):
    design_NC, features_NG = rng.normal(size=(50, 3)), rng.normal(3, 2, size=(50, 7))
    left_NG = residuals(features_NG, design_NC)
    np.testing.assert_allclose(design_NC.T @ left_NG, 0, atol=1e-9)
    np.testing.assert_allclose(left_NG.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(residuals(design_NC @ rng.normal(size=(3, 7)) + 5, design_NC), 0, atol=1e-9)


def test_scores_are_the_leading_singular_vectors(rng):
    x_NG = rng.normal(2, 1, size=(60, 8)) * np.arange(1, 9)
    x_NG[:, 3] = 1.0  # a constant gene is no direction
    standardised_NG = x_NG - x_NG.mean(0)
    standardised_NG /= np.where(standardised_NG.std(0) > 0, standardised_NG.std(0), 1)
    left_NR, singular_R, _ = np.linalg.svd(standardised_NG, full_matrices=False)
    scores_NK = pca_scores(x_NG, 3, seed=0)
    np.testing.assert_allclose(abs(scores_NK), abs(left_NR * singular_R)[:, :3], rtol=1e-3, atol=1e-3)
    # a sparse matrix is centred and not scaled
    left_NR, singular_R, _ = np.linalg.svd(x_NG - x_NG.mean(0), full_matrices=False)
    scores_NK = pca_scores(sp.csr_matrix(x_NG), 3, seed=0)
    np.testing.assert_allclose(abs(scores_NK), abs(left_NR * singular_R)[:, :3], rtol=1e-3, atol=1e-3)


def test_few_cells_and_genes_give_few_components_and_equal_cells_zeros(rng):
    assert pca_scores(rng.normal(size=(4, 30)), 10, seed=0).shape == (4, 3)
    np.testing.assert_array_equal(pca_scores(rng.normal(size=(1, 30)), 10, seed=0), [[0.0]])
    alike_NG = np.tile(rng.normal(size=30), (5, 1))
    for x_NG in (alike_NG, np.zeros((5, 30)), sp.csr_matrix(alike_NG), sp.csr_matrix((5, 30))):
        np.testing.assert_array_equal(pca_scores(x_NG, 3, seed=0), np.zeros((5, 3)))
    one_N1 = rng.poisson(3, size=(20, 1)).astype(np.float32)
    for x_N1 in (one_N1, sp.csr_matrix(one_N1)):  # a single gene is its own direction
        scores_NK = pca_scores(x_N1, 10, seed=0)
        assert scores_NK.shape == (20, 1)
        assert abs(np.corrcoef(scores_NK[:, 0], one_N1[:, 0])[0, 1]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e30])
def test_no_scale_is_too_small_or_large_to_be_standardised(rng, scale):
    x_NG = rng.normal(size=(60, 8)).astype(np.float32)
    np.testing.assert_allclose(
        pca_scores(x_NG * np.float32(scale), 3, seed=0), pca_scores(x_NG, 3, seed=0), rtol=1e-3, atol=1e-3
    )
