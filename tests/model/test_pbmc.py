"""The verdicts on real cells: the PBMC counts that ship inside scanpy (700 cells × 765 genes, ten labels)."""

from dataclasses import replace

import numpy as np
import pytest

import omicvae as ov
from omicvae.diagnostics import diagnose
from omicvae.model.inputs import gather_inputs


def fit(n_latent, **training):
    adata = ov.datasets.pbmc68k_counts()
    ov.CVAE.setup_anndata(
        adata,
        labels_key="bulk_labels",
        categorical_covariate_keys=["phase"],
        continuous_covariate_keys=["S_score", "G2M_score"],
    )
    model = ov.CVAE(adata, "nb", n_latent)
    model.train(progress_bar=False, **training)
    return model


@pytest.fixture(scope="module")
def healthy():
    model = fit(10)
    return model, model.diagnose()


@pytest.fixture(scope="module")
def collapsed():
    model = fit(32, objective={"beta": 3.0, "reduction": "mean"})
    return model, model.diagnose(umap=False)


def values(diagnosis):
    return diagnosis.evidence.set_index("check")["value"]


def test_the_default_fit_is_healthy(healthy):
    _, diagnosis = healthy
    assert diagnosis.verdict == "healthy"
    assert not diagnosis.remedies


def test_its_latent_classifies_like_pca(healthy):
    checks = values(healthy[1])
    least = checks["probe of bulk_labels, PCA"] - 0.04  # the standard error over ten types of 700 cells is near 0.025
    assert checks["probe of bulk_labels, standardised means"] >= least
    assert checks["probe of bulk_labels, draw"] >= least


def test_the_mean_mean_fit_is_collapsed(collapsed):
    _, diagnosis = collapsed
    checks = values(diagnosis)
    assert diagnosis.verdict == "collapsed"
    assert checks["rate (KL)"] < 0.05
    assert checks["active units"] == 0
    assert checks["decoder use"] < 2
    assert checks["gain over null"] < 1


def test_its_draw_classifies_no_better_than_permuted_labels_while_its_means_look_fine(collapsed):
    _, diagnosis = collapsed
    checks = values(diagnosis)
    draw = diagnosis.evidence.set_index("check").loc["probe of bulk_labels, draw"]
    assert not draw["passed"]  # above the 95 % interval of permuted labels
    assert checks["probe of bulk_labels, standardised means"] > checks["probe of bulk_labels, draw"] + 0.3


def test_the_verdict_comes_from_evidence_and_not_from_settings(collapsed, healthy):
    for model, diagnosis in (collapsed, healthy):
        told, fits = model.objective, model.fits
        model.state.objective = {"beta": 1.0 if told["reduction"] == "mean" else 72.0, "schedule": "linear"}
        history = fits[0].history.assign(kl_weight=fits[0].history["kl_weight"] / fits[0].history["kl_weight"].max())
        model.state.fits = [replace(fits[0], history=history)]
        again = model.diagnose(umap=False)
        model.state.objective, model.state.fits = told, fits
        assert again.verdict == diagnosis.verdict


def test_dead_dimensions_change_no_verdict(healthy):
    model, diagnosis = healthy
    evidence = gather_inputs(model.state, "bulk_labels", 0)
    rng = np.random.default_rng(0)
    n, w = len(evidence.mean_NK), len(evidence.kl_WK)
    wide = replace(
        evidence,
        mean_NK=np.hstack([evidence.mean_NK, np.zeros((n, 5))]),
        sd_NK=np.hstack([evidence.sd_NK, np.ones((n, 5))]),
        draw_NK=np.hstack([evidence.draw_NK, rng.standard_normal((n, 5))]),
        kl_WK=np.hstack([evidence.kl_WK, np.zeros((w, 5))]),
        prior_mean_NK=None,
        prior_sd_NK=None,
    )
    assert diagnose(wide, umap=False).verdict == diagnosis.verdict


def test_the_remedy_runs_as_the_diagnosis_prints_it_and_heals(collapsed):  # changes the model: stays last
    model, diagnosis = collapsed
    model.train(progress_bar=False, objective=diagnosis.remedies[0])
    assert model.diagnose(umap=False).verdict == "healthy"
