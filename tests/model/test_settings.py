"""Settings in numpy's, torch's and R's forms: the checked value is kept, so that whatever trains can be saved."""

import json
from dataclasses import fields

import numpy as np
import pytest
import torch

import omicvae as ov
from omicvae._core import NotSupportedError, SettingError, flag
from omicvae.model.config import ModelConfig
from omicvae.module import Architecture
from omicvae.objective import Discriminator, LatentAdversary, Objective
from omicvae.objective.schedules import CYCLE
from omicvae.training import RunSettings, hardware
from omicvae.training.budget import Optimisation

#: a value of every setting whose default says nothing of its type
VALUES = {
    "likelihood": "nb",
    "dispersion": "gene",
    "n_hidden_decoder": 8,
    "n_layers_decoder": 1,
    "max_epochs": 2,
    "train_size": 0.9,
    "early_stopping_patience": 5,
    "learning_rate": 0.01,
    "weight_decay": 0.1,
    "gradient_clip_norm": 1.0,
    "ema_decay": 0.9,
    "seed": 3,
    "warmup": 0.1,
    "warmup_epochs": 1.0,
    "warmup_steps": 1,
    "period": 4,
    "n_cycles": 3,
    "capacity": 3.0,
    "target_rate": 3.0,
    "start": 0.5,
    "start_epochs": 1.0,
    "start_steps": 1,
}
KINDS = (ModelConfig, Architecture, RunSettings, Optimisation, Objective, LatentAdversary, Discriminator)
NO_SCALARS = {"architecture", "objective", "adversary", "discriminator", "log_variance_bounds", "covariates"}
CASES = [(kind, field.name) for kind in KINDS for field in fields(kind) if field.name not in NO_SCALARS]


def forms(value):
    """The same value as numpy, torch and R give it."""
    yield np.asarray(value)
    yield np.asarray(value)[()]
    if not isinstance(value, str):
        yield torch.tensor(value)
        yield float(value)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_setting_is_kept_in_pythons_form(kind, name):
    known = {"likelihood": "nb"} if kind is ModelConfig else {}
    if kind is Objective and name in CYCLE:
        known = {"schedule": "cyclical"}
    default = next(field.default for field in fields(kind) if field.name == name)
    value = VALUES.get(name, default)
    for given in forms(value):
        kept = getattr(kind(**{**known, name: given}), name)
        assert type(kept) in (bool, int, float, str)
        assert kept == pytest.approx(value) if isinstance(value, float) else kept == value
        assert json.loads(json.dumps(kept)) == kept


def test_what_was_set_with_numpy_is_saved_and_resumed(counts, tmp_path):
    rate = np.float32(0.01)
    model = ov.CVAE(counts, np.str_("nb"), np.asarray(2), n_hidden=np.int64(8), dropout_rate=np.float32(0.1))
    adversary = {"adaptive": np.bool_(True), "start_epochs": np.float32(0), "ramp": np.float32(0.1)}
    goal = {"beta": np.asarray(1.0), "warmup_steps": np.int32(2), "discriminator": adversary}
    settings = {"train_size": np.float32(0.9), "learning_rate": rate, "early_stopping": np.bool_(False)}
    model.train(np.int64(4), objective=goal, progress_bar=False, checkpoint_dir=tmp_path / "c", **settings)
    model.save(tmp_path / "m")
    loaded = ov.CVAE.load(tmp_path / "m", counts)
    assert loaded.config == model.config
    assert loaded.objective == model.objective


class Steps:
    """A schedule of the user's own that counts in numpy's numbers."""

    settled_step = np.int64(2)

    def __call__(self, step):
        return np.float32(min(1.0, step / 2))


def test_a_schedule_that_counts_in_numpy_is_saved_too(counts, tmp_path):
    model = ov.CVAE(counts, "nb", 2, n_hidden=8)
    model.train(3, objective={"schedule": Steps()}, progress_bar=False)
    model.save(tmp_path / "m")
    assert ov.CVAE.load(tmp_path / "m", counts).fits[0].settled_epoch == model.fits[0].settled_epoch


@pytest.mark.parametrize("devices", ["auto", "1", 1, 1.0, np.int64(1), np.asarray(1.0)])
def test_one_device_in_every_form(devices):
    assert hardware("cpu", devices, "auto")["devices"] == 1
    assert type(hardware("cpu", devices, "auto")["devices"]) is int


@pytest.mark.parametrize("devices", [[0], [0.0], (0,), np.array([0.0]), [np.int64(0)]])
def test_an_index_of_a_device_in_every_form(devices):
    kept = hardware("cpu", devices, "auto")["devices"]
    assert (kept, type(kept[0])) == ([0], int)


@pytest.mark.parametrize("devices", [2, -1, "2", [0, 1], np.array([0, 1]), None])
def test_several_devices_are_refused(devices):
    with pytest.raises(NotSupportedError, match="one device"):
        hardware("cpu", devices, "auto")


@pytest.mark.parametrize("value", [2, "yes", None, np.array([True, False])])
def test_a_switch_is_true_or_false(value):
    with pytest.raises(SettingError, match="True or False"):
        flag("early_stopping", value)


@pytest.mark.parametrize("value", [np.ma.masked, np.ma.array(2.0, mask=True)], ids=repr)
def test_what_lies_under_a_mask_is_no_setting(value):
    with pytest.raises(SettingError, match="beta must be a finite number, got masked"):
        Objective(beta=value)
    assert Objective(beta=np.ma.array(2.0)).beta == 2
