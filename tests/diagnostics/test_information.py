"""Prior mismatch, mutual information and stability against closed forms; structure against known data."""

import numpy as np
import pytest
from scipy.special import ndtr

from omicvae._core.errors import DataError
from omicvae.diagnostics.information import information, neighbour_overlap, pointwise_information
from omicvae.diagnostics.prior_mismatch import prior_mismatch
from omicvae.diagnostics.structure import Structure, leading_eigenvalues, leading_shares, structure


def linear_gaussian(n_cells: int, slopes_K: np.ndarray, seed: int = 0):
    """Exact posteriors of x_k = a_k z_k + noise of variance 1: SD² = 1 / (1 + a²), rate = I = ½ log(1 + a²)."""
    rng = np.random.default_rng(seed)
    z_NK = rng.standard_normal((n_cells, len(slopes_K)))
    x_NK = slopes_K * z_NK + rng.standard_normal(z_NK.shape)
    variance_K = 1 / (1 + slopes_K**2)
    return x_NK * slopes_K * variance_K, np.broadcast_to(np.sqrt(variance_K), z_NK.shape)


def test_the_exact_posterior_of_a_linear_gaussian_model_has_no_mismatch_and_known_information():
    slopes_K = np.array([0.0, 0.5, 1.0, 2.0])
    mean_NK, sd_NK = linear_gaussian(4000, slopes_K)
    mismatch = prior_mismatch(mean_NK, sd_NK)
    assert mismatch.excess_kl < 0.01
    np.testing.assert_allclose(mismatch.mixture_K, 0, atol=0.02)
    found = information(mean_NK, sd_NK)
    exact = 0.5 * np.log1p(slopes_K**2).sum()
    # with M cells the mixture contains the cell itself: a bias of about exp(I)/M
    assert abs(found.mutual_information.mean - exact) < 3 * found.mutual_information.se + np.exp(exact) / 1000
    assert found.limit == pytest.approx(np.log(1000))


def test_gaussian_mismatch_is_the_closed_form_and_the_mixture_agrees_with_it():
    rng = np.random.default_rng(1)
    mean, sd, within = 1.5, 3.0, 0.8
    mean_NK = mean + sd * rng.standard_normal((20000, 2))
    sd_NK = np.full_like(mean_NK, within)
    variance = sd**2 + within**2
    exact = 0.5 * (variance + mean**2 - 1 - np.log(variance))
    mismatch = prior_mismatch(mean_NK, sd_NK)
    np.testing.assert_allclose(mismatch.gaussian_K, exact, rtol=0.05)
    np.testing.assert_allclose(mismatch.mixture_K, exact, rtol=0.1)


def test_shift_and_scale_remove_the_gaussian_mismatch_from_the_rate():
    rng = np.random.default_rng(2)
    mean_NK, sd_NK = 4 + 7 * rng.standard_normal((500, 3)), rng.uniform(0.1, 2, (500, 3))

    def rate(mean_NK, sd_NK):
        return 0.5 * (mean_NK**2 + sd_NK**2 - 1 - 2 * np.log(sd_NK)).sum(axis=1).mean()

    scale_K = np.sqrt(mean_NK.var(0) + (sd_NK**2).mean(0))
    better = rate((mean_NK - mean_NK.mean(0)) / scale_K, sd_NK / scale_K)
    assert rate(mean_NK, sd_NK) - better == pytest.approx(prior_mismatch(mean_NK, sd_NK).excess_kl)


def test_mixture_mismatch_of_two_separate_cells_is_known():
    # two cells far apart: −½ log(2πe s²) each, + log 2 apart, against ½ (m² + s²) + ½ log 2π
    mean_NK, sd_NK = np.array([[-3.0], [3.0]]), np.full((2, 1), 0.1)
    exact = 0.5 * (9 + 0.01) - 0.5 - np.log(0.1) - np.log(2)
    assert prior_mismatch(mean_NK, sd_NK).mixture_K[0] == pytest.approx(exact, abs=0.1)


def test_unused_dimensions_are_wasted_on_nobody():
    mismatch = prior_mismatch(np.full((50, 2), 1e-6), np.ones((50, 2)))
    assert 0 <= mismatch.excess_kl < 1e-11


def test_information_of_separate_cells_is_log_n_and_of_the_prior_is_nothing():
    rng = np.random.default_rng(3)
    apart = information(100.0 * np.arange(64)[:, None] + np.zeros((64, 3)), np.full((64, 3), 0.1))
    assert apart.mutual_information.mean == pytest.approx(apart.limit)
    silent = information(1e-3 * rng.standard_normal((800, 5)), np.ones((800, 5)))
    assert abs(silent.mutual_information.mean) < 0.01
    assert silent.overlap.mean == pytest.approx(silent.overlap_by_chance, abs=3 * silent.overlap.se)
    assert information(np.zeros((1, 2)), np.ones((1, 2))) is None


def test_pointwise_information_is_the_written_out_sum():
    rng = np.random.default_rng(4)
    mean_MK, sd_MK = rng.normal(size=(6, 3)), rng.uniform(0.5, 2, (6, 3))
    draw_MK = mean_MK + sd_MK * rng.normal(size=(6, 3))

    def density(z_K, m):
        return np.prod(np.exp(-0.5 * ((z_K - mean_MK[m]) / sd_MK[m]) ** 2) / sd_MK[m])

    written = [np.log(density(z_K, m) / np.mean([density(z_K, i) for i in range(6)])) for m, z_K in enumerate(draw_MK)]
    np.testing.assert_allclose(pointwise_information(draw_MK, mean_MK, sd_MK), written)


def test_neighbours_overlap_wholly_with_themselves_and_by_chance_with_strangers():
    rng = np.random.default_rng(5)
    first_MK, second_MK = rng.normal(size=(2, 300, 4))
    assert (neighbour_overlap(first_MK, first_MK, 10) == 1).all()
    assert neighbour_overlap(first_MK, second_MK, 10).mean() == pytest.approx(10 / 299, abs=0.01)
    stretched = neighbour_overlap(first_MK, 5 * first_MK + 2, 10)
    assert (stretched == 1).all()


def planted(rng, n_cells=400, n_genes=100, strength=1.0):
    direction_G = rng.normal(size=n_genes) / np.sqrt(n_genes)
    return rng.normal(size=(n_cells, n_genes)) + strength * rng.normal(size=(n_cells, 1)) * direction_G


@pytest.mark.parametrize(("strength", "found"), [(0.0, False), (3.0, True)])
def test_structure_is_found_where_it_was_planted(strength, found):
    rng = np.random.default_rng(6)
    simulations = [planted(rng, strength=0.0) for _ in range(5)]
    check = structure(planted(rng, strength=strength), simulations, np.empty((400, 0)))
    assert check.found is found
    if found:
        # a matrix of independent normals of this shape has its edge at (1 + sqrt(G/N))² (Marchenko and Pastur)
        assert check.n_directions == 1
        assert check.by_chance == pytest.approx((1 + np.sqrt(100 / 400)) ** 2 / 100, rel=0.05)


def test_structure_that_the_covariates_explain_does_not_count():
    rng = np.random.default_rng(7)
    batch_N = rng.integers(2, size=400)
    values_NG = rng.normal(size=(400, 100)) + 3 * batch_N[:, None] * rng.normal(size=100)
    simulations = [planted(rng, strength=0.0) for _ in range(5)]
    assert structure(values_NG, simulations, np.empty((400, 0))).found
    assert not structure(values_NG, simulations, np.eye(2)[batch_N]).found


def test_gene_scales_units_and_a_few_wild_cells_are_no_structure():
    rng = np.random.default_rng(8)
    simulations = [planted(rng, strength=0.0) for _ in range(5)]
    values_NG = planted(rng, strength=0.0)
    plain = structure(values_NG, simulations, np.empty((400, 0)))
    scaled = structure(values_NG * 10 ** rng.uniform(-3, 3, 100), simulations, np.empty((400, 0)))
    assert scaled.share == pytest.approx(plain.share, rel=1e-3)
    heavy = np.sign(values_NG) * np.abs(values_NG) ** 3  # outliers in every gene, one by one
    assert not structure(heavy, simulations, np.empty((400, 0))).found
    noisy_batch = values_NG * np.where(rng.random(400) < 0.2, 4.0, 1.0)[:, None]
    assert not structure(noisy_batch, simulations, np.empty((400, 0))).found


def test_leading_eigenvalues_and_shares_against_numpy():
    rng = np.random.default_rng(9)
    values_NG = rng.normal(size=(80, 60)).astype(np.float32)
    exact = np.linalg.svd(values_NG, compute_uv=False) ** 2
    np.testing.assert_allclose(leading_eigenvalues(values_NG, 10), exact[:10], rtol=1e-4)
    np.testing.assert_allclose(leading_eigenvalues(values_NG, 30), exact[:30], rtol=1e-4)
    basis_NR = np.full((80, 1), 80**-0.5)
    ranks_NG = ndtr(values_NG)
    standard_NG = (ranks_NG - ranks_NG.mean(0)) / ranks_NG.std(0)
    standard_NG /= np.sqrt((standard_NG**2).mean(1, keepdims=True))  # cells alike too
    expected = np.linalg.eigvalsh(standard_NG.T @ standard_NG)[::-1] / (80 * 60)
    shares = [expected[0], expected[:3].sum(), expected[:10].sum()]
    np.testing.assert_allclose(leading_shares(ranks_NG, basis_NR), shares, rtol=1e-4)
    constant = values_NG.copy()
    constant[:, :10] = 3.0
    np.testing.assert_allclose(
        leading_shares(constant, basis_NR), leading_shares(values_NG[:, 10:], basis_NR), rtol=1e-4
    )
    for scale in (1e30, 1e-30):
        np.testing.assert_allclose(
            leading_shares(values_NG * scale, basis_NR), leading_shares(values_NG, basis_NR), rtol=1e-4
        )
    assert leading_shares(np.full((80, 60), 3.0), basis_NR[:80]) == [0, 0, 0]
    assert leading_shares(values_NG[:, :1], basis_NR) == pytest.approx([1, 1, 1])


def test_ten_weak_directions_are_found():
    rng = np.random.default_rng(10)

    def cells(strength):
        loadings_KG = np.linalg.qr(rng.normal(size=(400, 10)))[0].T
        return rng.normal(size=(300, 400)) + strength * rng.normal(size=(300, 10)) @ loadings_KG

    assert structure(cells(1.7), [cells(0.0) for _ in range(5)], np.empty((300, 0))).found


def test_too_few_simulations_are_refused():
    with pytest.raises(DataError, match="at least 3 simulations, got 2"):
        structure(np.ones((4, 3)), [np.ones((4, 3))] * 2, np.empty((4, 0)))


@pytest.mark.parametrize(("n_cells", "k"), [(10, 9), (40, 15)])
def test_neighbours_are_fifteen_or_all_others(n_cells, k):
    found = information(np.random.default_rng(11).normal(size=(n_cells, 2)), np.ones((n_cells, 2)))
    assert found.overlap_by_chance == k / (n_cells - 1)
    assert found.overlap.n == n_cells


def test_the_limit_of_structure_by_hand():
    # Student's t with four degrees of freedom exceeds 7.173 once in a thousand
    wide = Structure(1, 0.05, 0.01, 0.001, 5, 700, 500)
    assert wide.limit == pytest.approx(0.01 + 7.173 * 0.001 * np.sqrt(1.2), rel=1e-3)
    assert "in the leading direction across" in wide.to_frame()["meaning"][0]
    narrow = Structure(3, 0.0121, 0.01, 1e-6, 5, 700, 500)
    assert narrow.limit == pytest.approx(0.012)
    assert (narrow.found, "in the 3 leading directions across" in narrow.to_frame()["meaning"][0]) == (True, True)
    assert not Structure(3, 0.0119, 0.01, 1e-6, 5, 700, 500).found
