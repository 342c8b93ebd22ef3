import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omicvae._core import SettingError
from omicvae.objective import Objective
from omicvae.objective.kl import TargetRate

KL = torch.tensor([[0.0, 0.4, 2.0], [0.2, 0.0, 4.0]])  # 3.3 nats per cell


def planned(total=100, **settings):
    return Objective(**settings).scheduled(total, 10, n_genes=50, n_latent=3)


def test_capacity_by_hand():
    plan = planned(capacity=10.0, capacity_weight=5.0, schedule="linear", warmup_steps=50)
    for step, capacity in ((0, 0.0), (25, 5.0), (50, 10.0), (99, 10.0)):
        assert float(plan.control.cost(KL, step)) == pytest.approx(5 * abs(3.3 - capacity), rel=1e-6)
        assert plan.control.columns(step) == {"capacity": pytest.approx(capacity)}
    assert plan.settled_step == 50


@given(st.floats(0.1, 50), st.integers(0, 99))
def test_a_capacity_pulls_the_kl_towards_itself(capacity, step):
    plan = planned(capacity=capacity, schedule="constant")
    kl = KL.clone().requires_grad_()
    plan.control.cost(kl, step).backward()
    assert bool((kl.grad > 0).all()) == (capacity < 3.3)


def test_a_controller_moves_beta_against_the_error_and_its_loss_is_a_lagrangian():
    plan = planned(target_rate=3.0, beta=2.0)
    control = plan.control
    assert float(control.cost(KL, 0)) == pytest.approx(2.0 * 0.3, rel=1e-6)
    assert float(control.judged(KL, 0)) == pytest.approx(10 * 0.3, rel=1e-5)
    control.observe(torch.tensor(6.0))
    assert control.weight(0) == pytest.approx(2.0 * math.exp(TargetRate.GAIN * math.log(2)))
    for kl in (1.5, math.nan):  # back to where it was; what is not finite moves nothing
        control.observe(torch.tensor(kl))
        assert control.weight(0) == pytest.approx(2.0)
    control.observe(torch.tensor(0.0))
    assert control.weight(0) == pytest.approx(2.0 * math.exp(-TargetRate.GAIN))


@given(st.lists(st.floats(0, 1e6), max_size=200))
def test_a_controller_stays_within_its_bounds(kls):
    control = TargetRate(1e-3, 1.0)
    for kl in kls:
        control.observe(torch.tensor(kl))
    low, high = TargetRate.BOUNDS
    assert low * 0.999 <= control.weight(0) <= high * 1.001


def test_a_controller_holds_the_rate_of_a_toy_whose_kl_answers_to_beta():
    control, kl = TargetRate(5.0, 1.0), 1.0
    for _ in range(600):  # a rate that falls with beta, and follows with a delay as a network does
        kl += 0.05 * (8.0 * control.weight(0) ** -0.5 - kl)
        control.observe(torch.tensor(kl))
    assert kl == pytest.approx(5.0, rel=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"free_bits": 0.1, "capacity": 3.0}, "free_bits and capacity"),
        ({"capacity": 3.0, "target_rate": 3.0}, "capacity and target_rate"),
        ({"target_rate": 0}, "above 0"),
        ({"target_rate": 3.0, "beta": 0}, "above 0"),
        ({"target_rate": 3.0, "reduction": "mean"}, "nats per cell"),
        ({"capacity": 3.0, "beta": 4.0}, "capacity_weight"),
        ({"capacity": -1}, "at least 0"),
        ({"adversary": "batch"}, "mapping"),
        ({"adversary": {"strength": 1}}, "Unknown setting.*strength.*weight"),
        ({"discriminator": {"start": 0.1, "start_epochs": 3}}, "start and start_epochs"),
        ({"discriminator": {"covariates": ["batch"]}}, "Unknown setting"),
    ],
)
def test_what_excludes_or_misses_something_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        Objective(**settings)


def test_an_adversary_acts_from_its_start_on_and_rises_to_its_weight():
    phase = planned(discriminator={"weight": 2.0, "start": 0.5, "ramp": 0.1}).phases["discriminator"]
    assert [phase(step) for step in (0, 49)] == [0.0, 0.0]
    assert 0 < phase(50) < phase(59) < 2.0
    assert (phase(60), phase(99)) == (2.0, 2.0)
    assert planned(discriminator={"start_epochs": 3}).phases["discriminator"].start_step == 30
    assert planned(adversary={"ramp": 0.0}).phases["adversary"](0) == 5.0


def test_a_run_that_ends_before_an_adversary_is_at_its_full_weight_is_an_error_with_both_numbers():
    with pytest.raises(SettingError, match=r"from step 105 on.*ends after 100 steps"):
        planned(discriminator={"start": 0.95, "ramp": 0.1})


def test_mappings_and_dictionaries_survive_a_round_trip():
    goal = Objective(target_rate=4.0, adversary={"covariates": "batch", "weight": 0.5}, discriminator={})
    assert Objective.parse(goal.to_dict()) == goal
    assert goal.adversary.covariates == ("batch",)


def test_a_held_objective_is_final_from_its_first_step():
    phase = {"start": 0.8, "weight": 0.3}
    goal = Objective(schedule="cosine", warmup=0.5, target_rate=4.0, total_correlation=1.0, discriminator=phase)
    held = goal.held(2.5)
    assert (held.schedule, held.warmup, held.beta, held.target_rate) == ("constant", None, 2.5, 4.0)
    assert (held.discriminator.start, held.discriminator.weight) == (0.0, 0.3)
    assert Objective(beta=3.0).held(1.0).beta == 3.0


def test_total_correlation_rises_with_the_schedule():
    plan = planned(total_correlation=4.0, warmup_steps=10)
    assert [plan.total_correlation_weight(step) for step in (0, 5, 10)] == [0.0, 2.0, 4.0]


def test_what_a_controller_does_to_beta_in_figures():
    control = planned(target_rate=3.0).control
    moves = [(6.0, 2**0.08), (3e4, 2**0.08 * math.exp(0.08)), (1e-4, 2**0.08), (3.0, 2**0.08)]  # at most ±0.08 a step
    for kl, beta in moves:
        control.observe(torch.tensor(kl))
        assert control.weight(0) == pytest.approx(beta)
    for _ in range(130):
        control.observe(torch.tensor(1e9))
    assert control.weight(0) == pytest.approx(1e4)
    for _ in range(260):
        control.observe(torch.tensor(1e-9))
    assert control.weight(0) == pytest.approx(1e-4)
    assert float(control.state()["log_beta"]) == pytest.approx(math.log(1e-4))
    assert control.columns(5) == {"target_rate": 3.0}
    assert control.settled_step == 0


def test_a_controller_judges_by_ten_times_the_distance_from_either_side():
    control = planned(target_rate=5.0, beta=0.5).control
    assert float(control.cost(KL, 0)) == pytest.approx(0.5 * (3.3 - 5))
    assert float(control.judged(KL, 0)) == pytest.approx(17.0)


def test_only_a_plain_weight_is_flat():
    assert planned(beta=3.0, warmup_steps=10).control.flat_weight(5) == 1.5
    for settings in ({"free_bits": 0.01}, {"capacity": 3.0}, {"target_rate": 3.0}):
        assert planned(**settings).control.flat_weight(50) is None


def test_a_plain_control_judges_by_its_cost_and_has_nothing_to_add():
    control = planned(beta=2.0, free_bits=0.5, warmup_steps=10).control
    assert float(control.judged(KL, 5)) == float(control.cost(KL, 5)) == pytest.approx(4.0)
    assert (control.columns(5), control.state()) == ({}, {})
    control.observe(torch.tensor(1e9))
    assert control.weight(10) == 2.0
    capacity = planned(capacity=10.0, capacity_weight=5.0, warmup_steps=50).control
    assert (capacity.weight(0), capacity.state()) == (5.0, {})
    assert float(capacity.judged(KL, 25)) == float(capacity.cost(KL, 25)) == pytest.approx(8.5)


def test_an_opponent_rises_by_equal_steps():
    phase = planned(discriminator={"weight": 2.0, "start_steps": 10, "ramp": 0.04}).phases["discriminator"]
    assert phase.settled_step == 14
    assert [phase(step) for step in range(8, 16)] == pytest.approx([0, 0, 0.4, 0.8, 1.2, 1.6, 2, 2])


def test_when_an_opponent_starts():
    def start(name, **settings):
        return planned(**{name: {"ramp": 0.0, **settings}}).phases[name].start_step

    assert (start("discriminator"), start("adversary")) == (50, 0)
    assert (start("discriminator", start=0.206), start("discriminator", start_epochs=0.26)) == (21, 3)
    assert (start("discriminator", start=0.0), start("discriminator", start_steps=99)) == (0, 99)
    assert start("discriminator", start_steps=0) == 0
    with pytest.raises(SettingError, match=r"from step 100 on \(start 100 \+ ramp 0\)"):
        start("discriminator", start_steps=100)


def test_the_defaults_of_opponents():
    shared = {"start": None, "start_epochs": None, "start_steps": None, "ramp": 0.1, "n_hidden": 128, "n_layers": 1}
    goal = Objective(adversary={}, discriminator={}).to_dict()
    latent = {"weight": 5.0, "adaptive": False, "learning_rate": 1e-2, "updates": 5, "covariates": None}
    assert goal["adversary"] == {**shared, **latent}
    assert goal["discriminator"] == {**shared, "weight": 0.3, "adaptive": True, "learning_rate": 1e-3, "updates": 1}


@pytest.mark.parametrize(
    ("name", "lowest", "below"),
    [
        ("weight", 0, -0.1),
        ("learning_rate", 0, -0.1),
        ("n_hidden", 1, 0),
        ("n_layers", 1, 0),
        ("updates", 1, 0),
        ("start", 0, -0.1),
        ("start_epochs", 0, -0.1),
        ("start_steps", 0, -1),
        ("ramp", 0, -0.1),
    ],
)
def test_settings_of_opponents_have_bounds(name, lowest, below):
    assert getattr(Objective(discriminator={name: lowest}).discriminator, name) == lowest
    with pytest.raises(SettingError, match=f"{name} must be (at least|from) {lowest}"):
        Objective(discriminator={name: below})
    with pytest.raises(SettingError, match="ramp must be from 0 to 1"):
        Objective(discriminator={"ramp": 1.1})


def test_covariates_to_remove_are_a_tuple_of_names():
    assert Objective(adversary={"covariates": ["a", "b"]}).adversary.covariates == ("a", "b")


def test_limits_of_the_ways_to_control_the_kl():
    for settings in ({"free_bits": 0.1, "target_rate": 3.0}, {"free_bits": 0.1, "capacity": 3.0, "target_rate": 3.0}):
        with pytest.raises(SettingError, match=" and ".join(settings)):
            Objective(**settings)
    with pytest.raises(SettingError, match="capacity is in nats per cell"):
        Objective(capacity=3.0, reduction="mean")
    assert Objective(free_bits=0.1, reduction="mean").free_bits == 0.1
    assert Objective(capacity=0).capacity == 0.0
    for name in ("free_bits", "capacity_weight", "total_correlation", "beta"):
        beside = {"capacity": 3.0} if name == "capacity_weight" else {}
        assert getattr(Objective(**{name: 0}, **beside), name) == 0.0
        with pytest.raises(SettingError, match=f"{name} must be at least 0"):
            Objective(**{name: -0.5})
