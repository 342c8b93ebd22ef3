"""When a prediction counts as nearer than a baseline, and what the words say."""

import numpy as np
import pytest
import scipy.sparse as sp

from omicvae.analysis import CounterfactualJudgement, ObservedGroups, PredictedGroup, nearer

G = 40
RNG = np.random.default_rng(0)
SHIFT = np.linspace(-1, 1, G)
BASE = {name: RNG.normal(3, 1, G) for name in "abcd"}


def cells(mean_G, n=60, seed=0):
    return mean_G + np.random.default_rng(seed).normal(0, 0.5, (n, G))


def observed(own=1.5, n=60):
    """Three groups whose change is SHIFT, and d, whose change is ``own`` times as large."""
    factor = {"a": 1.0, "b": 1.0, "c": 1.0, "d": own}
    start = {name: cells(BASE[name], n, seed=i) for i, name in enumerate("abcd")}
    end = {name: cells(BASE[name] + factor[name] * SHIFT, n, seed=10 + i) for i, name in enumerate("abcd")}
    return ObservedGroups(start, end)


def predicted(of, change_G, name="d"):
    ones = np.full(G, 0.25)
    return {name: PredictedGroup(of.own[name].shape[0], of.own[name].mean(0), change_G, ones, ones)}


def judgement(of, groups, trained=frozenset(), leak=np.nan):
    return CounterfactualJudgement("condition='stim'", "log1p", groups, of, trained, leak)


def test_the_gain_is_the_difference_of_mean_squares_and_its_error_that_of_the_cells():
    target = cells(BASE["a"])
    mean_G, baseline_G = BASE["a"] + 0.1, BASE["a"] - 0.3
    gain, se = nearer(mean_G, baseline_G, target)
    truth = target.mean(0)
    assert gain == pytest.approx(((baseline_G - truth) ** 2).mean() - ((mean_G - truth) ** 2).mean())
    assert nearer(baseline_G, mean_G, sp.csr_matrix(target))[0] == pytest.approx(-gain)
    rng = np.random.default_rng(1)
    again = [nearer(mean_G, baseline_G, target[rng.integers(0, 60, 60)])[0] for _ in range(400)]
    assert se == pytest.approx(np.std(again), rel=0.15)


def test_a_groups_own_target_cells_have_no_part_in_its_mean_shift():
    of = observed()
    moved = ObservedGroups(of.own, {**of.target, "d": of.target["d"] + 100})
    np.testing.assert_array_equal(of.mean_shift("d"), moved.mean_shift("d"))
    assert not np.allclose(of.mean_shift("a"), moved.mean_shift("a"))
    np.testing.assert_allclose(of.mean_shift("d"), SHIFT, atol=0.3)
    assert ObservedGroups({"a": of.own["a"]}, {"a": of.target["a"]}).mean_shift("a") is None


def test_groups_of_few_cells_count_only_where_there_are_no_others():
    of = observed()
    few = ObservedGroups({**of.own, "b": of.own["b"][:3]}, {**of.target, "b": of.target["b"] + 100})
    np.testing.assert_allclose(few.mean_shift("d"), SHIFT, atol=0.3)
    all_few = ObservedGroups({k: v[:3] for k, v in of.own.items()}, {k: v[:3] for k, v in of.target.items()})
    assert all_few.mean_shift("d") is not None


def test_the_truth_beats_the_shift_the_shift_ties_with_itself_and_the_opposite_loses():
    of = observed()
    for change_G, verdict in ((1.5 * SHIFT, "beats"), (of.mean_shift("d"), "ties with"), (-SHIFT, "loses to")):
        row = judgement(of, predicted(of, change_G)).to_frame().loc["d"]
        assert row["against_mean_shift"] == verdict
    assert judgement(of, predicted(of, 1.5 * SHIFT)).to_frame().loc["d", "r2_model"] > 0.98
    assert judgement(of, predicted(of, np.zeros(G))).to_frame().loc["d", "against_no_change"] == "ties with"


def test_the_text_says_what_cannot_be_judged_and_what_was_fitted():
    of = observed()
    unseen = ObservedGroups(of.own, {k: v for k, v in of.target.items() if k != "d"})
    groups = {**predicted(of, SHIFT, "a"), **predicted(of, SHIFT)}
    text = str(judgement(unseen, groups, frozenset("abc"), leak=0.9))
    assert "to judge the prediction with: d" in text
    assert "trained on the target cells of a," in text
    assert "fit, not prediction" in text
    assert "accuracy 0.90 (chance 0.50): some of the state stays" in text
    fresh = str(judgement(of, predicted(of, 1.5 * SHIFT), frozenset(), leak=0.5))
    assert "beats it in 1 of 1 (d)" in fresh
    assert "fit, not prediction" not in fresh
    assert "some of the state stays" not in fresh
    assert "is not known" in str(judgement(of, groups, None))
    lonely = ObservedGroups({"d": of.own["d"]}, {"d": of.target["d"]})
    assert "no mean shift for d" in str(judgement(lonely, predicted(of, SHIFT)))


def test_a_loss_to_the_mean_shift_is_said():
    of = observed()
    assert "loses to it in 1 of 1 (d)" in str(judgement(of, predicted(of, -SHIFT)))


def test_p_values_are_uniform_for_changes_that_are_noise_and_missing_without_target_cells():
    rng, n = np.random.default_rng(3), 4000
    variance_G = rng.uniform(0.1, 2, n)
    noise_G = rng.normal(size=n) * np.sqrt(variance_G / 50 + variance_G / 80)
    group = PredictedGroup(80, np.zeros(n), noise_G, variance_G, variance_G)
    tested = group.tested(50, 1.96)
    assert (tested["p_value"] < 0.05).mean() == pytest.approx(0.05, abs=0.01)
    assert ((tested["lower"] < 0) & (tested["upper"] > 0)).mean() == pytest.approx(0.95, abs=0.01)
    assert (tested["q_value"] < 0.05).sum() <= 3
    assert np.isnan(group.tested(0, 1.96)["q_value"]).all()


def test_the_tables_have_a_row_a_group_and_a_row_a_gene():
    of = observed()
    made = judgement(of, predicted(of, SHIFT))
    genes = made.genes_to_frame([f"g{i}" for i in range(G)], 1.96)
    assert len(genes) == G
    np.testing.assert_allclose(genes["predicted_mean"] - genes["own_mean"], genes["change"])
    assert list(made.to_frame().index) == ["d"]
