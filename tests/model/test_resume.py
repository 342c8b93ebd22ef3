"""Runs that are killed, interrupted, poisoned or out of disk: for real, in processes of their own."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

import omicvae as ov
from omicvae._core import NotSupportedError, SettingError, TrainingError

# what every child begins with: a model that is the same each time
HEAD = """
import json, sys
import numpy as np, torch
import omicvae as ov
def make(likelihood="nb"):
    adata = ov.datasets.simulate_counts(300, 80, n_types=3, n_batches=2, seed=0)
    if likelihood == "gaussian":
        adata.X = np.log1p(adata.X.toarray()).astype(np.float32)
    ov.CVAE.setup_anndata(adata, batch_key="batch")
    return ov.CVAE(adata, likelihood, 4, n_hidden=16, seed=3)
ADVERSARIES = {"adversary": {"start": 0.1}, "discriminator": {"start": 0.3, "ramp": 0.05}}
RUN = {"max_epochs": 40, "progress_bar": False, "accelerator": "cpu", "objective": ADVERSARIES}
"""

# a run that loses its disk on the way, then runs whose memory is damaged: set-up refuses such values
SPOILED = """
import dataclasses, logging, resource, signal
from omicvae.data.compact import CompactValues
from lightning.pytorch.callbacks import Callback
found = {}

logging.basicConfig(stream=sys.stdout)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
class Fill(Callback):
    def on_train_epoch_start(self, trainer, plan):
        if trainer.current_epoch == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
model = make()
model.train(**{**RUN, "max_epochs": 8}, checkpoint_dir=sys.argv[1], callbacks=[Fill()])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
again = make()
again.train(resume_from=sys.argv[1], progress_bar=False, callbacks=[Callback()])
found["disk"] = {"epochs": len(model.history), "elbos": [m.get_elbo() for m in (model, again)]}

row = 7
class Damage(Callback):
    def __init__(self, value):
        self.value = value
    def on_train_epoch_start(self, trainer, plan):
        if trainer.current_epoch == 2:
            plan.store.values.stored[plan.store.indptr[row]] = self.value
def damaged(likelihood, value):
    model = make(likelihood)
    store = model.state.store
    floats = CompactValues(store.gather(np.arange(store.n_cells))[2])
    model.state.store = dataclasses.replace(store, values=floats)
    gene = model.schema.gene_names[store.columns[store.indptr[row]]]
    settings = {"progress_bar": False, "accelerator": "cpu", "train_size": 1.0, "batch_size": 64}
    try:
        model.train(40, callbacks=[Damage(value)], **settings)
        message = "no error"
    except ov.errors.TrainingError as error:
        message = str(error)
    finite = all(bool(torch.isfinite(p).all()) for p in model.module.parameters())
    clean = np.delete(np.arange(300), row)
    return {
        "named": model.adata.obs_names[row] in message and gene in message,
        "finite": finite,
        "skipped": float(model.history["skipped_steps"].sum()),
        "usable": bool(np.isfinite(model.get_latent_representation(indices=clean)).all()),
        "message": message,
    }
for likelihood in ("nb", "gaussian"):
    found[likelihood] = {str(value): damaged(likelihood, value) for value in (float("nan"), float("inf"), 1e30)}
make().train(**{**RUN, "max_epochs": 8, "objective": {}})  # every kernel that the children after this one need
print(json.dumps(found))
"""

# a run for Ctrl-C, which a shell that starts tests in the background lets its children ignore; then one to be killed
CUT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
model = make()
model.train(**{**RUN, "max_epochs": 2000, "early_stopping": False}, checkpoint_dir=sys.argv[1])
latent = model.get_latent_representation()
print(json.dumps({"epochs": len(model.history), "finite": bool(np.isfinite(latent).all()),
                  "interrupted": model.fits[0].interrupted}), flush=True)
make().train(**RUN, ema_decay=0.9, checkpoint_dir=sys.argv[2])
"""

COMPARE = """
whole, resumed = make(), make()
resumed.train(resume_from=sys.argv[1], progress_bar=False)
whole.train(**RUN, ema_decay=0.9)
tables = [m.history.drop(columns="cells_per_second") for m in (whole, resumed)]
print(json.dumps({
    "weights": all(torch.equal(a, b) for a, b in zip(*(m.module.state_dict().values() for m in (whole, resumed)))),
    "history": bool(np.array_equal(*tables, equal_nan=True)),
    "best": whole.fits[0].best_epoch == resumed.fits[0].best_epoch,
    "epochs": len(resumed.history),
}))
"""


def child(code, *arguments):
    """Start a process; each takes seconds to import the package, so one goes through several scenes."""
    command = [sys.executable, "-c", HEAD + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def last_json(text):
    return json.loads(text.strip().splitlines()[-1])


def epochs_in(folder):
    return max((int(path.stem.split("-")[1]) for path in folder.glob("epoch-*.safetensors")), default=0)


def wait_for(folder, n, process):
    """Wait until there is a checkpoint of epoch ``n`` or later."""
    started = time.monotonic()
    while epochs_in(folder) < n:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() - started < 240
        time.sleep(0.005)


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory):
    """What the spoiled runs print, and the folder of the one whose disk was full.

    Their process comes first, as it may be the one that compiles the kernels: the form that it runs itself may round
    otherwise than the one on disk.
    """
    folder = tmp_path_factory.mktemp("spoiled")
    return output(child(SPOILED, folder)), folder


@pytest.fixture(scope="module")
def cut(tmp_path_factory, spoiled):
    """What the run that Ctrl-C ended says, and the folder of the run that was killed."""
    ended, killed = (tmp_path_factory.mktemp(name) for name in ("ended", "killed"))
    process = child(CUT, ended, killed)
    wait_for(ended, 5, process)
    process.send_signal(signal.SIGINT)
    wait_for(killed, 14, process)  # both play
    process.send_signal(signal.SIGKILL)
    out, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    return last_json(out), killed


def test_a_killed_run_resumes_to_the_same_weights_bit_for_bit(cut):
    _, folder = cut
    assert epochs_in(folder) < 40
    found = last_json(output(child(COMPARE, folder)))
    assert found == {"weights": True, "history": True, "best": True, "epochs": 40}


def test_ctrl_c_ends_cleanly_with_a_usable_model_that_can_go_on(cut):
    found, _ = cut
    assert found["finite"]
    assert found["interrupted"], found
    assert 5 <= found["epochs"] < 2000


def test_a_full_disk_ends_no_run_and_spares_the_checkpoints_before(spoiled):
    # a limit on the size of files makes the operating system refuse the write half-way, as a full disk does
    out, folder = spoiled
    found = last_json(out)["disk"]
    assert "could not be written" in out
    assert found["epochs"] == 8
    assert found["elbos"][0] == found["elbos"][1]
    assert not list(folder.glob(".*partial"))


@pytest.mark.parametrize("likelihood", ["nb", "gaussian"])
def test_poisoned_cells_never_reach_the_weights_and_are_named(likelihood, spoiled):
    for value, row in last_json(spoiled[0])[likelihood].items():
        assert row["named"], (value, row)
        assert row["finite"], (value, row)
        assert row["usable"], (value, row)
        assert row["skipped"] == 10, (value, row)


@pytest.fixture
def make(counts):
    def model(**settings):
        ov.CVAE.setup_anndata(counts, batch_key="batch")
        return ov.CVAE(counts, "nb", 3, n_hidden=16, **settings)

    return model


class Interrupt(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 3:
            raise KeyboardInterrupt


FAST = {"max_epochs": 8, "progress_bar": False, "accelerator": "cpu"}


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": {"target_rate": 4.0}},
        {"lr_schedule": "plateau", "optimizer": "adamw", "weight_decay": 0.01, "gradient_clip_norm": 5.0},
        {"objective": {"total_correlation": 2.0, "schedule": "cyclical", "n_cycles": 2}, "early_stopping_patience": 2},
    ],
)
def test_every_state_is_resumed(make, tmp_path, settings):
    whole, cut, resumed = make(), make(), make()
    stopper = [EarlyStopping("elbo_validation", mode="max", patience=20, min_delta=0.5)]
    whole.train(**FAST, **settings, callbacks=[*stopper, Callback()])
    cut.train(**FAST, **settings, callbacks=[*stopper, Interrupt()], checkpoint_dir=tmp_path)
    assert len(cut.history) == 4
    other = EarlyStopping("elbo_validation", mode="max", patience=20, min_delta=0.5)
    resumed.train(resume_from=tmp_path, progress_bar=False, callbacks=[other, Callback()])
    states = (m.module.state_dict().values() for m in (whole, resumed))
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    np.testing.assert_array_equal(*(m.history.drop(columns="cells_per_second") for m in (whole, resumed)))


def test_a_schedule_of_the_users_own_is_resumed_though_it_lies_elsewhere_in_memory(make, tmp_path):
    class Own:
        settled_step = 1

        def __call__(self, step):
            return min(1.0, step)

    whole, resumed = make(), make()
    whole.train(
        **FAST, objective={"schedule": Own()}, checkpoint_dir=tmp_path, checkpoint_every=5, callbacks=[Callback()]
    )
    (tmp_path / "epoch-000008.safetensors").unlink(missing_ok=True)
    resumed.train(objective={"schedule": Own()}, resume_from=tmp_path, progress_bar=False, callbacks=[Callback()])
    np.testing.assert_array_equal(whole.get_latent_representation(), resumed.get_latent_representation())
    resumed.train(**FAST)  # at the final weight
    assert resumed.history["kl_weight"].iloc[-1] == 1


def test_an_ended_run_resumes_to_itself(make, tmp_path):
    whole, resumed = make(), make()
    whole.train(**FAST, checkpoint_dir=tmp_path, checkpoint_every=3)
    resumed.train(resume_from=tmp_path, progress_bar=False)
    np.testing.assert_array_equal(whole.get_latent_representation(), resumed.get_latent_representation())
    assert len(resumed.history) == 8


class BreakWeights(Callback):
    def on_train_epoch_start(self, trainer, plan):
        if trainer.current_epoch == 5:
            plan.module.encoder.mean.bias.data.fill_(torch.nan)


def test_a_run_that_bad_steps_ended_fails_again_when_resumed(make, tmp_path, caplog):
    ended, resumed, stopped = make(), make(), make()
    with pytest.raises(TrainingError, match="Epoch 6: 1 of 1 steps") as first:
        ended.train(**FAST, checkpoint_dir=tmp_path, callbacks=[BreakWeights()])
    with pytest.raises(TrainingError) as again:
        resumed.train(resume_from=tmp_path, progress_bar=False, callbacks=[BreakWeights()])
    stopped.train(resume_from=tmp_path, progress_bar=False, callbacks=[BreakWeights()], on_bad_steps="stop")
    assert str(again.value) == str(first.value) == caplog.messages[-1]
    for model in (resumed, stopped):
        assert model.fits[0].failure == ended.fits[0].failure
        assert len(model.history) == 6
        np.testing.assert_array_equal(ended.get_latent_representation(), model.get_latent_representation())


def test_a_second_run_can_be_resumed_on_the_saved_model(make, counts, tmp_path):
    model = make()
    model.train(**FAST)
    model.save(tmp_path / "first")
    model.train(**FAST, checkpoint_dir=tmp_path / "ckpt")
    with pytest.raises(SettingError, match="epochs_before: 8 there, 0 here"):
        make().train(resume_from=tmp_path / "ckpt")
    loaded = ov.CVAE.load(tmp_path / "first", adata=counts)
    loaded.train(resume_from=tmp_path / "ckpt", progress_bar=False)
    np.testing.assert_array_equal(model.get_latent_representation(), loaded.get_latent_representation())


def test_a_fresh_run_is_resumed_on_a_new_model(make, tmp_path):
    model, resumed = make(), make()
    model.train(**FAST)
    model.train(**FAST, fresh=True, checkpoint_dir=tmp_path)
    with pytest.raises(SettingError, match="epochs_before: 0 there, 8 here"):
        model.train(resume_from=tmp_path)
    resumed.train(resume_from=tmp_path, progress_bar=False)
    assert len(resumed.history) == 8
    np.testing.assert_array_equal(model.get_latent_representation(), resumed.get_latent_representation())
    model.train(resume_from=tmp_path, fresh=True, progress_bar=False)
    np.testing.assert_array_equal(model.get_latent_representation(), resumed.get_latent_representation())


def test_a_run_of_no_data_is_refused_as_everywhere(make, tmp_path):
    make().train(**FAST, checkpoint_dir=tmp_path / "run")
    model = make()
    model.train(**FAST)
    model.save(tmp_path / "model")
    for settings in ({"resume_from": tmp_path / "run"}, {}):
        with pytest.raises(NotSupportedError, match="data"):
            ov.CVAE.load(tmp_path / "model").train(**settings)


def test_another_model_other_settings_and_a_used_folder_are_refused(make, tmp_path):
    make().train(**FAST, checkpoint_dir=tmp_path)
    with pytest.raises(SettingError, match="of another model"):
        make(dropout_rate=0.2).train(resume_from=tmp_path)
    with pytest.raises(SettingError, match=r"batch_size=32 \(the run has 128\)"):
        make().train(resume_from=tmp_path, batch_size=32)
    with pytest.raises(SettingError, match="had 0 callbacks, 1 were given"):
        make().train(resume_from=tmp_path, callbacks=[Callback()])
    with pytest.raises(SettingError, match="checkpoints of another run"):
        make().train(**FAST, checkpoint_dir=tmp_path)
    make().train(**FAST, train_size=0.9, resume_from=tmp_path)  # the same settings may be given again


@pytest.mark.parametrize("place", ["X", "var_names", "batch", "age", "size", "layer"])
def test_a_run_goes_on_with_the_same_data_only(counts, tmp_path, place):
    counts.obs["size"] = np.linspace(0.5, 1.5, counts.n_obs)
    counts.layers["counts"] = counts.X.copy()
    keys = {"batch_key": "batch", "continuous_covariate_keys": ["age"], "size_factor_key": "size"}

    def train(adata, layer="counts", **settings):
        ov.CVAE.setup_anndata(adata, layer=layer, **keys)
        model = ov.CVAE(adata, "nb", 3, n_hidden=16)
        model.train(progress_bar=False, accelerator="cpu", **settings)
        return model

    train(counts, max_epochs=2, objective={"warmup_epochs": 1}, checkpoint_dir=tmp_path)
    other = counts.copy()
    if place == "X":
        other.layers["counts"].data[0] += 1
    elif place == "var_names":
        other.var_names = other.var_names[::-1]
    elif place != "layer":
        other.obs[place] = other.obs[place].to_numpy()[::-1]
    with pytest.raises(SettingError, match=f"its data differ in.*{'layers' if place == 'X' else place}"):
        train(other, layer=None if place == "layer" else "counts", resume_from=tmp_path)
    renamed = counts.copy()
    renamed.obs_names = [f"sample-{name}" for name in renamed.obs_names]
    assert len(train(renamed, resume_from=tmp_path).history) == 2  # to a network cells have no names


def test_what_was_frozen_does_not_start_with_the_step_count_of_the_rest(make):
    """Adam corrects new moments for their start: without it the first updates are several times too long."""
    model, steps = make(), []
    for trained in (True, False, True):
        for parameter in model.module.encoder.parameters():
            parameter.requires_grad_(trained)
        model.train(**FAST)
        steps.append(int(next(iter(model.state.moments.values()))))
    assert steps == [steps[0], 2 * steps[0], steps[0]]


def test_a_second_run_keeps_the_moments_and_fresh_starts_again(make, caplog):
    model = make()
    model.train(**FAST)
    first, steps = model.get_latent_representation(), int(next(iter(model.state.moments.values())))
    model.train(**FAST)
    assert "Adam's moments, the KL weight held at 1" in caplog.text
    assert int(next(iter(model.state.moments.values()))) == 2 * steps > 0
    model.train(**FAST, fresh=True)
    assert len(model.history) == 8
    np.testing.assert_array_equal(model.get_latent_representation(), first)
