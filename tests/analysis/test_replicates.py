import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from omicvae._core import DataError
from omicvae.analysis import UnitSums, common_shift, compare_replicates, moderated_t, relabelled

G = 400


def sums_of(support, group_U, effect_G, rng, *, cells=80, between=0.2, sizes=None):
    """Sums over the cells of units whose means differ by ``between`` SD and, in the group, by the effect."""
    n, n_genes = len(group_U), len(effect_G)
    level_UG = rng.normal(0.5, 1.0, n_genes) + group_U[:, None] * effect_G + rng.normal(0, between, (n, n_genes))
    cells_U = np.full(n, float(cells))
    size_U1 = np.ones((n, 1)) if sizes is None else sizes[:, None]
    draw = {
        "counts": lambda: rng.poisson(size_U1 * np.exp(level_UG), (cells, n, n_genes)),
        "real": lambda: rng.normal(level_UG, 1.0, (cells, n, n_genes)),
        "binary": lambda: rng.random((cells, n, n_genes)) < 1 / (1 + np.exp(-level_UG)),
    }
    x = draw[support]().astype(np.float64)
    exposure_U = cells_U * size_U1[:, 0]
    return UnitSums(support, x.sum(0), (x**2).sum(0), cells_U, exposure_U)


def compared(units, group_U, replicate_U=None, expected_UG=None, **settings):
    replicate_U = np.arange(len(group_U)) if replicate_U is None else replicate_U
    expected_UG = np.zeros(units.sums_UG.shape) if expected_UG is None else expected_UG
    arguments = {"equal_states": False, "shifted": False, "fdr": 0.05, "n_permutations": 0, **settings}
    return compare_replicates(units, group_U, replicate_U, expected_UG, rng=np.random.default_rng(0), **arguments)


FOUR = np.arange(8) >= 4
TWO_GROUPS = np.stack([np.ones(8), FOUR], axis=1).astype(float)


def test_with_many_alike_variances_it_is_the_z_of_a_pooled_variance():
    rng = np.random.default_rng(0)
    y = rng.normal(0, 1, (8, 5000))
    result = moderated_t(y, np.full(y.shape, 1e-9), TWO_GROUPS, y.mean(0))
    np.testing.assert_allclose(result.effect_G, y[FOUR].mean(0) - y[~FOUR].mean(0), atol=1e-9)
    np.testing.assert_allclose(np.median(result.error_G), np.sqrt(1 / 4 + 1 / 4), rtol=0.05)
    assert result.df > 100  # far more than the six of one gene


def test_where_genes_vary_by_themselves_it_keeps_close_to_their_own_variance():
    rng = np.random.default_rng(1)
    sd_G = np.exp(rng.normal(0, 2, 3000))
    y = rng.normal(0, sd_G, (8, 3000))
    result = moderated_t(y, np.full(y.shape, 1e-9), TWO_GROUPS, y.mean(0))
    plain = stats.ttest_ind(y[FOUR], y[~FOUR])
    assert 6 < result.df < 8
    assert np.corrcoef(np.log(result.p_G), np.log(plain.pvalue))[0, 1] > 0.9


def test_noisy_units_count_less():
    rng = np.random.default_rng(2)
    variance = np.where(np.arange(8)[:, None] % 4 == 0, 4.0, 0.1) * np.ones((8, 2000))
    y = rng.normal(0, np.sqrt(variance + 0.1))
    weighted, plain = (moderated_t(y, v, TWO_GROUPS, y.mean(0)) for v in (variance, np.full_like(variance, 1e-9)))
    assert weighted.effect_G.std() < 0.6 * plain.effect_G.std()
    assert 0.03 < (weighted.p_G < 0.05).mean() < 0.07


@pytest.mark.parametrize("support", ["counts", "real", "binary"])
@pytest.mark.parametrize("paired", [False, True])
def test_p_values_are_uniform_and_intervals_cover(support, paired):
    rng = np.random.default_rng(3)
    p, inside = [], []
    for _ in range(12):
        effect_G = np.where(np.arange(G) < G // 4, 0.8, 0.0)
        replicate_U = np.arange(8) % 4 if paired else None
        units = sums_of(support, FOUR, effect_G, rng)
        test = compared(units, FOUR, replicate_U)
        assert test.paired == paired
        p.append(test.p_G[effect_G == 0])
        inside.append((test.lower_G <= effect_G) & (effect_G <= test.upper_G))
    p, inside = np.concatenate(p), np.concatenate(inside)
    assert 0.04 < (p < 0.05).mean() < 0.06
    assert (p < 0.001).mean() < 0.003
    assert 0.93 < inside.mean() < 0.97


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("n", [3, 6])
def test_p_values_are_uniform_where_genes_vary_each_by_itself(paired, n):
    """A trend of variances over anything but the level of a gene, such as its effect, makes pairs conservative."""
    rng, group_U, p = np.random.default_rng(20), np.arange(2 * n) >= n, []
    for _ in range(12):
        between_G = 0.2 * np.exp(rng.normal(0, 0.5, G))
        units = sums_of("real", group_U, np.zeros(G), rng, between=between_G)
        p.append(compared(units, group_U, np.arange(2 * n) % n if paired else None).p_G)
    assert 0.04 < (np.concatenate(p) < 0.05).mean() < 0.06


def test_the_trend_of_variances_is_over_levels_at_equal_states_too():
    """Genes of high level vary more; what states make expect takes all levels away."""
    rng, p = np.random.default_rng(21), []
    loud_G = np.repeat([False, True], G // 2)
    for _ in range(10):
        units = sums_of("real", FOUR, np.zeros(G), rng, between=np.where(loud_G, 0.6, 0.05))
        units.sums_UG[:] += 5.0 * loud_G * units.cells_U[:, None]
        units.squares_UG[:] = units.sums_UG**2 / units.cells_U[:, None] + units.cells_U[:, None]
        expected_UG = np.tile(units.scaled().mean(0), (8, 1))
        p.append(compared(units, FOUR, expected_UG=expected_UG, equal_states=True).p_G)
    quiet = np.stack(p)[:, ~loud_G]
    assert 0.035 < (quiet < 0.05).mean() < 0.065


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_many_genes_that_rise_together_do_not_make_the_others_fall(share):
    rng, false, found, shifts = np.random.default_rng(22), [], [], []
    for _ in range(6):
        effect_G = np.where(np.arange(G) < share * G, 0.9, 0.0)
        units = sums_of("counts", FOUR, effect_G, rng)
        units = replace(units, exposure_U=units.sums_UG.sum(1))  # libraries are what was counted
        test = compared(units, FOUR, shifted=True)
        hits = test.q_G <= 0.05
        false.append(hits[effect_G == 0].sum() / max(1, hits.sum()))
        found.append(hits[effect_G > 0].mean())
        shifts.append(test.effect_G[effect_G == 0].mean())
    assert np.mean(false) < 0.06
    assert np.mean(found) > 0.85
    assert abs(np.mean(shifts)) < 0.05


@pytest.mark.parametrize("support", ["counts", "real", "binary"])
def test_effects_are_found_and_permuted_labels_find_few(support):
    effect_G = np.where(np.arange(G) < 40, 1.5, 0.0)
    test = compared(sums_of(support, FOUR, effect_G, np.random.default_rng(4)), FOUR, n_permutations=100)
    hits = test.q_G <= 0.05
    assert hits[:40].mean() > 0.9
    assert hits[40:].sum() <= 5
    assert len(test.null_hits_R) == 34  # 70 assignments, mirror images alike, less the true one
    assert np.median(test.null_hits_R) <= 2


def test_cells_are_not_the_unit():
    """Donors that differ, no effect: cell by cell most genes are hits, between donors none."""
    rng = np.random.default_rng(5)
    level = rng.normal(0, 0.5, (8, 1, G))
    x = level + rng.normal(0, 1, (8, 100, G))
    cellwise = stats.ttest_ind(x[4:].reshape(-1, G), x[:4].reshape(-1, G)).pvalue
    cells = np.full(8, 100.0)
    test = compared(UnitSums("real", x.sum(1), (x**2).sum(1), cells, cells), FOUR)
    assert (stats.false_discovery_control(cellwise) <= 0.05).mean() > 0.5
    assert test.hits(0.05) == 0


def test_what_states_make_expect_is_noise_taken_away_or_left():
    rng = np.random.default_rng(6)
    effect_G = np.where(np.arange(G) < 40, 0.5, 0.0)
    units = sums_of("real", FOUR, effect_G, rng, between=0.1)
    mixed_UG = rng.normal(0, 1, (8, 1)) * rng.normal(0, 1, G)  # how far a replicate is along one programme
    cells = units.cells_U[:, None]
    squares = units.squares_UG + 2 * mixed_UG * units.sums_UG + cells * mixed_UG**2
    units = UnitSums("real", units.sums_UG + cells * mixed_UG, squares, units.cells_U, units.exposure_U)
    found, equal = (compared(units, FOUR, expected_UG=mixed_UG, equal_states=e) for e in (False, True))
    assert equal.hits(0.05) > 30 > 5 > found.hits(0.05)
    np.testing.assert_allclose(equal.through_states_G, found.through_states_G)
    np.testing.assert_allclose(found.effect_G, equal.effect_G + equal.through_states_G)
    acting_UG = mixed_UG + FOUR[:, None] * 9.0 * rng.normal(0, 1, G)
    assert compared(units, FOUR, expected_UG=acting_UG, n_permutations=100).states_beyond == 34


def test_a_factor_common_to_most_genes_is_taken_out():
    rng = np.random.default_rng(7)
    rate_UG = rng.normal(4, 1, (8, G))
    factor_U = rng.normal(0, 1, 8)
    shift_U = common_shift(rate_UG + factor_U[:, None], np.full((8, G), 50.0))
    np.testing.assert_allclose(shift_U, factor_U - factor_U.mean(), atol=0.2)
    assert (common_shift(rate_UG, np.full((8, G), 0.1)) == 0).all()


def test_pairs_take_away_what_replicates_share():
    rng = np.random.default_rng(8)
    effect_G = np.where(np.arange(G) < 40, 0.6, 0.0)
    donor_UG = np.tile(rng.normal(0, 2, (5, G)), (2, 1))
    x = donor_UG + (np.arange(10) >= 5)[:, None] * effect_G + rng.normal(0, 1, (100, 10, G))
    cells = np.full(10, 100.0)
    units = UnitSums("real", x.sum(0), (x**2).sum(0), cells, cells)
    group_U = np.arange(10) >= 5
    assert compared(units, group_U, np.arange(10) % 5).hits(0.05) > 35
    assert compared(units, group_U).hits(0.05) == 0


def test_replicates_of_one_group_are_left_out_of_pairs_and_counted():
    rng = np.random.default_rng(9)
    units = sums_of("real", np.arange(7) >= 4, np.zeros(50), rng)
    test = compared(units, np.arange(7) >= 4, np.array([0, 1, 2, 3, 0, 1, 2]), n_permutations=50)
    assert (test.n_replicates, test.left_out, len(test.null_hits_R)) == ((3, 3), 1, 3)


@pytest.mark.parametrize("replicates", [[0, 1, 2], [0, 0, 1], [0, 1, 0]])
def test_too_few_replicates_are_an_error(replicates):
    units = sums_of("real", np.array([0, 0, 1]) > 0, np.zeros(50), np.random.default_rng(10))
    with pytest.raises(DataError, match="at least two in each group"):
        compared(units, np.array([False, False, True]), np.array(replicates))


def test_genes_without_counts_or_variance_are_not_tested():
    units = sums_of("counts", FOUR, np.zeros(50), np.random.default_rng(11))
    units.sums_UG[:, 7] = 0
    test = compared(units, FOUR)
    assert np.flatnonzero(np.isnan(test.p_G)).tolist() == [7]
    assert np.isnan(test.effect_G[7])
    units.sums_UG[:] = 0
    with pytest.raises(DataError, match="No gene has enough"):
        compared(units, FOUR)


@pytest.mark.parametrize(("n", "first"), [(8, 4), (7, 3), (5, 2)])
def test_all_other_assignments_once(n, first):
    column = (np.arange(n) < first).astype(float)
    others = relabelled(column, 10**6, np.random.default_rng(0))
    sets = {frozenset(np.flatnonzero(other)) for other in others}
    every = {frozenset(chosen) for chosen in itertools.combinations(range(n), first)}
    mirror = {frozenset(range(n)) - chosen for chosen in sets} if 2 * first == n else set()
    assert len(sets) == len(others)
    assert not sets & mirror
    assert (
        sets | mirror | {frozenset(range(first))} | ({frozenset(range(first, n))} if 2 * first == n else set()) == every
    )


def test_many_replicates_are_drawn_without_repeats():
    for column in ((np.arange(40) < 20).astype(float), np.ones(30)):
        others = relabelled(column, 50, np.random.default_rng(0))
        assert len({other.tobytes() for other in others}) == len(others) == 50
        assert all(abs(other).sum() == column.sum() for other in others)
    assert len(relabelled(np.ones(4), 100, np.random.default_rng(0))) == 7
    assert len(relabelled(np.ones(16), 40_000, np.random.default_rng(0))) == 2**15 - 1  # more are asked than there are


def test_few_genes_work():
    units = sums_of("counts", FOUR, np.array([2.0, 0.0]), np.random.default_rng(12))
    test = compared(units, FOUR)
    assert test.p_G[0] < 0.001 < test.p_G[1]
