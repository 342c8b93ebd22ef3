"""Reports of fitted models: real cells with labels, simulated samples without."""

import warnings

import pandas as pd
import pytest

import omicvae as ov
from omicvae._core import DataError, NotSupportedError, SavingError, SettingError
from omicvae.model.state import ModelState

from ..report.pages import assert_sound, text_of
from .conftest import FAST


@pytest.fixture(scope="module")
def healthy():
    adata = ov.datasets.pbmc68k_counts()
    adata.obs["type"] = pd.Categorical("<b>" + adata.obs["bulk_labels"].astype(str) + "</b> & $kin")
    ov.CVAE.setup_anndata(adata, labels_key="type", categorical_covariate_keys=["phase"])
    model = ov.CVAE(adata, "nb")
    model.train(progress_bar=False)
    return model, model.diagnose(umap=False)


@pytest.fixture(scope="module")
def collapsed():
    adata = ov.datasets.simulate_bulk(300, 100, seed=0)
    ov.CVAE.setup_anndata(adata, batch_key="batch", continuous_covariate_keys=["age"])
    model = ov.CVAE(adata, "gaussian", 5)
    model.train(40, progress_bar=False, objective={"beta": 200.0})
    return model


def shows_all_of(text, diagnosis):
    rows = diagnosis.evidence.astype(str)
    parts = [diagnosis.headline, *rows["check"], *rows["threshold"], *rows["meaning"]]
    parts += [part for remedy in diagnosis.remedies for part in (remedy.why, remedy.line)]
    return [part for part in parts if " ".join(part.split()) not in text] == []


def test_a_healthy_fit_with_labels(healthy, tmp_path):
    model, diagnosis = healthy
    path = model.report(tmp_path / "new" / "report.html", diagnosis=diagnosis)
    assert path == tmp_path / "new" / "report.html"
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    page = path.read_text(encoding="utf-8")
    text = text_of(page)
    assert_sound(page)
    assert diagnosis.verdict == "healthy"
    assert 'class="verdict good"' in page
    assert shows_all_of(text, diagnosis)
    assert "What to try" not in text
    assert "<b>CD14" not in page
    assert "<b>CD14+ Monocyte</b> & $kin" in text
    assert "700 cells × 765 genes" in text
    assert "phase (3 levels)" in text
    assert "Draw" in page  # by the covariate
    assert page.count("<figure") == 9
    assert page.count("data:image/png;base64") >= 4


def test_a_collapsed_fit_without_labels(collapsed, tmp_path):
    diagnosis = collapsed.diagnose(umap=False)
    page = collapsed.report(str(tmp_path / "report.html"), diagnosis=diagnosis).read_text(encoding="utf-8")
    assert_sound(page)
    assert diagnosis.verdict == "collapsed"
    assert 'class="verdict bad"' in page
    assert shows_all_of(text_of(page), diagnosis)
    assert "coloured by k-means classes of the data, as there are no labels" in text_of(page)
    assert "What to try, best first" in page


def test_without_umap_and_with_a_diagnosis_nothing_is_computed(healthy, tmp_path, monkeypatch):
    model, diagnosis = healthy
    monkeypatch.setattr(ov.CVAE, "diagnose", None)
    monkeypatch.setattr(ModelState, "cells", None)
    page = model.report(tmp_path / "report.html", diagnosis=diagnosis, umap=False).read_text(encoding="utf-8")
    assert_sound(page)
    assert "UMAP of" not in page
    assert page.count("<figure") == 7


def test_the_same_seed_gives_the_same_report(counts, tmp_path):
    ov.CVAE.setup_anndata(counts, labels_key="label")
    model = ov.CVAE(counts, "nb", 3, n_hidden=16)
    model.train(**FAST)
    first, again = (model.report(tmp_path / f"{number}.html", seed=1).read_text() for number in range(2))
    assert first == again
    assert "UMAP of draw, purity" in first
    by_donor = model.report(tmp_path / "donor.html", labels_key="donor", seed=2).read_text()
    assert "coloured by donor" in by_donor
    assert "probe of donor, draw" in by_donor
    with pytest.raises(DataError, match="no column 'doner'"):
        model.report(tmp_path / "none.html", labels_key="doner")
    assert not (tmp_path / "none.html").exists()


def test_a_model_that_went_on_and_held_nothing_out(counts, tmp_path):
    ov.CVAE.setup_anndata(counts)
    model = ov.CVAE(counts, "nb", 3, n_hidden=16, prior="vamp")
    model.train(**FAST, train_size=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.train(**FAST, train_size=1.0)
        page = model.report(tmp_path / "report.html").read_text()
    assert_sound(page)
    assert "12 epochs, 2 runs" in page
    assert "120 cells train, 0 validate" in page


def test_a_report_of_nothing_says_what_is_missing(counts, fitted, tmp_path):
    ov.CVAE.setup_anndata(counts)
    with pytest.raises(NotSupportedError, match=r"report\(\) needs a trained model; call train\(\) first"):
        ov.CVAE(counts, "nb", 3).report(tmp_path / "report.html")
    with pytest.raises(SettingError, match=r"what model\.diagnose\(\) returned, got dict"):
        fitted.report(tmp_path / "report.html", diagnosis={})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(healthy, tmp_path, monkeypatch):
    model, diagnosis = healthy
    path = tmp_path / "report.html"
    path.write_text("precious")

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(SavingError, match="No space left on device"):
        model.report(path, diagnosis=diagnosis, umap=False)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_the_step_that_ran_is_shown_and_saved(counts, tmp_path):
    model = ov.CVAE(counts, "nb", 3, n_hidden=16, normalization="layer")
    model.train(**FAST)
    step = model.fits[-1].step
    assert step == "autograd step: layer normalisation has no explicit form"
    diagnosis = model.diagnose(umap=False)
    page = model.report(tmp_path / "report.html", diagnosis=diagnosis, umap=False).read_text(encoding="utf-8")
    assert step in text_of(page)
    model.save(tmp_path / "model")
    assert ov.CVAE.load(tmp_path / "model", counts).fits[-1].step == step
