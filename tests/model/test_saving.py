import hashlib
import json

import numpy as np
import pytest

import omicvae as ov
from omicvae._core import NotSupportedError, SavingError
from omicvae.model import saving


def test_a_round_trip_keeps_outputs_history_and_split(fitted, counts, tmp_path):
    fitted.save(tmp_path / "m")
    loaded = ov.CVAE.load(tmp_path / "m", adata=counts)
    np.testing.assert_array_equal(loaded.get_latent_representation(), fitted.get_latent_representation())
    assert loaded.get_elbo() == fitted.get_elbo()
    np.testing.assert_allclose(loaded.history, fitted.history)
    np.testing.assert_array_equal(loaded.validation_indices, fitted.validation_indices)
    assert repr(loaded) == repr(fitted)


def test_levels_keep_their_type(counts, tmp_path):
    counts.obs["batch"] = (counts.obs["batch"] == "b2").astype(int)
    ov.CVAE.setup_anndata(counts, batch_key="batch")
    model = ov.CVAE(counts, "nb", 2, n_hidden=8)
    model.save(tmp_path / "m")
    levels = ov.CVAE.load(tmp_path / "m").schema.categorical[0].levels
    assert levels == (0, 1)
    assert all(isinstance(level, int) for level in levels)


def test_data_can_be_saved_beside_the_model_or_come_later(fitted, counts, tmp_path):
    fitted.save(tmp_path / "with", save_anndata=True)
    assert ov.CVAE.load(tmp_path / "with").adata.shape == counts.shape
    fitted.save(tmp_path / "without")
    bare = ov.CVAE.load(tmp_path / "without")
    with pytest.raises(NotSupportedError, match="adata="):
        bare.get_latent_representation()
    np.testing.assert_array_equal(bare.get_latent_representation(counts), fitted.get_latent_representation())


def test_a_loaded_model_trains_on(fitted, counts, tmp_path):
    fitted.save(tmp_path / "m")
    loaded = ov.CVAE.load(tmp_path / "m", adata=counts)
    loaded.train(max_epochs=2, progress_bar=False)
    assert len(loaded.history) == len(fitted.history) + 2


def test_nothing_is_pickled(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    assert sorted(path.suffix for path in (tmp_path / "m").iterdir()) == [".json", ".safetensors"]


def test_an_existing_model_is_only_replaced_on_request(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    with pytest.raises(SavingError, match="overwrite=True"):
        fitted.save(tmp_path / "m")
    fitted.save(tmp_path / "m", overwrite=True)


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_a_full_disk_leaves_the_old_model_intact(fitted, counts, tmp_path, monkeypatch, fails_at):
    fitted.save(tmp_path / "m")
    expected = fitted.get_latent_representation()
    fitted.train(max_epochs=2, progress_bar=False)
    write, calls = saving.write_atomically, []

    def full(path, writer):
        calls.append(path)
        if len(calls) > fails_at:
            raise OSError(28, "No space left on device")
        write(path, writer)

    monkeypatch.setattr(saving, "write_atomically", full)
    with pytest.raises(SavingError, match=r"No space left.*intact"):
        fitted.save(tmp_path / "m", overwrite=True, save_anndata=True)
    monkeypatch.undo()
    loaded = ov.CVAE.load(tmp_path / "m", adata=counts)
    np.testing.assert_array_equal(loaded.get_latent_representation(), expected)


def test_a_model_saved_before_a_setting_existed_has_its_default(fitted, counts, tmp_path):
    fitted.save(tmp_path / "m")
    state = json.loads((tmp_path / "m/model.json").read_text())
    del state["sha256"], state["config"]["n_pseudo_inputs"]
    for name in ("n_hidden_decoder", "n_layers_decoder", "dropout_rate_decoder", "log_variance_bounds"):
        del state["config"]["architecture"][name]
    state["sha256"] = hashlib.sha256(json.dumps(state).encode()).hexdigest()
    (tmp_path / "m/model.json").write_text(json.dumps(state))
    loaded = ov.CVAE.load(tmp_path / "m", adata=counts)
    assert loaded.config == fitted.config
    np.testing.assert_array_equal(loaded.get_latent_representation(), fitted.get_latent_representation())


def test_other_files_of_the_folder_are_left_alone(fitted, tmp_path):
    (tmp_path / "adata-mine.h5ad").write_text("mine")
    fitted.save(tmp_path)
    fitted.save(tmp_path, overwrite=True)
    assert (tmp_path / "adata-mine.h5ad").read_text() == "mine"


def test_a_model_without_data_saves_its_split_and_no_data(fitted, counts, tmp_path):
    fitted.save(tmp_path / "m")
    bare = ov.CVAE.load(tmp_path / "m")
    with pytest.raises(NotSupportedError, match="without data"):
        bare.save(tmp_path / "n", save_anndata=True)
    bare.save(tmp_path / "n")
    np.testing.assert_array_equal(
        ov.CVAE.load(tmp_path / "n", adata=counts).validation_indices, fitted.validation_indices
    )


def test_backed_data_can_be_saved(counts, tmp_path):
    import anndata as ad

    counts.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    model = ov.CVAE(backed, "nb", 2, n_hidden=8)
    model.save(tmp_path / "m", save_anndata=True)
    assert ov.CVAE.load(tmp_path / "m").adata.shape == counts.shape


def test_missing_and_newer_models_are_explained(fitted, tmp_path):
    with pytest.raises(SavingError, match=r"model\.json is missing"):
        ov.CVAE.load(tmp_path)
    fitted.save(tmp_path / "m")
    state = json.loads((tmp_path / "m/model.json").read_text())
    (tmp_path / "m/model.json").write_text(json.dumps({**state, "schema_version": 99}))
    with pytest.raises(SavingError, match="format 99"):
        ov.CVAE.load(tmp_path / "m")


def test_a_damaged_model_is_explained(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    next((tmp_path / "m").glob("weights-*")).unlink()
    with pytest.raises(SavingError, match="damaged"):
        ov.CVAE.load(tmp_path / "m")
    (tmp_path / "m/model.json").write_text("{")
    with pytest.raises(SavingError, match="damaged"):
        ov.CVAE.load(tmp_path / "m")


@pytest.mark.parametrize("other", ["fewer", "reordered"])
def test_a_model_loaded_with_other_cells_does_not_pretend_to_know_its_split(fitted, counts, tmp_path, other):
    fitted.save(tmp_path / "m")
    rows = np.arange(50) if other == "fewer" else np.arange(counts.n_obs)[::-1]
    loaded = ov.CVAE.load(tmp_path / "m", adata=counts[rows].copy())
    assert loaded.get_latent_representation().shape == (len(rows), 3)
    with pytest.raises(NotSupportedError, match="in their order"):
        loaded.diagnose(umap=False)


@pytest.mark.parametrize("place", ["var_names", "batch", "age"])
def test_a_model_loaded_with_changed_cells_says_in_what_they_differ(fitted, counts, tmp_path, caplog, place):
    fitted.save(tmp_path / "m")
    other = counts.copy()
    if place == "var_names":
        other.var_names = other.var_names[::-1]
    else:
        other.obs[place] = other.obs[place].to_numpy()[::-1]
    loaded = ov.CVAE.load(tmp_path / "m", adata=other)
    assert (
        f"differ from those that the model was made of in adata.{place if place == 'var_names' else 'obs'}"
        in caplog.text
    )
    assert loaded.validation_indices is None
    with pytest.raises(NotSupportedError, match="in their order"):
        loaded.diagnose(umap=False)
    caplog.clear()
    assert ov.CVAE.load(tmp_path / "m", adata=counts).validation_indices is not None
    assert not caplog.records
