"""What ``measure`` hands to the checks, on small evidence."""

from dataclasses import replace

import numpy as np
import pytest

from omicvae._core.errors import DataError
from omicvae.diagnostics import measure
from omicvae.diagnostics.inputs import SPREAD_CELLS
from omicvae.diagnostics.probing import DRAW, MEANS, PCA


@pytest.fixture(scope="module")
def evidence(sim):
    found = sim.healthy(n_cells=150, n_judged=40, n_latent=4, n_active=4, gain=30.0, use=100.0, rate=8.0)
    frequent_N = np.where(found.labels_N == "type 0", "type 0", "other").astype(object)
    return replace(found, labels_N=frequent_N)


@pytest.fixture(scope="module")
def unlabelled(evidence):
    return replace(evidence, labels_N=None)


@pytest.fixture(scope="module")
def measured(evidence):
    return measure(replace(evidence, covariates={"donor": evidence.labels_N}), umap=False)


def test_every_check_gets_its_arrays(evidence, measured):
    assert (measured.n_cells, measured.planned_epochs, measured.non_finite, measured.umap) == (150, 40, {}, None)
    assert measured.null_nll == pytest.approx(evidence.null_nll_W.mean())
    assert measured.null_sd == pytest.approx(evidence.null_nll_W.std())
    assert measured.usage.rate.mean == pytest.approx(8)
    assert measured.use.cost.mean == pytest.approx(100)
    assert measured.gain.gain.mean == pytest.approx(30)
    assert measured.gain.gap == measured.curves.gap == pytest.approx(10)
    assert measured.reconstruction_gain == pytest.approx(38)
    assert (measured.excess.rate, measured.excess.gain) == (measured.usage.rate.mean, measured.gain.gain.mean)
    assert measured.excess.mismatch is not None
    assert measured.curves.n_epochs == 40


def test_draw_means_and_pca_are_probed_for_the_labels(evidence, measured):
    probes = measured.probes
    assert (probes.key, probes.fallback, probes.conditioned) == ("cell_type", False, False)
    assert list(probes.scores) == [DRAW, MEANS, PCA]
    accuracy = {title: pair[0].balanced_accuracy for title, pair in probes.scores.items()}
    assert accuracy[DRAW] < accuracy[MEANS]
    assert [pair[1].classifier for pair in probes.scores.values()] == ["knn"] * 3
    assert probes.lost.mean == pytest.approx(accuracy[PCA] - accuracy[DRAW])
    table = probes.scores_table()
    assert len(table) == 6
    assert table["representation"].tolist() == [DRAW, DRAW, MEANS, MEANS, PCA, PCA]
    assert set(measured.leakage.scores) == {"donor"}
    other = measure(
        replace(evidence, draw_NK=evidence.reference_NK, labels_conditioned=True, labels_key=None), umap=False
    )
    assert (other.probes.key, other.probes.conditioned, other.probes.lost.mean) == ("labels", True, 0)


@pytest.mark.parametrize("labels", [None, "constant"])
def test_classes_cut_from_the_data_stand_in_where_no_labels_can_be_probed(evidence, labels):
    labels_N = None if labels is None else np.full(150, labels, dtype=object)
    alone = replace(evidence, labels_N=labels_N)
    assert measure(alone, umap=False).probes is None
    probes = measure(replace(alone, fallback_groups_N=evidence.labels_N), umap=False).probes
    assert (probes.key, probes.fallback, probes.gain) == ("k-means classes", True, pytest.approx(30))
    # labels that can be probed come first
    both = measure(replace(evidence, fallback_groups_N=evidence.labels_N), umap=False)
    assert not both.probes.fallback


def test_units_of_the_prior_are_taken_out(unlabelled, measured):
    shift, scale = 5.0, 12.0
    moved = replace(
        unlabelled,
        mean_NK=shift + scale * unlabelled.mean_NK,
        sd_NK=scale * unlabelled.sd_NK,
        prior_mean_NK=np.full_like(unlabelled.mean_NK, shift),
        prior_sd_NK=np.full_like(unlabelled.sd_NK, scale),
    )
    found = measure(moved, umap=False)
    np.testing.assert_allclose(found.usage.variance_K, measured.usage.variance_K)
    np.testing.assert_allclose(found.excess.mismatch.gaussian_K, measured.excess.mismatch.gaussian_K)
    assert measure(replace(unlabelled, gaussian_prior=False), umap=False).excess.mismatch is None


def test_narrower_posteriors_that_surely_lose_excuse_a_draw(evidence, measured):
    worse = {4.0: evidence.elbo_W - 1.0 + 0.01 * np.arange(40)}
    found = measure(replace(evidence, tempered_SW=worse), umap=False)
    assert found.excess.change[4.0].mean == pytest.approx(-1 + 0.01 * 19.5)
    assert found.probes.narrow_enough
    assert not measure(evidence, umap=False).probes.narrow_enough


def test_the_gap_is_that_of_training_cells_where_they_are_known(unlabelled):
    null_T = 500 + np.arange(60.0)
    found = measure(replace(unlabelled, train_elbo_T=70 - null_T, train_null_nll_T=null_T), umap=False)
    assert found.gain.gap == pytest.approx(40)
    assert found.null_sd == pytest.approx(np.concatenate([unlabelled.null_nll_W, null_T]).std())
    assert np.isnan(measure(replace(unlabelled, history=unlabelled.history.iloc[:0]), umap=False).gain.gap)


def test_the_spread_of_few_cells_is_unknown(sim):
    known = sim.healthy(n_cells=40, n_judged=SPREAD_CELLS, labels_N=None)
    assert np.isfinite(known.null_spread)
    assert sim.healthy(n_cells=40, n_judged=SPREAD_CELLS - 1, labels_N=None).null_spread == np.inf


@pytest.mark.parametrize("name", ["mean_NK", "sd_NK", "draw_NK", "kl_WK", "nll_W", "nll_permuted_W"])
def test_what_is_not_finite_leaves_every_reading_of_the_latent_unknown(unlabelled, name):
    broken = getattr(unlabelled, name).copy()
    broken[3] = np.inf
    found = measure(replace(unlabelled, **{name: broken}), umap=False)
    assert found.non_finite == {name: broken[3].size}
    readings = (found.usage.rate.mean, found.use.cost.mean, found.gain.gain.mean, found.reconstruction_gain)
    assert np.isnan(readings).all()
    assert np.isnan(found.usage.kl_K).all()
    assert (found.probes, found.information, found.leakage.scores, found.n_cells) == (None, None, {}, 150)
    assert found.null_nll == pytest.approx(unlabelled.null_nll_W.mean())


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("sd_NK", 149),
        ("draw_NK", 151),
        ("prior_mean_NK", 149),
        ("judged_W", 41),
        ("cell_names_N", 149),
        ("nll_W", 39),
        ("nll_permuted_W", 39),
        ("null_nll_W", 41),
    ],
)
def test_arrays_of_another_length_are_refused(evidence, name, rows):
    given = (
        evidence.mean_NK
        if name == "prior_mean_NK"
        else np.zeros(1)
        if getattr(evidence, name) is None
        else getattr(evidence, name)
    )
    resized = np.resize(given, (rows, *given.shape[1:]))
    with pytest.raises(DataError, match=rf"{name} must have shape \("):
        replace(evidence, **{name: resized})


@pytest.mark.parametrize("name", ["reference_NK", "labels_N", "fallback_groups_N", "donor"])
def test_what_belongs_to_cells_has_a_row_for_each(evidence, name):
    values = {"covariates": {"donor": np.zeros(3)}} if name == "donor" else {name: np.zeros((3, 4))}
    with pytest.raises(DataError, match=f"{name} must have one row for each of the 150 cells, got 3"):
        replace(evidence, **values)


@pytest.mark.parametrize("mean_NK", [np.zeros(4), np.zeros((0, 4)), np.zeros((4, 0))])
def test_means_are_cells_by_dimensions(evidence, mean_NK):
    with pytest.raises(DataError, match="mean_NK must be cells × dimensions and not empty"):
        replace(evidence, mean_NK=mean_NK)


def test_a_diagnosis_needs_a_judged_cell(evidence):
    with pytest.raises(DataError, match="at least one cell in kl_WK"):
        replace(evidence, kl_WK=np.empty((0, 4)))


def test_curves_of_training_cells_alone_promise_no_more_than_these_are_better_off(evidence):
    rising = evidence.history.copy()
    rising["recon_train"] -= 2.0 * np.arange(len(rising))
    alone = rising[[name for name in rising.columns if not name.endswith("_validation")]]
    better = {"train_elbo_T": evidence.elbo_W, "train_null_nll_T": evidence.null_nll_W}
    generalising = measure(replace(evidence, history=alone, **better), umap=False)
    assert generalising.bound_still_rises
    memorising = {**better, "train_elbo_T": evidence.elbo_W + 100}
    assert not measure(replace(evidence, history=alone, **memorising), umap=False).bound_still_rises
    assert measure(replace(evidence, history=rising, **memorising), umap=False).curves.has_validation


def test_curves_without_losses_are_not_judged(evidence):
    found = measure(replace(evidence, history=evidence.history[["kl_weight"]]), umap=False)
    (row,) = (row for row in found.rows() if row.check == "still improving")
    assert row.passed is None
