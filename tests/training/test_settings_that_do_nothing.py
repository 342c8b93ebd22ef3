"""A setting that would have no effect is refused, and another program's word gets the right one."""

import pytest

from omicvae._core import SettingError
from omicvae.objective import Objective
from omicvae.training import RunSettings, check_trainer_arguments

TRAIN = ("max_epochs", "learning_rate", "early_stopping_patience", "trainer_arguments")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"schedule": "cyclical", "warmup_steps": 5}, "warmup_steps=5.*n_cycles, period, ramp"),
        ({"schedule": "constant", "warmup": 0.2}, "warmup=0.2.*schedule='constant'"),
        ({"schedule": "none", "warmup_epochs": 2}, "warmup_epochs=2"),
        ({"period": 50}, "period=50.*schedule='linear', which takes warmup, warmup_epochs, warmup_steps"),
        ({"schedule": "sigmoid", "n_cycles": 3}, "n_cycles=3"),
        ({"schedule": "cosine", "ramp": 0.7}, "ramp=0.7"),
        ({"free_bits_mode": "total"}, "free_bits_mode='total'.*without free_bits"),
        ({"capacity_weight": 10.0}, "capacity_weight=10.0.*without a capacity"),
        ({"target_rate": 5.0, "warmup": 0.3}, "warmup=0.3.*target_rate"),
        ({"target_rate": 5.0, "schedule": "sigmoid"}, "schedule='sigmoid'.*target_rate"),
    ],
)
def test_an_objective_refuses_what_does_nothing(given, words):
    with pytest.raises(SettingError, match=words):
        Objective(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"target_rate": 5.0, "total_correlation": 2.0, "warmup": 0.3},  # the schedule is that of the total correlation
        {"capacity": 5.0, "capacity_weight": 10.0, "warmup": 0.3},
        {"free_bits": 0.1, "free_bits_mode": "total"},
        {"schedule": "cyclical", "period": 50, "n_cycles": 2, "ramp": 0.8},
    ],
)
def test_what_acts_passes_and_survives_a_round_trip(given):
    goal = Objective(**given)
    assert Objective.parse(goal.to_dict()) == goal
    assert Objective.parse(goal.held(1.0).to_dict()).held(1.0) == goal.held(1.0)


def run_of(steps, **given):
    return Objective(schedule="cyclical", **given).scheduled(steps, 10, n_genes=10, n_latent=2).schedule


@pytest.mark.parametrize(
    ("steps", "given", "expected"),
    [
        (1000, {"period": 50}, (50, 20)),
        (1000, {"period": 300}, (300, 3)),
        (1000, {}, (250, 4)),
        (1000, {"n_cycles": 5}, (200, 5)),
        (1000, {"period": 50, "n_cycles": 3}, (50, 3)),
        (60, {"period": 100}, (100, 1)),
    ],
)
def test_cycles_of_a_given_length_fill_the_run(steps, given, expected):
    schedule = run_of(steps, **given)
    assert (schedule.period, schedule.n_cycles) == expected
    assert schedule(schedule.settled_step) == 1


def test_the_ramp_share_of_a_cycle_can_be_set():
    schedule = run_of(1000, period=100, ramp=0.8)
    assert [schedule(t) for t in (0, 40, 80, 99, 100, 940)] == pytest.approx([0, 0.5, 1, 1, 0, 0.5])
    for bad in (0, 1, 1.5):
        with pytest.raises(SettingError, match="ramp is the share of a cycle"):
            Objective(schedule="cyclical", ramp=bad)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"early_stopping": False, "early_stopping_patience": 5}, "early_stopping=False"),
        ({"early_stopping": False, "early_stopping_min_delta": 0.1}, "early_stopping=False"),
        ({"train_size": 1.0, "early_stopping_patience": 5}, "train_size=1"),
        ({"train_size": 1.0, "lr_schedule": "plateau"}, "plateau.*one_cycle"),
    ],
)
def test_a_run_refuses_what_does_nothing(given, words):
    with pytest.raises(SettingError, match=words):
        RunSettings(**given)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("limit_train_batches", r"chunk of many minibatches here.*CVAE\(adata\[rows\]"),
        ("overfit_batches", r"CVAE\(adata\[rows\]"),
        ("fast_dev_run", "max_epochs=1"),
        ("max_steps", "pass max_epochs"),
        ("limit_val_batches", "train_size"),
        ("lr", "For lr write learning_rate"),
        ("plan_kwargs", "For plan_kwargs write learning_rate"),
        ("epochs", "For epochs write max_epochs"),
        ("n_epochs_kl_warmup", r'For n_epochs_kl_warmup write objective=\{"warmup_epochs"'),
        ("gradient_clip_val", "gradient_clip_norm"),
        ("early_stopping_patients", "write early_stopping_patience"),
    ],
)
def test_further_arguments_of_train_do_what_they_say_or_are_refused(name, words):
    with pytest.raises(SettingError, match=words):
        check_trainer_arguments({name: 1}, TRAIN)


def test_lightnings_other_arguments_pass():
    check_trainer_arguments({"max_time": "00:01:00:00", "detect_anomaly": True, "min_epochs": 2}, TRAIN)


def test_an_objective_knows_other_words():
    with pytest.raises(SettingError, match=r"n_epochs_kl_warmup write .*warmup_epochs"):
        Objective.parse({"n_epochs_kl_warmup": 4})
    with pytest.raises(SettingError, match="For warm_up write warmup"):
        Objective.parse({"warm_up": 0.4})
