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
        ({"warmup": 1.01}, "warmup_epochs or warmup_steps"),
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
    assert Objective.parse({"schedule": "cyclical", "n_cycles": 3.0}) == Objective(schedule="cyclical", n_cycles=3)
    with pytest.raises(SettingError, match=r"\['bta'\].*Known: beta, schedule"):
        Objective.parse({"bta": 2.0})


def test_the_table_has_the_names_of_the_contract():
    assert set(SCHEDULES) >= {"constant", "linear", "cosine", "sigmoid", "cyclical", "none"}


def test_a_cycle_whose_ramp_ends_between_two_steps_settles_at_the_later_one():
    # the ramp takes 2.5 steps: 0, 0.4, 0.8, then 1
    assert Cyclical(5, 1).settled_step == 3
    assert [Cyclical(5, 1)(step) for step in range(6)] == pytest.approx([0, 0.4, 0.8, 1, 1, 1])
    assert Cyclical(5, 3).settled_step == 13
    assert [Cyclical(5, 3)(step) for step in range(9, 15)] == pytest.approx([1, 0, 0.4, 0.8, 1, 1])
    # 4.5 steps of 6, then 1.8 of 6
    assert [Cyclical(6, 2, 0.75)(step) for step in (4, 5, 6, 7, 10, 11)] == pytest.approx(
        [8 / 9, 1, 0, 2 / 9, 8 / 9, 1]
    )
    assert [Cyclical(6, 2, 0.3)(step) for step in (0, 1, 2, 6, 7, 8)] == pytest.approx([0, 5 / 9, 1, 0, 5 / 9, 1])


def test_a_cycle_has_at_least_two_steps():
    assert planned(8, schedule="cyclical", n_cycles=4).schedule == Cyclical(2, 4)
    with pytest.raises(SettingError, match="4 cycles do not fit into the 7 planned steps"):
        planned(7, schedule="cyclical", n_cycles=4)
    assert planned(schedule="cyclical", n_cycles=1, period=2).settled_step == 1
    for name, value in (("period", 1), ("n_cycles", 0)):
        with pytest.raises(SettingError, match=f"{name} must be at least"):
            Objective(schedule="cyclical", **{name: value})


def test_the_defaults_are_the_elbo_with_a_short_linear_rise():
    assert Objective().to_dict() == {
        "beta": 1.0,
        "schedule": "linear",
        "warmup": None,
        "warmup_epochs": None,
        "warmup_steps": None,
        "n_cycles": None,
        "period": None,
        "ramp": 0.5,
        "free_bits": 0.0,
        "free_bits_mode": "dimension",
        "capacity": None,
        "capacity_weight": 100.0,
        "target_rate": None,
        "total_correlation": 0.0,
        "adversary": None,
        "discriminator": None,
        "reduction": "sum",
    }
    assert planned(1000).settled_step == 100


def test_the_last_update_has_to_see_the_final_weight():
    assert planned(warmup_steps=99).settled_step == 99
    with pytest.raises(SettingError, match="at step 100, but the planned run ends after 100 steps"):
        planned(warmup_steps=100)
    assert planned(warmup_steps=0).settled_step == planned(warmup=0).settled_step == 0
    assert planned(warmup_epochs=0.26).settled_step == 3
    for settings in ({"warmup_epochs": -0.1}, {"warmup_steps": -1}, {"warmup": -0.1}):
        with pytest.raises(SettingError, match="at least 0"):
            Objective(**settings)


def test_the_objective_settles_with_the_last_of_its_weights():
    assert planned(warmup_steps=10, discriminator={"start": 0.5, "ramp": 0.1}).settled_step == 60
    assert planned(warmup_steps=70, discriminator={"start": 0.5, "ramp": 0.1}).settled_step == 70


def test_a_sum_has_the_weight_it_is_given_whatever_the_sizes():
    assert planned(beta=0.5).effective_beta == 0.5
    assert planned(beta=0.5, reduction="mean").effective_beta == 5.0
    assert planned().total_correlation_weight(50) == 0.0


def test_a_schedule_of_ones_own_is_shown_by_its_repr():
    assert Objective(schedule=Cyclical(5, 1)).to_dict()["schedule"] == "Cyclical(period=5, n_cycles=1, ramp=0.5)"
