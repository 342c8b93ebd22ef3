"""Verdicts on evidence with known truth: DESIGN's table of PBMC fits, and what must not change a verdict."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from omicvae._core.errors import DataError
from omicvae.diagnostics import RULES, Remedy, diagnose, measure, ranked_remedies
from omicvae.diagnostics.remedies import DEARER

TRUTH = {
    "healthy": "healthy",
    "partial": "partial_collapse",
    "faint": "partial_collapse",
    "collapsed": "collapsed",
    "noise": "overfit",
    "far_from_the_prior": "under_regularised",
}


def verdict_of(evidence):
    return diagnose(evidence, umap=False).verdict


@pytest.mark.parametrize(("name", "verdict"), TRUTH.items())
def test_known_fits_get_their_verdict(sim, name, verdict):
    evidence = getattr(sim, name)()
    diagnosis = diagnose(evidence, umap=False)
    assert diagnosis.verdict == verdict
    assert bool(diagnosis.remedies) == (verdict != "healthy")
    # without labels nothing worse than partial collapse can be missed, and nothing is invented
    unlabelled = replace(evidence, labels_N=None)
    assert (verdict_of(unlabelled) == "collapsed") == (verdict == "collapsed")


def test_collapsed_fit_is_convicted_although_its_means_classify_perfectly(sim):
    diagnosis = diagnose(sim.collapsed(), umap=False)
    scores = diagnosis.probes.query("classifier == 'logistic'").set_index("representation")["balanced_accuracy"]
    assert scores["standardised means"] > 0.9
    assert scores["posterior draw"] <= diagnosis.probes["permuted_high"].iloc[0]
    assert "no better than chance" in diagnosis.headline


@pytest.mark.parametrize("name", ["healthy", "faint", "collapsed"])
def test_settings_change_no_verdict(sim, name):
    evidence = getattr(sim, name)()
    history = evidence.history.assign(kl_weight=evidence.history["kl_weight"] * 1e4, loss_train=1.0)
    altered = replace(
        evidence,
        history=history,
        schedule_settled_epoch=39.0,
        planned_epochs=7,
    )
    assert verdict_of(altered) == TRUTH[name]


@pytest.mark.parametrize("name", TRUTH)
def test_dead_dimensions_change_no_verdict(sim, name):
    evidence = getattr(sim, name)()
    rng = np.random.default_rng(5)
    n, dead = len(evidence.mean_NK), 16
    widened = replace(
        evidence,
        mean_NK=np.hstack([evidence.mean_NK, np.zeros((n, dead))]),
        sd_NK=np.hstack([evidence.sd_NK, np.ones((n, dead))]),
        draw_NK=np.hstack([evidence.draw_NK, rng.normal(size=(n, dead))]),
        kl_WK=np.hstack([evidence.kl_WK, np.zeros((len(evidence.kl_WK), dead))]),
    )
    diagnosis = diagnose(widened, umap=False)
    assert diagnosis.verdict == TRUTH[name]
    if name == "healthy":
        assert any("16 of 48 dimensions are unused" in remark for remark in diagnosis.remarks)


@pytest.mark.parametrize("gain", [-1e-9, -0.01, -50.0])
@pytest.mark.parametrize("rate", [0.01, 0.5, 12.0])
def test_a_gain_at_or_below_zero_never_acquits(sim, gain, rate):
    assert verdict_of(sim.healthy(gain=gain, rate=rate, labels_N=None)) != "healthy"


def test_a_dead_latent_of_data_without_structure_is_no_illness(sim):
    for evidence in (sim.collapsed(labels_N=None), sim.noise(labels_N=None)):
        diagnosis = diagnose(replace(evidence, structure=sim.no_structure), umap=False)
        assert diagnosis.verdict == "no_signal"
        assert diagnosis.remedies == ()
        assert "KL near 0 is right" in diagnosis.headline
        assert not {"collapsed", "partial_collapse"} & set(diagnosis.findings)
    assert verdict_of(sim.collapsed(structure=sim.structure)) == "collapsed"
    # a latent that pays on new cells has found something, whatever one direction across genes shows
    assert verdict_of(sim.healthy(structure=sim.no_structure)) == "healthy"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "healthy"), (1.2, "healthy"), (6.0, "under_regularised")])
def test_distance_from_the_prior_counts_by_what_it_wastes(sim, factor, verdict):
    diagnosis = diagnose(sim.far_from_the_prior(factor), umap=False)
    assert diagnosis.verdict == verdict
    if verdict != "healthy":
        assert diagnosis.remedies[0]["beta"] == 1.0
        assert "overfit" not in diagnosis.findings


@pytest.mark.parametrize(
    ("name", "power", "nats", "verdict"),
    [
        ("healthy", 1 / 4, 0.5, "healthy"),
        ("healthy", 1 / 4, 20.0, "under_regularised"),
        ("healthy", 4.0, 1.0, "healthy"),
        ("healthy", 4.0, 40.0, "partial_collapse"),
        ("collapsed", 4.0, 40.0, "collapsed"),
    ],
)
def test_posteriors_that_pay_when_tempered_are_too_narrow_or_too_wide(sim, name, power, nats, verdict):
    evidence = getattr(sim, name)(labels_N=None)
    spread = np.random.default_rng(3).normal(0, 0.1, len(evidence.elbo_W))
    changes = {s: -1.0 + 0 * spread for s in (1 / 4, 4.0)} | {power: nats + spread}
    diagnosis = diagnose(
        replace(evidence, tempered_SW={s: evidence.elbo_W + d for s, d in changes.items()}), umap=False
    )
    assert diagnosis.verdict == verdict
    rows = diagnosis.evidence.set_index("check")
    assert rows.loc["rate that buys nothing", "passed"] == (verdict != "under_regularised")
    assert rows.loc["posterior too wide", "passed"] == (nats < 40)
    if verdict == "partial_collapse":
        assert "told more" in diagnosis.headline


def test_a_draw_that_tells_as_much_as_pays_has_lost_nothing(sim):
    evidence = sim.partial()
    assert verdict_of(evidence) == "partial_collapse"
    spread = np.random.default_rng(4).normal(0, 0.1, len(evidence.elbo_W))
    worse = {s: evidence.elbo_W - 1.0 + spread for s in (1 / 4, 4.0)}
    diagnosis = diagnose(replace(evidence, tempered_SW=worse), umap=False)
    assert diagnosis.verdict == "healthy"
    assert any("well below PCA" in remark for remark in diagnosis.remarks)


def test_memorising_is_overfit_also_where_the_codes_are_far_from_the_prior(sim):
    evidence = sim.far_from_the_prior(labels_N=None, gain=-600, history=sim.history(gap=2000))
    diagnosis = diagnose(evidence, umap=False)
    assert diagnosis.verdict == "overfit"
    assert "under_regularised" in diagnosis.findings


@pytest.mark.parametrize("name", ["healthy", "partial", "collapsed", "noise", "far_from_the_prior"])
def test_units_of_the_latent_space_change_no_verdict(sim, name):
    # a prior of another width and place, with everything expressed in it
    evidence = getattr(sim, name)()
    shift, scale = 5.0, 12.0
    moved = replace(
        evidence,
        mean_NK=shift + scale * evidence.mean_NK,
        sd_NK=scale * evidence.sd_NK,
        draw_NK=shift + scale * evidence.draw_NK,
        prior_mean_NK=np.full_like(evidence.mean_NK, shift),
        prior_sd_NK=np.full_like(evidence.sd_NK, scale),
    )
    assert verdict_of(moved) == TRUTH[name]


@pytest.mark.parametrize("name", ["healthy", "collapsed", "noise", "far_from_the_prior"])
def test_genes_that_nobody_explains_change_no_verdict(sim, name):
    # more genes of noise add the same to every likelihood and nothing to their differences
    evidence = getattr(sim, name)()
    extra_W = 3000 + 50 * np.random.default_rng(1).normal(size=len(evidence.nll_W))
    history = evidence.history.copy()
    for column in ("loss_train", "recon_train", "loss_validation", "recon_validation"):
        history[column] += 3000
    history["elbo_validation"] -= 3000
    added = replace(
        evidence,
        nll_W=evidence.nll_W + extra_W,
        nll_permuted_W=evidence.nll_permuted_W + extra_W,
        null_nll_W=evidence.null_nll_W + extra_W,
        history=history,
    )
    assert verdict_of(added) == TRUTH[name]


def test_a_gain_that_does_not_come_from_z_acquits_nobody(sim):
    # covariates that interact: the decoder explains more than the z-free model, and ignores z
    evidence = sim.healthy(use=0.0, labels_N=None)
    assert verdict_of(replace(evidence, structure=sim.structure)) == "collapsed"
    assert verdict_of(replace(evidence, structure=sim.no_structure)) == "no_signal"


def test_labels_that_pca_reads_are_a_signal(sim):
    evidence = sim.collapsed(structure=sim.no_structure)
    assert verdict_of(evidence) == "collapsed"
    assert verdict_of(replace(evidence, labels_N=None)) == "no_signal"


def test_the_gap_is_one_of_gains_where_training_cells_were_judged_too(sim):
    rng = np.random.default_rng(0)
    deeper = sim.healthy(labels_N=None, history=sim.history(gap=400))  # bounds differ: the cells do, not the fit
    null_T = 150 + 150 * rng.normal(size=200)

    def with_gain(gain):
        return replace(deeper, train_elbo_T=gain + 8 * rng.normal(size=200) - null_T, train_null_nll_T=null_T)

    assert verdict_of(with_gain(50)) == "healthy"
    assert verdict_of(with_gain(250)) == "overfit"
    assert measure(with_gain(250), umap=False).gain.gap == pytest.approx(204, abs=3)


def test_one_judged_cell_does_not_prove_a_divergence(sim):
    history = sim.history(end=600)
    evidence = sim.noise(n_judged=1, gain=-40, labels_N=None, history=history)
    assert verdict_of(evidence) != "diverged"
    # training cells tell how far cells differ
    null_T = np.full(20, 550.0) + np.arange(20)
    ruined = replace(evidence, train_elbo_T=-1e6 - null_T, train_null_nll_T=null_T)
    assert verdict_of(replace(ruined, nll_W=evidence.nll_W + 1e6)) == "diverged"


def test_a_mixture_prior_is_not_measured_by_shift_and_scale(sim):
    evidence = sim.far_from_the_prior(gaussian_prior=False)
    assert measure(evidence, umap=False).excess.mismatch is None


def test_an_adversary_is_offered_where_a_healthy_latent_tells_a_covariate(sim):
    evidence = sim.healthy()
    diagnosis = diagnose(replace(evidence, covariates={"donor": evidence.labels_N}, labels_N=None), umap=False)
    assert diagnosis.verdict == "healthy"
    (remedy,) = diagnosis.remedies
    assert remedy["adversary"] == {"covariates": ["donor"]}


def test_a_positive_gain_does_not_acquit_a_silent_encoder(sim):
    # a null model that was fitted badly must not hide a collapse
    assert verdict_of(sim.collapsed(gain=6.0)) == "collapsed"


def test_free_bits_that_the_decoder_ignores_are_collapse(sim):
    assert verdict_of(sim.fit(rate=3.2, n_active=32, use=0.0, gain=-3.2, gain_spread=0.5)) == "collapsed"


@pytest.mark.parametrize("seed", range(6))
def test_eight_validation_samples_convict_nobody_of_collapse(sim, seed):
    # bulk: 48 samples, a gain whose error is as large as itself
    evidence = sim.healthy(n_cells=48, n_judged=8, rate=25.0, use=300, gain=60, gain_spread=250.0, seed=seed)
    evidence = replace(evidence, labels_N=np.repeat(["case", "control"], 24).astype(object))
    assert diagnose(evidence, umap=False).verdict != "collapsed"


def test_one_validation_cell_is_judged_without_error(sim):
    assert verdict_of(sim.healthy(n_judged=1, gain_spread=0.0)) == "healthy"


@pytest.mark.parametrize("seed", range(3))
def test_collapse_is_seen_on_eight_samples_as_well(sim, seed):
    assert verdict_of(sim.collapsed(n_cells=60, n_judged=8, seed=seed)) == "collapsed"


def test_unfinished_runs_are_undertrained(sim):
    cut_off = sim.healthy(history=sim.history(epochs=20, settled=20))
    slow = sim.healthy(history=sim.history(start=2000, pace=0.02))
    one_epoch = sim.healthy(gain=-30, rate=1.2, history=sim.history(settled=1).iloc[:1])
    early = sim.collapsed(history=sim.history(settled=1).iloc[:3])
    lagging = sim.fit(rate=1.6, n_active=10, use=6, gain=-25, gap=-3, strength=0.3)
    for evidence in (cut_off, slow, one_epoch, early, lagging):
        diagnosis = diagnose(replace(evidence, labels_N=None), umap=False)
        assert diagnosis.verdict == "undertrained"
        assert diagnosis.headline.startswith("Undertrained")
        assert diagnosis.remedies[1].arguments["max_epochs"] >= 20


def test_finished_one_cycle_runs_are_not_undertrained(sim):
    # the bound rises to the end because the rate is annealed, by 3 of 46 nats in the last quarter
    assert verdict_of(sim.healthy(labels_N=None, history=sim.history(pace=0.12))) == "healthy"
    assert verdict_of(sim.collapsed(labels_N=None, history=sim.history(pace=0.12))) == "collapsed"
    # very large data: three epochs are plenty when the gain is there and the curve has come to rest
    assert verdict_of(sim.healthy(labels_N=None, history=sim.history(epochs=3, settled=1, pace=5.0))) == "healthy"


def test_non_finite_output_is_divergence(sim):
    evidence = sim.healthy()
    broken = evidence.mean_NK.copy()
    broken[3, 1] = np.nan
    diagnosis = diagnose(replace(evidence, mean_NK=broken), umap=False)
    assert diagnosis.verdict == "diverged"
    assert "mean_NK" in diagnosis.headline
    assert np.isnan(diagnosis.kl_per_dimension).all()
    assert json.loads(json.dumps(diagnosis.to_dict()))["kl_per_dimension"][0] is None


def test_bad_epochs_convict_only_where_the_kept_weights_are_bad(sim):
    history = sim.history()
    history.loc[38:, ["loss_train", "recon_train", "loss_validation"]] = np.nan
    assert verdict_of(sim.healthy(labels_N=None, history=history)) == "healthy"
    assert verdict_of(sim.noise(labels_N=None, history=history)) == "diverged"
    blown = sim.history()
    blown.loc[36:, "recon_train"] += 5000
    assert verdict_of(sim.noise(labels_N=None, history=blown)) == "diverged"


def test_collapse_while_beta_ramps_is_not_divergence(sim):
    # reconstruction rises from its best to the null's level as β presses the latent out
    history = sim.history(end=555, kl=0.002)
    history["recon_train"] = np.where(history.index < 15, 330.0, 553.0)
    assert verdict_of(sim.collapsed(labels_N=None, history=history)) == "collapsed"


def test_labels_the_model_was_given_prove_nothing(sim):
    evidence = sim.partial(labels_conditioned=True)
    diagnosis = diagnose(evidence, umap=False)
    assert diagnosis.verdict == "healthy"
    assert any("conditioned on cell_type" in remark for remark in diagnosis.remarks)


def test_labels_that_pca_cannot_read_prove_nothing(sim):
    evidence = sim.healthy()
    shuffled = np.random.default_rng(0).permutation(evidence.labels_N)
    diagnosis = diagnose(replace(evidence, labels_N=shuffled), umap=False)
    assert diagnosis.verdict == "healthy"
    assert any("no better than chance" in remark for remark in diagnosis.remarks)


@pytest.mark.parametrize(
    "labels",
    [
        None,
        [None] * 700,
        ["one"] * 700,
        [f"cell {i}" for i in range(700)],
        [float("nan")] * 350 + ["x"] * 350,
    ],
)
def test_labels_that_cannot_be_probed_are_no_obstacle(sim, labels):
    labels_N = None if labels is None else np.array(labels, dtype=object)
    diagnosis = diagnose(sim.healthy(labels_N=labels_N), umap=True)
    assert diagnosis.verdict == "healthy"
    assert diagnosis.probes.empty
    assert any("not probed" in remark for remark in diagnosis.remarks)


def test_missing_labels_and_tiny_classes_are_named(sim):
    labels = sim.healthy().labels_N.copy()
    labels[:50] = None
    labels[50:53] = "tiny"
    diagnosis = diagnose(sim.healthy(labels_N=labels), umap=False)
    assert diagnosis.verdict == "healthy"
    assert any("tiny" in remark for remark in diagnosis.remarks)


def test_classes_cut_from_the_data_are_marked(sim):
    evidence = sim.healthy()
    fallback = replace(evidence, labels_N=None, fallback_groups_N=evidence.labels_N)
    diagnosis = diagnose(fallback, umap=False)
    assert diagnosis.verdict == "healthy"
    assert diagnosis.probes["fallback"].all()
    assert diagnosis.evidence["meaning"].str.contains("classes cut from the data").any()


def test_leakage_is_shown_and_not_judged(sim):
    evidence = sim.healthy()
    covariates = {"donor": evidence.labels_N, "constant": np.full(700, "x", dtype=object)}
    diagnosis = diagnose(replace(evidence, covariates=covariates, labels_N=None), umap=False)
    rows = diagnosis.evidence[diagnosis.evidence["check"].str.startswith("leakage")]
    assert rows["check"].tolist() == ["leakage of donor"]
    assert rows["value"].iloc[0] > 0.9
    assert rows["passed"].iloc[0] is None


RULE = {rule.name: rule for rule in RULES}


def remedies_for(verdict, findings, measurements):
    return ranked_remedies([RULE[name] for name in (verdict, *findings)], measurements)


def test_every_rule_that_is_not_sound_has_remedies(sim):
    measurements = measure(sim.healthy(labels_N=None), umap=False)
    for rule in RULES:
        if rule.name != "undecided":  # what to measure stands in its sentence
            assert bool(rule.remedies(measurements)) != rule.sound
        assert set(rule.implies) <= set(RULE)


def test_remedies_are_objective_mappings(sim):
    from omicvae.objective import Objective

    for name in ("collapsed", "faint", "noise"):
        for remedy in diagnose(getattr(sim, name)(labels_N=None, gain=-1.0), umap=False).remedies:
            assert isinstance(remedy, Remedy)
            assert Objective.parse(remedy).beta == remedy["beta"]
            assert dict(remedy) == {key: remedy[key] for key in remedy}
            model, _, call = remedy.line.partition(".train")
            assert eval(f"dict{call}")["objective"] == dict(remedy)
            assert eval(model.replace("ov.CVAE(adata, ", "dict("), {"model": {}}) == dict(remedy.model)


SMALL = {"n_latent": 2, "n_hidden": 32, "n_hidden_decoder": None, "dropout_rate": 0.5}


@pytest.mark.parametrize(("n_cells", "offered"), [(150, True), (199, True), (200, False), (700, False)])
@pytest.mark.parametrize("verdict", ["overfit", "partial_collapse"])
def test_two_dimensions_are_offered_for_fewer_than_twenty_cells_each(sim, verdict, n_cells, offered):
    measurements = replace(
        measure(sim.fit(rate=1.6, n_active=10, n_latent=10, use=6, gain=-25, labels_N=None), umap=False),
        n_cells=n_cells,
    )
    assert measurements.usage.n_latent == 10
    networks = [dict(remedy.model) for remedy in remedies_for(verdict, (), measurements)]
    assert (SMALL in networks) == offered
    assert ({**SMALL, "n_latent": 5} in networks) == (offered or verdict == "overfit")


def test_remedies_of_further_findings_come_after_those_of_the_verdict_each_once(sim):
    measurements = measure(sim.collapsed(), umap=False)
    alone = [remedy.line for remedy in remedies_for("undertrained", (), measurements)]
    both = [remedy.line for remedy in remedies_for("undertrained", ("under_regularised",), measurements)]
    assert both[: len(alone)] == alone
    # the first was there; twice the epochs were, with the run's own KL
    assert both[len(alone) :] == [alone[1], DEARER.line]
    assert remedies_for("no_signal", ("under_regularised",), measurements) == ()


def test_same_seed_same_diagnosis_and_global_state_untouched(sim):
    evidence = sim.partial(n_cells=200)
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what must not move
    first, second = diagnose(evidence, seed=3, umap=False), diagnose(evidence, seed=3, umap=False)
    pd.testing.assert_frame_equal(first.evidence, second.evidence)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_diagnosis_reads_as_text_html_and_json(sim):
    for name in ("healthy", "collapsed"):
        diagnosis = diagnose(getattr(sim, name)(), umap=False)
        text = str(diagnosis)
        assert max(map(len, text.splitlines())) <= 110
        assert diagnosis.verdict in text.splitlines()[0]
        assert ("model.train(" in text) == (name != "healthy")
        assert diagnosis.headline.split(":")[0] in diagnosis._repr_html_()
        record = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
        assert list(record["evidence"][0]) == ["check", "value", "threshold", "passed", "meaning"]
        assert record["verdict"] == diagnosis.verdict
        assert len(record["kl_per_dimension"]) == 32
        frame = diagnosis.to_frame()
        assert frame.columns.tolist() == ["check", "value", "threshold", "passed", "meaning"]
        assert set(map(type, frame["passed"])) <= {bool, type(None)}


def test_results_are_tables(sim):
    measured = measure(sim.healthy(n_cells=200), umap=False)
    names = ("use", "gain", "usage", "probes", "information")
    for result in (*(getattr(measured, name) for name in names), sim.structure):
        assert isinstance(result.to_frame(), pd.DataFrame)


def test_evidence_of_wrong_shape_is_refused(sim):
    evidence = sim.healthy()
    with pytest.raises(DataError, match=r"kl_WK must have shape \(70, 32\)"):
        replace(evidence, kl_WK=evidence.kl_WK[:, :5])
    with pytest.raises(DataError, match="labels_N must have one row for each of the 700 cells, got 3"):
        replace(evidence, labels_N=np.array(["a", "b", "c"]))


@pytest.mark.parametrize(("rate", "silent"), [(0.04, True), (0.06, False), (0.2, False)])
def test_an_encoder_is_silent_below_a_rate_of_five_hundredths(sim, rate, silent):
    measured = measure(sim.fit(rate=rate, n_active=0, use=30, gain=20, labels_N=None), umap=False)
    assert measured.usage.silent == silent
