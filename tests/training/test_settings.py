import inspect
import json
from dataclasses import fields

import pytest

import omicvae as ov
from omicvae._core import SettingError, named_fields
from omicvae.objective import Objective
from omicvae.training import RunSettings, default_weight_decay


def test_whole_numbers_from_r_are_taken_and_others_refused():
    settings = RunSettings(max_epochs=5.0, batch_size=64.0, seed=3.0)
    assert (settings.max_epochs, settings.batch_size, settings.seed) == (5, 64, 3)
    wrong = [
        ("max_epochs", 0),
        ("batch_size", 0),
        ("seed", -1),
        ("learning_rate", 0.0),
        ("lr_schedule", "none"),
        ("optimizer", "sgd"),
        ("gradient_clip_norm", 0.0),
        ("ema_decay", 1.0),
        ("early_stopping_patience", 0),
        ("early_stopping_min_delta", -1.0),
        ("objective", {"bta": 1.0}),
    ]
    for name, value in wrong:
        with pytest.raises(SettingError, match="bta" if name == "objective" else name):
            RunSettings(**{name: value})


def test_the_optimiser_and_the_stopping_are_those_of_the_settings():
    settings = RunSettings(learning_rate=0.5, lr_schedule="constant", optimizer="adamw", gradient_clip_norm=2.0)
    optimisation = settings.optimisation(n_train=70)
    assert (optimisation.learning_rate, optimisation.schedule, optimisation.optimizer) == (0.5, "constant", "adamw")
    assert (optimisation.gradient_clip_norm, optimisation.ema_decay) == (2.0, None)
    assert optimisation.weight_decay == default_weight_decay(70) == pytest.approx(50 / 70)
    assert RunSettings(weight_decay=0.0).optimisation(70).weight_decay == 0
    best = RunSettings(early_stopping_patience=7, early_stopping_min_delta=0.5).best_weights(100)
    assert (best.patience, best.min_delta) == (7, 0.5)
    assert [RunSettings().best_weights(epochs).patience for epochs in (5, 50, 51, 101)] == [10, 10, 11, 21]
    assert RunSettings(early_stopping=False).best_weights(100).patience is None


def test_a_resumed_run_takes_its_settings_from_the_file():
    run = RunSettings(max_epochs=9, objective={"beta": 2.0, "warmup": 0.2}, batch_size=32, seed=4)
    saved = json.loads(json.dumps(run.to_dict()))
    assert RunSettings().resumed(saved) == run
    assert RunSettings(batch_size=32).resumed(saved) == run  # what was given is what the run has
    with pytest.raises(SettingError, match=r"batch_size=64 \(the run has 32\)"):
        RunSettings(batch_size=64).resumed(saved)


def test_settings_are_found_by_name_among_other_arguments():
    named = {**RunSettings(seed=2).to_dict(), "self": None, "progress_bar": True}
    assert RunSettings(**named_fields(RunSettings, named)) == RunSettings(seed=2)


class Own:
    """A schedule of the user's own."""

    settled_step = 0

    def __call__(self, step):
        return 1.0

    def __repr__(self):
        return "Own()"


def test_a_schedule_of_the_users_own_has_to_be_given_again():
    goal = Objective(schedule=Own(), beta=2.0)
    saved = json.loads(json.dumps(RunSettings(objective=goal).to_dict()))
    with pytest.raises(SettingError, match=r"a schedule of its own, Own\(\); pass objective="):
        RunSettings().resumed(saved)
    assert RunSettings(objective=goal).resumed(saved).objective is goal
    assert RunSettings().resumed(RunSettings(seed=1).to_dict()).objective is None


def test_the_defaults_are_those_that_train_shows():
    shown = inspect.signature(ov.CVAE.train).parameters
    assert {field.name: field.default for field in fields(RunSettings)} == {
        field.name: shown[field.name].default for field in fields(RunSettings)
    }
    assert RunSettings().batch_size == 128
