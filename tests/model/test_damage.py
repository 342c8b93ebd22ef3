"""Damaged saves and checkpoints: any byte, any JSON of another form; a SavingError or the same model, nothing else."""

import contextlib
import hashlib
import json
import shutil

import numpy as np
import pytest
from anndata import AnnData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import omicvae as ov
from omicvae._core import SavingError
from omicvae.training.checkpoint import read_checkpoint

bounded = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
places = st.floats(0, 1, exclude_max=True)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 40) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A trained model, its folder, and that of its checkpoints."""
    folder = tmp_path_factory.mktemp("saved")
    adata = AnnData(np.random.default_rng(0).poisson(2.0, (60, 12)).astype(np.float32))
    model = ov.CVAE(adata, "nb", 2, n_hidden=4)
    model.train(3, progress_bar=False, accelerator="cpu", checkpoint_dir=folder / "checkpoints")
    model.save(folder / "model", save_anndata=True)
    return model, folder / "model", folder / "checkpoints"


def damage(path, place, change):
    """Change one byte, or with a change of 0 cut the file there."""
    content = bytearray(path.read_bytes())
    at = int(place * len(content))
    if change:
        content[at] ^= change
    path.write_bytes(content if change else content[:at])


@bounded
@given(st.sampled_from(["model.json", "weights-*", "adata-*"]), places, st.integers(0, 255))
def test_one_byte_of_a_save(saved, tmp_path, name, place, change):
    model, folder, _ = saved
    shutil.copytree(folder, tmp_path / "m", dirs_exist_ok=True)
    damage(next((tmp_path / "m").glob(name)), place, change)
    loaded = None
    with contextlib.suppress(SavingError):
        loaded = ov.CVAE.load(tmp_path / "m")
    shutil.rmtree(tmp_path / "m")
    if loaded is not None:  # white space, or a byte of the same meaning
        assert name == "model.json"
        np.testing.assert_array_equal(loaded.get_latent_representation(), model.get_latent_representation())


@bounded
@given(st.data())
def test_json_of_another_form(saved, tmp_path, data):
    record = json.loads((saved[1] / "model.json").read_text())
    forged = data.draw(st.booleans())  # with a checksum that is right
    if forged:
        del record["sha256"]
        record |= {"adata": None}
    part = record
    while True:
        key = data.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        if isinstance(part[key], dict | list) and part[key] and data.draw(st.booleans()):
            part = part[key]
        else:
            break
    before, part[key] = part[key], data.draw(json_values)
    shutil.copytree(saved[1], tmp_path / "m", dirs_exist_ok=True)
    if forged:
        record["sha256"] = hashlib.sha256(json.dumps(record).encode()).hexdigest()
    (tmp_path / "m/model.json").write_text(json.dumps(record))
    if forged:
        with contextlib.suppress(SavingError):
            ov.CVAE.load(tmp_path / "m")
    elif json.dumps(before) != json.dumps(part[key]):
        with pytest.raises(SavingError):
            ov.CVAE.load(tmp_path / "m")


@pytest.mark.parametrize("text", ["", "[]", "null", "5", '"x"', "{}", "[" * 100_000, '{"schema_version": "1"}', "\xff"])
def test_another_file_in_place_of_the_record(saved, tmp_path, text):
    model, folder, _ = saved
    shutil.copytree(folder, tmp_path / "m")
    (tmp_path / "m/model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(SavingError, match="damaged"):
        ov.CVAE.load(tmp_path / "m")
    model.save(tmp_path / "m", overwrite=True)  # what cannot be read can be replaced
    ov.CVAE.load(tmp_path / "m")


def test_a_flipped_bit_of_the_weights_is_found(saved, tmp_path):
    shutil.copytree(saved[1], tmp_path / "m")
    damage(next((tmp_path / "m").glob("weights-*")), 0.999, 1)
    with pytest.raises(SavingError, match="checksum of weights"):
        ov.CVAE.load(tmp_path / "m")


@bounded
@given(places, st.integers(0, 255))
def test_one_byte_of_the_newest_checkpoint(saved, tmp_path, place, change):
    shutil.copytree(saved[2], tmp_path / "c", dirs_exist_ok=True)
    before, newest = sorted((tmp_path / "c").iterdir())
    damage(newest, place, change)
    assert len(read_checkpoint(tmp_path / "c")["run"]["rows"]) in (2, 3)
    damage(before, place, change)
    with contextlib.suppress(SavingError):
        assert len(read_checkpoint(tmp_path / "c")["run"]["rows"]) in (2, 3)
    shutil.rmtree(tmp_path / "c")


def test_a_flipped_bit_of_a_checkpoint_is_found_and_the_one_before_resumed(saved, tmp_path, caplog):
    model, _, folder = saved
    shutil.copytree(folder, tmp_path / "c")
    before, newest = sorted((tmp_path / "c").iterdir())
    damage(newest, 0.999, 1)
    again = ov.CVAE(model.adata, "nb", 2, n_hidden=4)
    again.train(resume_from=tmp_path / "c", progress_bar=False, accelerator="cpu")
    assert f"passed over for {before.name}" in caplog.text
    np.testing.assert_array_equal(again.get_latent_representation(), model.get_latent_representation())
