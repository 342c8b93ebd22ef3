"""What is given in another form than documented: the obvious thing is done, or an error of ours names the fix."""

from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch

import omicvae as ov
from omicvae._core import DataError, NotSupportedError, SettingError
from omicvae.model.state import rows_of
from omicvae.training import hardware


class MuData:
    """Stands for mudata's class of that name."""


OTHERS = [
    (pd.DataFrame(np.ones((4, 3))), "DataFrame; make one by anndata.AnnData"),
    (Path("a.h5ad"), "read_h5ad"),
    ("a.h5ad", "read_h5ad"),
    (MuData(), "modalities"),
    (np.ones((4, 3)), "ndarray; make one"),
    (5, "int; make one"),
]


@pytest.mark.parametrize(("given", "fix"), OTHERS)
def test_something_else_than_an_anndata(given, fix, fitted, tmp_path):
    fitted.save(tmp_path / "m")
    entries = [
        ov.CVAE,
        ov.CVAE.setup_anndata,
        ov.tl.cvae,
        fitted.get_latent_representation,
        fitted.get_elbo,
        fitted.get_normalized_expression,
        lambda adata: ov.CVAE.load(tmp_path / "m", adata),
        lambda adata: fitted.write_latent(adata=adata),
    ]
    for entry in entries:
        with pytest.raises(DataError, match=f"must be an AnnData, got a .*{fix}"):
            entry(given)


def test_indices_are_numbers_a_mask_or_a_slice():
    assert rows_of(slice(2, 8, 2), 10).tolist() == [2, 4, 6]
    assert rows_of(slice(-2, None), 10).tolist() == [8, 9]
    assert rows_of([1.0, 3.0], 10).tolist() == [1, 3]
    for wrong in ("cell1", ["cell1"], [None], [np.nan], [[0, 1]], [np.inf], [1 + 0j], {"a": 1}):
        with pytest.raises(SettingError, match=r"get_indexer"):
            rows_of(wrong, 10)
    with pytest.raises(SettingError, match="no cell"):
        rows_of(slice(20, None), 10)


@pytest.mark.parametrize("role", ["batch_key", "labels_key", "categorical_covariate_keys", "size_factor_key"])
@pytest.mark.parametrize("value", [["b1"], {"b": 1}])
def test_lists_and_dicts_in_an_obs_column(counts, role, value):
    counts.obs["batch"] = pd.Series([value] * counts.n_obs, index=counts.obs_names)
    with pytest.raises(DataError, match=rf"obs\['batch'\] holds a {type(value).__name__}"):
        ov.CVAE.setup_anndata(counts, **{role: "batch"})


def test_an_obs_column_that_stands_twice(counts):
    counts.obs = pd.concat([counts.obs, counts.obs[["batch"]]], axis=1)
    with pytest.raises(DataError, match="2 columns named 'batch'"):
        ov.CVAE.setup_anndata(counts, batch_key="batch")


class Epochs(pl.Callback):
    """Counts."""

    seen = 0

    def on_train_epoch_end(self, trainer, pl_module):
        self.seen += 1


def test_one_callback_needs_no_list_and_csv_is_a_logger(counts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, callback = ov.CVAE(counts, "nb", 2, n_hidden=8), Epochs()
    with pytest.raises(SettingError, match="'csv'"):
        model.train(2, logger="wandb", progress_bar=False)
    model.train(2, callbacks=callback, logger="csv", progress_bar=False)
    assert callback.seen == 2
    assert list(tmp_path.glob("omicvae_logs/**/metrics.csv"))


def test_a_scheduler_does_not_disturb_one_device(counts, monkeypatch):
    slurm = {"NTASKS": 4, "JOB_ID": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0, "NTASKS_PER_NODE": 4, "JOB_NAME": "x"}
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    model = ov.CVAE(counts, "nb", 2, n_hidden=8)
    model.train(2, progress_bar=False)
    assert len(model.history) == 2


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "mps"])
def test_a_device_that_is_not_there(accelerator):
    with pytest.raises(NotSupportedError, match=r'not usable here.*Pass "auto"'):
        hardware(accelerator, "auto", "auto")


def test_an_unknown_accelerator():
    with pytest.raises(SettingError, match="'cpu'"):
        hardware("tpuu", "auto", "auto")
