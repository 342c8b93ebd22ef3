import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicvae._core import SettingError
from omicvae.objective import SCHEDULES, Objective
from omicvae.objective.schedules import Cyclical

RAMPS = ("linear", "cosine", "sigmoid")


def planned(total=100, **settings):
    return Objective(**settings).scheduled(total, 10, n_genes=50, n_latent=5)


@pytest.mark.parametrize("name", RAMPS)
@given(warmup=st.integers(0, 99), beta=st.floats(0.01, 100))
def test_ramps_have_exact_endpoints_and_rise_monotonically(name, warmup, beta):
    plan = planned(schedule=name, warmup_steps=warmup, beta=beta)
    weights = [plan.control.weight(step) for step in range(100)]
    assert weights[0] == (0.0 if warmup else beta)
    assert weights[warmup] == beta
    assert weights[-1] == beta
    assert all(0 <= low <= high <= beta for low, high in itertools.pairwise(weights))


@pytest.mark.parametrize(
    ("name", "at_quarter"),
    [
        ("linear", 0.25),
        ("cosine", (1 - math.cos(math.pi / 4)) / 2),
        ("sigmoid", (1 / (1 + math.exp(3)) - 1 / (1 + math.exp(6))) / (1 - 2 / (1 + math.exp(6)))),
    ],
)
def test_ramps_follow_their_formula(name, at_quarter):
    plan = planned(schedule=name, warmup_steps=40)
    assert plan.control.weight(10) == pytest.approx(at_quarter, abs=1e-12)
    assert plan.control.weight(20) == pytest.approx(0.5, abs=1e-12)


@given(period=st.integers(2, 50), n_cycles=st.integers(1, 6), ramp=st.floats(0.05, 0.95))
def test_cyclical_restarts_each_period_and_holds_after_the_last_ramp(period, n_cycles, ramp):
    schedule = Cyclical(period, n_cycles, ramp)
    for cycle in range(n_cycles):
        if cycle * period < schedule.settled_step:
            assert schedule(cycle * period) == 0.0
    assert all(schedule(step) == 1.0 for step in range(schedule.settled_step, period * n_cycles + 20))
    assert all(0 <= schedule(step) <= 1 for step in range(period * n_cycles))


def test_cycles_share_the_run_unless_a_period_is_given():
    assert planned(schedule="cyclical", n_cycles=4).schedule == Cyclical(25, 4)
    assert planned(schedule="cyclical", n_cycles=2, period=10).settled_step == 15


@pytest.mark.parametrize("name", ["constant", "none"])
def test_constant_is_at_beta_at_once(name):
    plan = planned(schedule=name, beta=3.0)
    assert plan.settled_step == 0
    assert plan.control.weight(0) == 3.0


def test_a_run_that_ends_before_the_weight_settles_is_an_error_with_both_numbers():
    with pytest.raises(SettingError, match=r"step 400, but the planned run ends after 100 steps"):
        planned(warmup_epochs=40)


def test_lengths_in_fraction_epochs_and_steps_agree():
    assert planned(warmup=0.3).settled_step == planned(warmup_epochs=3).settled_step == 30
    assert planned(warmup_steps=30).settled_step == 30
    assert planned(warmup=1.0).settled_step == 99  # the last update sees the full weight


def test_an_object_of_the_user_is_a_schedule():
    class Late:
        settled_step = 50

        def __call__(self, step):
            return float(step >= 50)

    plan = planned(schedule=Late(), beta=2.0)
    assert (plan.control.weight(49), plan.control.weight(50)) == (0.0, 2.0)


def test_mean_reduction_is_the_effective_beta_of_the_mean_mean_convention():
    plan = Objective(beta=0.5, reduction="mean").scheduled(10, 1, n_genes=2000, n_latent=32)
    assert plan.effective_beta == pytest.approx(31.25)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "lineal"}, "Choose one of: 'constant', 'none', 'linear'"),
        ({"beta": -1}, "at least 0"),
        ({"beta": float("nan")}, "finite"),
        ({"warmup": 0.1, "warmup_steps": 3}, "warmup and warmup_steps"),
        ({"warmup": 30}, "warmup_epochs or warmup_steps"),
        ({"free_bits": -0.1}, "free_bits"),
        ({"free_bits_mode": "gene"}, "'dimension', 'cell', 'total'"),
        ({"reduction": "max"}, "'sum', 'mean'"),
        ({"schedule": 3}, "settled_step"),
        ({"n_cycles": 2.5}, "whole number"),
    ],
)
def test_impossible_settings_say_what_is_possible(settings, message):
    with pytest.raises(SettingError, match=message):
        Objective(**settings)


def test_a_mapping_is_an_objective_and_unknown_names_list_the_known():
    assert Objective.parse({"beta": 2.0, "n_cycles": 3.0}) == Objective(beta=2.0, n_cycles=3)
    with pytest.raises(SettingError, match=r"\['bta'\].*Known: beta, schedule"):
        Objective.parse({"bta": 2.0})


def test_the_table_has_the_names_of_the_contract():
    assert set(SCHEDULES) >= {"constant", "linear", "cosine", "sigmoid", "cyclical", "none"}
