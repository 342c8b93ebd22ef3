import math

import pytest
import torch

from omicvae._core import SavingError
from omicvae.training.checkpoint import has_checkpoint, read_checkpoint, write_checkpoint


def checkpoint(value):
    return {"module": {"w": torch.full((4,), float(value))}, "epochs": value}


def test_the_newest_is_read_and_two_are_kept(tmp_path):
    assert not has_checkpoint(tmp_path)
    for epoch in (1, 2, 10):
        write_checkpoint(tmp_path, epoch, checkpoint(epoch))
    assert has_checkpoint(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-000002.safetensors", "epoch-000010.safetensors"]
    newest = read_checkpoint(tmp_path)
    assert newest["epochs"] == 10
    assert torch.equal(newest["module"]["w"], torch.full((4,), 10.0))


def test_a_damaged_one_is_passed_over(tmp_path):
    write_checkpoint(tmp_path, 1, checkpoint(1))
    write_checkpoint(tmp_path, 2, checkpoint(2))
    newest = tmp_path / "epoch-000002.safetensors"
    newest.write_bytes(newest.read_bytes()[:50])
    assert read_checkpoint(tmp_path)["epochs"] == 1
    (tmp_path / "epoch-000001.safetensors").write_bytes(b"")
    with pytest.raises(SavingError, match="damaged"):
        read_checkpoint(tmp_path)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(SavingError, match="no checkpoint"):
        read_checkpoint(tmp_path)


def test_views_of_one_block_of_memory_are_written_apart(tmp_path):
    block = torch.arange(6.0)
    write_checkpoint(tmp_path, 1, {"a": block[:4], "b": [block[4:]]})
    tensors = read_checkpoint(tmp_path)
    assert tensors["a"].tolist() == [0, 1, 2, 3]
    assert tensors["b"][0].tolist() == [4, 5]


def test_the_state_of_callbacks_survives(tmp_path):
    state = {"wait": 3, "best": torch.tensor(1.5), "paths": {"a.ckpt": torch.tensor([2], dtype=torch.int64)}, "n": None}
    state |= {"tensor": (1, [2.5, True]), "path": tmp_path, "worst": math.inf}
    write_checkpoint(tmp_path, 1, state)
    again = read_checkpoint(tmp_path)
    assert again["wait"] == 3
    assert again["n"] is None
    assert torch.equal(again["best"], state["best"])
    assert again["paths"]["a.ckpt"].dtype == torch.int64
    assert (again["tensor"], again["path"], again["worst"]) == ([1, [2.5, True]], str(tmp_path), math.inf)


def test_a_checkpoint_of_a_newer_version_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("omicvae.training.checkpoint.FORMAT", 2)
        write_checkpoint(tmp_path, 1, checkpoint(1))
    with pytest.raises(SavingError, match="newer omicvae"):
        read_checkpoint(tmp_path)
