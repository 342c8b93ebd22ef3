"""One call for whatever can be judged, its words, its report and its file."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import omicvae as ov
from omicvae._core.errors import DataError, NotSupportedError, SettingError
from omicvae.readers import inputs_of

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def collapsed(train_scvi):
    return train_scvi("SCVI", 40, kl_weight=300.0, setup={"batch_key": "batch"}, n_latent=5, gene_likelihood="nb")


@pytest.fixture(scope="module")
def judged(collapsed):
    return ov.diagnose(collapsed, "cell_type", umap=False)


def test_a_collapsed_fit_is_convicted_and_knows_its_covariates(judged, collapsed):
    assert judged.verdict == "collapsed"
    inputs = judged.inputs
    assert (inputs.origin, inputs.base_measure) == ("scvi-tools SCVI", "counts of 60 features")
    assert list(inputs.covariates) == ["batch"]
    assert (inputs.covariates["batch"] == collapsed.adata.obs["batch"].to_numpy()).all()
    assert inputs.judged_W.tolist() == sorted(collapsed.validation_indices)
    assert (inputs.labels_key, inputs.labels_conditioned) == ("cell_type", False)
    assert inputs.history["kl_weight"].iloc[-1] == pytest.approx(300, rel=1e-3)


def test_the_users_generators_and_the_model_are_left_as_they_were(collapsed):
    torch.manual_seed(5)
    before, training = torch.get_rng_state(), collapsed.module.training
    first = ov.diagnose(collapsed, umap=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert collapsed.module.training == training
    pd.testing.assert_frame_equal(ov.diagnose(collapsed, umap=False).evidence, first.evidence)


def test_each_remedy_heals_and_its_line_is_what_is_run(judged, cells):
    import scvi

    assert len(judged.remedies) == 2
    for remedy in judged.remedies:
        adata = cells.copy()
        scvi.model.SCVI.setup_anndata(adata, batch_key="batch")
        scvi.settings.seed = 0
        assert "n_latent=5, gene_likelihood='nb'" in remedy.line
        names = {"scvi": scvi, "adata": adata}
        exec(remedy.line.replace("early_stopping=True", "early_stopping=True, enable_progress_bar=False"), names)
        again = ov.diagnose(names["model"], "cell_type", umap=False)
        assert again.verdict == "healthy", (remedy.line, str(again))


def test_words_of_other_libraries_offer_only_what_they_have(judged):
    text = str(judged)
    assert not re.search(r"free_bits|target_rate|fresh|ov\.CVAE", text)
    assert "plan_kwargs={'max_kl_weight': 1.0, 'n_epochs_kl_warmup': 40, 'lr': 0.005}" in text.replace("\n      ", "")


def test_words_that_nobody_has_and_runs_that_say_too_little_are_refused(judged):
    with pytest.raises(SettingError, match=r"words='keras' is not known. Choose one of: 'scvi-tools', 'training loop'"):
        ov.diagnose(replace(judged.inputs, words="keras"), umap=False)
    with pytest.raises(DataError, match="run lacks n_cells, which remedies in the words of 'training loop' build on"):
        ov.diagnose(replace(judged.inputs, words="training loop", run={"n_epochs": 3}), umap=False)


def test_evidence_says_the_same_as_the_model(judged, tmp_path):
    for source in (judged, judged.inputs):
        path = ov.write_evidence(source, tmp_path / "run.safetensors")
        read = ov.diagnose(path, umap=False)
        pd.testing.assert_frame_equal(read.evidence, judged.evidence)
        assert str(read) == str(judged)
        assert ov.diagnose(str(path), umap=False).verdict == "collapsed"


def test_the_report_of_a_foreign_fit_knows_what_is_known(judged, tmp_path):
    page = ov.write_report(judged, tmp_path / "report.html").read_text(encoding="utf-8")
    assert judged.headline in page
    for text in (
        "scvi-tools SCVI",
        "300 cells",
        "batch (2 levels)",
        "UMAP of means",
        "gene_likelihood",
        "max_kl_weight",
    ):
        assert text in page
    for text in ("ov.CVAE", "Objective of the last run", "fresh=True"):
        assert text not in page


def test_our_own_models_go_by_their_own_methods(cells, tmp_path):
    model = ov.CVAE(cells, n_hidden=16)
    model.train(5, progress_bar=False)
    expected = model.diagnose("cell_type", umap=False)
    assert str(ov.diagnose(model, "cell_type", umap=False)) == str(expected)
    np.testing.assert_array_equal(inputs_of(model, "cell_type").nll_W, expected.inputs.nll_W)
    assert "Objective of the last run" in ov.write_report(model, tmp_path / "own.html", umap=False).read_text()


def test_what_cannot_be_read_says_what_can(cells, collapsed, tmp_path):
    import scvi

    with pytest.raises(SettingError, match=r"A dict cannot be diagnosed.*ov.audit\(encode="):
        ov.diagnose({})
    with pytest.raises(DataError, match="There is no file"):
        ov.diagnose(tmp_path / "missing")
    adata = cells.copy()
    scvi.model.SCVI.setup_anndata(adata)
    with pytest.raises(NotSupportedError, match="not trained"):
        ov.diagnose(scvi.model.SCVI(adata))
    scvi.model.AmortizedLDA.setup_anndata(adata)
    with pytest.raises(NotSupportedError, match="AmortizedLDA is no model that can be read; SCVI"):
        ov.diagnose(scvi.model.AmortizedLDA(adata))
    with pytest.raises(DataError, match="obs"):
        ov.diagnose(collapsed, "no_such_column")


def test_cells_that_scanvi_was_told_nothing_of_have_no_label(train_scvi, cells):
    adata = cells.copy()
    known = adata.obs["cell_type"].astype(str)
    adata.obs["partly"] = known.where(np.arange(300) % 3 > 0, "Unknown").astype("category")
    model = train_scvi("SCANVI", 2, data=adata, setup={"labels_key": "partly", "unlabeled_category": "Unknown"})
    found = inputs_of(model)
    assert (found.labels_key, found.labels_conditioned) == ("partly", True)
    assert [value is None for value in found.labels_N] == (np.arange(300) % 3 == 0).tolist()
    assert set(found.labels_N[np.arange(300) % 3 > 0]) == set(known)
    assert inputs_of(model, "cell_type").labels_N.tolist() == known.tolist()


def test_minified_data_are_refused(train_scvi):
    model = train_scvi("SCVI", 2)
    model.adata.obsm["X_latent_qzm"], model.adata.obsm["X_latent_qzv"] = model.get_latent_representation(
        return_dist=True
    )
    model.minify_adata()
    with pytest.raises(NotSupportedError, match="minified"):
        ov.diagnose(model)
