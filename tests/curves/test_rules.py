"""Verdicts from curves alone: runs whose truth is known, in every unit that programs log."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicvae._core.errors import SettingError
from omicvae.curves import HISTORY_RULES, diagnose_history, rules
from omicvae.diagnostics import RULES

EPOCHS = 40
E = np.arange(1, EPOCHS + 1)


def run(*, fall=200.0, end=500.0, pace=0.3, kl=12.0, weight=1.0, gap=5.0, noise=0.05, seed=0, **more):
    """Curves in nats per cell that come to rest; ``kl``, ``weight`` and ``gap`` are numbers or curves."""
    rng = np.random.default_rng(seed)
    recon = end + fall * np.exp(-pace * E) + rng.normal(0, noise, EPOCHS)
    kl, weight = np.broadcast_to(kl, EPOCHS), np.broadcast_to(weight, EPOCHS)
    recon_validation = recon + gap + rng.normal(0, noise, EPOCHS)
    columns = {
        "loss_train": recon + weight * kl,
        "recon_train": recon,
        "kl_train": kl,
        "loss_validation": recon_validation + weight * kl,
        "recon_validation": recon_validation,
        "kl_validation": kl,
        "kl_weight": weight,
        **more,
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(1, EPOCHS + 1, name="epoch"))


RISING = 3 + 9 * (1 - np.exp(-0.2 * E))
SPIKE = 12 + 3000 * np.exp(-0.9 * E)
DYING = 3 * np.exp(-0.5 * E) + 1e-4
RAMP = np.minimum(1, E / 12)

RUNS = {
    "healthy": run(kl=RISING),
    "healthy after a ramp from 0": run(kl=SPIKE, weight=RAMP),
    "collapsed": run(kl=DYING),
    "collapsed in a ramp": run(kl=SPIKE * np.exp(-0.4 * E), weight=72 * RAMP),
    "overfit": run(kl=RISING, gap=5 + 0.02 * E**2, fall=60.0),
    "undertrained": run(kl=RISING, pace=0.01),
    "diverged": run(kl=RISING, fall=30.0, pace=-0.05),
}


def verdict_of(name):
    return name.split()[0]


# the known answers


HEALTHY_LOG = """epoch 001 | train loss=0.8684 recon=0.8440 kl=0.0488 | val loss=0.7531
epoch 005 | train loss=0.5926 recon=0.4825 kl=0.2203 | val loss=0.5779
epoch 010 | train loss=0.5083 recon=0.3807 kl=0.2554 | val loss=0.4987
epoch 018 | train loss=0.4374 recon=0.2755 kl=0.3238 | val loss=0.4253
"""


def test_a_rising_kl_with_falling_losses_is_healthy_as_far_as_curves_tell():
    diagnosis = diagnose_history(HEALTHY_LOG)
    assert diagnosis.verdict == "healthy"
    assert "as far as curves tell" in diagnosis.headline
    assert "0.324 (0.0488 at first; its unit is unknown)" in diagnosis.headline
    assert any(text.startswith("the unit of the KL") for text in diagnosis.cannot_tell)
    assert any("follows from loss, reconstruction and KL" in text for text in diagnosis.remarks)
    assert diagnosis.evidence.set_index("check").loc["KL weight", "value"] == pytest.approx(0.5, rel=0.01)
    assert diagnosis.remedies == ()


@pytest.mark.parametrize("unit", [1.0, 1 / np.log(2), 1e-3, 50.0])
def test_a_kl_that_goes_to_nothing_is_collapsed(unit):
    kl = [unit, 0.0164 * unit, 0.0]
    diagnosis = diagnose_history({"epoch": [1, 50, 100], "recon": [0.9 * unit, 0.7 * unit, 0.65 * unit], "kl": kl})
    assert diagnosis.verdict == "collapsed"
    assert diagnosis.remedies[0]["reduction"] == "sum"


@pytest.mark.parametrize("recon", [0.1 + 0.3 * np.exp(-E / 10), 0.4 - 0.005 * E, 3e4 + 5e4 * np.exp(-E / 10)])
def test_a_huge_kl_at_next_to_no_weight_is_under_regularised(recon):
    curves = {
        "epoch": E,
        "train/rec_loss": recon,
        "train/kl_loss": np.linspace(17e3, 133e3, EPOCHS),
        "kl_weight": np.full(EPOCHS, 1e-6),
        "train/disc_loss": np.where(E < 30, 0.0, 0.9),
    }
    diagnosis = diagnose_history(curves)
    assert diagnosis.verdict == "under_regularised"
    assert "1.7e+04 → 1.33e+05" in diagnosis.headline
    assert "discriminator off until epoch 30: a zero loss before is expected (phase 1)." in diagnosis.remarks
    assert "the KL rose: the latent took something up; that alone is no proof of health." in diagnosis.remarks
    del curves["kl_weight"]
    unknown = diagnose_history(curves)
    assert unknown.verdict in ("undecided", "undertrained")
    assert ("pass kl_weight=" in unknown.headline) == (unknown.verdict == "undecided")
    assert diagnose_history(curves, kl_weight=1e-6).verdict == "under_regularised"
    assert diagnose_history(curves, kl_weight=1.0).verdict != "under_regularised"


@pytest.mark.parametrize("final", [1.0, 4.0, 20.0])
@pytest.mark.parametrize("settled", [10, 25, EPOCHS])
def test_a_bound_that_falls_because_beta_ramps_is_not_divergence(final, settled):
    weight = final * np.minimum(1, E / settled)
    # the trade of a Gaussian channel: a dearer KL is lower and costs reconstruction
    kl = 30 / (0.3 + weight)
    recon = 100 - 15 * np.log1p(kl / 5) + 2 * np.exp(-E)
    curves = {"loss": recon + weight * kl, "recon": recon, "kl": kl, "elbo_validation": -(recon + kl), "beta": weight}
    assert curves["loss"][-1] > curves["loss"][0]
    parts = ((), ("loss",), ("recon", "kl"))
    for left_out in (*parts, *(("beta", *names) for names in (*parts, ("recon",), ("kl",)))):
        diagnosis = diagnose_history({name: values for name, values in curves.items() if name not in left_out})
        assert "diverged" not in (diagnosis.verdict, *diagnosis.findings), left_out
        if settled == EPOCHS and "beta" not in left_out:
            assert diagnosis.verdict == "undertrained"
            assert "KL weight was still moving" in diagnosis.headline


# every verdict, whatever the unit


@pytest.mark.parametrize("name", RUNS)
def test_verdicts(name):
    diagnosis = diagnose_history(RUNS[name])
    assert diagnosis.verdict == verdict_of(name), str(diagnosis)
    assert bool(diagnosis.remedies) == (diagnosis.verdict != "healthy")


@pytest.mark.parametrize("unit", [1 / np.log(2), 1 / 2000, 1e3], ids=["bits", "per gene", "larger"])
@pytest.mark.parametrize("name", [name for name in RUNS if name not in ("collapsed", "collapsed in a ramp")])
def test_verdicts_do_not_depend_on_the_unit(name, unit):
    curves = RUNS[name].copy()
    losses = [column for column in curves if column != "kl_weight"]
    curves[losses] *= unit
    assert diagnose_history(curves).verdict == verdict_of(name)


@pytest.mark.parametrize("genes", [50, 2000, 20_000])
@pytest.mark.parametrize("dimensions", [2, 32])
@pytest.mark.parametrize("name", RUNS)
def test_verdicts_do_not_depend_on_sums_or_averages(name, genes, dimensions):
    curves = RUNS[name].copy()
    curves["kl_weight"] *= dimensions / genes
    for part in ("train", "validation"):
        curves[f"recon_{part}"] /= genes
        curves[f"kl_{part}"] /= dimensions
        curves[f"loss_{part}"] = curves[f"recon_{part}"] + curves["kl_weight"] * curves[f"kl_{part}"]
    assert diagnose_history(curves).verdict == verdict_of(name)
    assert diagnose_history(curves[["loss_train", "kl_train", "recon_train", "loss_validation"]]).verdict == verdict_of(
        name
    )


@pytest.mark.parametrize("name", RUNS)
def test_a_shift_of_the_reconstruction_changes_nothing(name):
    """Constants of the likelihood may be left out, so that losses pass through 0."""
    curves = RUNS[name].copy()
    for column in ("loss_train", "recon_train", "loss_validation", "recon_validation"):
        curves[column] -= 505.0
    assert diagnose_history(curves).verdict == verdict_of(name)


@pytest.mark.parametrize("seed", range(10))
def test_noise_alone_is_healthy(seed):
    for noise in (0.5, 2.0):
        assert diagnose_history(run(kl=RISING, noise=noise, seed=seed)).verdict == "healthy"


def test_some_lines_of_a_long_run_are_enough():
    for name, curves in RUNS.items():
        assert diagnose_history(curves.iloc[[0, 4, 9, 14, 19, 24, 29, 34, 39]]).verdict == verdict_of(name), name


# single rules


@pytest.mark.parametrize("column", ["loss_train", "recon_train", "kl_train", "loss_validation"])
def test_nan_losses_are_divergence(column):
    curves = run(kl=RISING).astype(float)
    curves.loc[30:, column] = np.inf
    diagnosis = diagnose_history(curves)
    assert diagnosis.verdict == "diverged"
    assert "11 of 40 epochs, to the end" in diagnosis.headline
    text = "\n".join(f"epoch {n}: loss={'nan' if n > 6 else 10 - n} kl=1" for n in range(1, 9))
    assert diagnose_history(text).verdict == "diverged"


def test_a_run_that_recovers_is_judged_by_what_followed():
    curves = run(kl=RISING)
    curves.loc[3, "loss_train"] = np.nan
    diagnosis = diagnose_history(curves)
    assert diagnosis.verdict == "healthy"
    assert "1 epochs were not finite, and training recovered." in diagnosis.remarks


def test_an_explosion_at_one_weight_is_divergence():
    curves = run(kl=RISING, weight=RAMP)
    curves.loc[38:, ["loss_train", "recon_train"]] += 1e4
    diagnosis = diagnose_history(curves)
    assert diagnosis.verdict == "diverged"
    assert "at one and the same KL weight" in diagnosis.headline


def test_a_run_that_was_thrown_back_and_came_to_rest_is_unstable():
    thrown = 900 * np.exp(-((E - 20) ** 2) / 8)  # up again to above its start in the middle, and down to its end
    curves = run(kl=RISING, weight=RAMP)
    back = curves.assign(loss_train=curves["loss_train"] + thrown, recon_train=curves["recon_train"] + thrown)
    diagnosis = diagnose_history(back)
    assert diagnosis.verdict == "unstable"
    assert diagnosis.remedies[0].arguments["learning_rate"] < 1e-2
    # a loss that rises alone pays for nothing, a reconstruction alone for the KL
    for column in ("loss_train", "recon_train"):
        assert diagnose_history(curves.assign(**{column: back[column]}).drop(columns="kl_weight")).verdict != "unstable"


@pytest.mark.parametrize(("start", "end", "share"), [(1000, 700, 0.08), (800, 720, 0.03), (0.02, 0.02, 1.5)])
@pytest.mark.parametrize("weight", [1.0, None])
def test_the_noise_of_minibatches_is_no_setback(start, end, share, weight):
    steps = np.arange(1, 1001)
    for seed in range(5):
        level = end + (start - end) * np.exp(-steps / 200)
        recon = level * (1 + share * np.random.default_rng(seed).normal(size=1000))
        curves = pd.DataFrame({"recon_train": recon, "kl_train": 12 * (1 - np.exp(-steps / 100))}, index=steps)
        curves["loss_train"] = curves["recon_train"] + curves["kl_train"]
        diagnosis = diagnose_history(curves.rename_axis("step"), kl_weight=weight)
        assert "unstable" not in (diagnosis.verdict, *diagnosis.findings)


def cycles():
    """Four cycles of β from 0 to 1: the KL is pressed out of the encoder and comes back, the reconstruction pays."""
    free = 1 - np.minimum(1, 2 * ((E - 1) % 10) / 10)
    recon = 100 + 700 * np.exp(-1.2 * E) + 150 * (1 - free)
    return pd.DataFrame(
        {
            "loss_train": recon + 10 * (1 - free),
            "recon_train": recon,
            "kl_train": (12 + 40 * free) * (1 - np.exp(-0.2 * E)),
        }
    )


def test_a_cycle_of_a_weight_that_is_not_logged_is_no_setback():
    curves = cycles()
    diagnosis = diagnose_history(curves)
    assert "unstable" not in (diagnosis.verdict, *diagnosis.findings)
    recon = 100 + 900 * np.exp(-0.3 * E) + 900 * np.exp(-((E - 20) ** 2) / 8)
    thrown = diagnose_history({"loss": list(recon), "recon": list(recon), "kl": list(RISING)})  # no KL was bought
    assert thrown.verdict == "unstable"
    assert "KL weight" not in thrown.headline
    assert "undertrained" not in thrown.findings


def test_a_schedule_that_has_not_settled_is_said():
    diagnosis = diagnose_history(run(kl=RISING, weight=np.minimum(1, E / 400)))
    assert diagnosis.verdict == "undertrained"
    assert "KL weight was still moving in the last of 40 epochs (at 0.1)" in diagnosis.headline
    assert diagnosis.remedies[0].arguments == {"fresh": True, "max_epochs": 80}
    # the weight follows from the losses where it was not logged
    silent = run(kl=RISING, weight=np.minimum(1, E / 400))[["loss_train", "recon_train", "kl_train"]]
    assert diagnose_history(silent).headline == diagnosis.headline
    assert any("settled at epoch 12" in text for text in diagnose_history(run(kl=RISING, weight=RAMP)).remarks)


def test_a_weight_that_was_logged_now_and_then():
    """scvi-tools logs it in epochs with validation only."""
    curves = run(kl=RISING, weight=np.minimum(1, E / 400))
    curves.loc[curves.index % 7 > 0, "kl_weight"] = np.nan
    assert "still moving" in diagnose_history(curves).headline
    curves.loc[curves.index > 7, "kl_weight"] = np.nan
    # one value shows no schedule, and the losses do
    assert "still moving in the last of 40 epochs (at 0.1)" in diagnose_history(curves).headline
    assert (
        diagnose_history(curves.drop(columns="recon_train")).evidence["check"].tolist().count("epochs after warm-up")
        == 0
    )


def test_more_epochs_are_no_cure_for_a_silent_latent():
    diagnosis = diagnose_history(run(kl=DYING, pace=0.01))
    assert diagnosis.verdict == "collapsed"
    assert "undertrained" not in diagnosis.findings


def test_a_latent_that_never_spoke():
    diagnosis = diagnose_history(run(kl=1e-7))
    assert (diagnosis.verdict, "never came alive" in diagnosis.headline) == ("collapsed", True)


def test_a_small_kl_without_a_fall_is_left_open():
    diagnosis = diagnose_history(run(kl=0.01))
    assert diagnosis.verdict == "undecided"
    assert "small" in diagnosis.headline


@pytest.mark.parametrize(
    ("curves", "reason"),
    [
        ({"loss": [5.0, 4, 3.5, 3.4, 3.4, 3.4]}, "holds no KL"),
        ({"kl": [5.0, 6, 7]}, "no loss or reconstruction"),
        ({"loss": [5.0, 4], "kl": [1.0, 2]}, "2 epochs show no course"),
        ("Loss=66, BCE=60.6, KLD=53.6", "1 epochs show no course"),
        ({"loss": [5.0, 5, 5, 5], "kl": [1.0, 2, 2, 2]}, "never fell"),
        ({"loss": [5.0, 6, 7, 8, 9, 10], "kl": [3.0, 2, 2, 2, 2, 2]}, "never fell"),
    ],
)
def test_curves_that_prove_nothing_are_undecided(curves, reason):
    diagnosis = diagnose_history(curves)
    assert diagnosis.verdict == "undecided"
    assert reason in diagnosis.headline
    assert diagnosis.remedies == ()


def test_negative_elbo_of_scvi_tools_and_elbo_of_omicvae_agree():
    minus_elbo = 100 + 50 * np.exp(-0.3 * E)
    kl = list(RISING)
    verdicts = [diagnose_history({"elbo_train": sign * minus_elbo, "kl_local_train": kl}).verdict for sign in (1, -1)]
    assert verdicts == ["healthy", "healthy"]


def test_what_is_missing_is_said():
    diagnosis = diagnose_history({"loss": list(100 + 50 * np.exp(-0.3 * E)), "kl": list(RISING)})
    text = " ".join(diagnosis.cannot_tell)
    for part in ("whether a schedule", "whether the model overfits", "whether the decoder uses z"):
        assert part in text


# the limits


def at(**changes):
    """Statistics of a healthy run with some changed."""
    healthy = {
        **{"n_epochs": 40, "ends_non_finite": False, "rise": 0.0, "ramp_explains_rise": False, "settled": True},
        **{
            "pace": (0.01, 0.0),
            "kl_of_peak": 0.9,
            "kl_of_change": 0.1,
            "kl_end": 10.0,
            "kl_peak": 11.0,
            "kl_first": 3.0,
        },
        **{"change": 100.0, "worse": 0.0, "gap_growth": 1.0, "weight": 1.0, "weight_source": "logged", "kind": "loss"},
        **{"fall": 50.0, "clocks": "epochs", "setback": 1.0, "noise": 0.0, "reconstruction_best": 400.0},
    }
    return SimpleNamespace(**{**healthy, **changes})


DEAD = {"kl_of_peak": 0.049, "kl_of_change": 0.001, "kl_end": 0.049}
UNPRICED = {"weight": 1e-5, "kl_end": 101.0, "kl_of_peak": 0.5}


@pytest.mark.parametrize(
    ("rule", "holds", "not_quite"),
    [
        (rules.diverged, {"ends_non_finite": True}, {}),
        (rules.diverged, {"rise": 0.011}, {"rise": 0.01}),
        (rules.diverged, {"rise": 0.5}, {"rise": 0.5, "ramp_explains_rise": True}),
        # half of the whole range, and a tenth of the level
        (rules.unstable, {"setback": 51.0}, {"setback": 49.0}),
        (rules.unstable, {"setback": 51.0}, {"setback": 51.0, "reconstruction_best": -520.0}),
        (rules.unstable, {"setback": 51.0}, {"setback": 51.0, "ramp_explains_rise": True}),
        (rules.unstable, {"setback": 51.0, "settled": None}, {"setback": 51.0, "settled": False}),
        (rules.unstable, {"setback": 51.0}, {"setback": float("nan")}),
        (rules.unstable, {"setback": 57.0, "noise": 1.0}, {"setback": 56.0, "noise": 1.0}),
        (rules.undertrained, {"settled": False}, {"settled": None}),
        (rules.undertrained, {"pace": (0.174, 0.0)}, {"pace": (0.173, 0.0)}),
        (rules.undertrained, {"pace": (0.31, 0.1)}, {"pace": (0.29, 0.1)}),
        (rules.undertrained, {"pace": (0.9, 0.0)}, {"pace": (0.9, 0.0), **DEAD}),
        (rules.undertrained, {"pace": (0.9, 0.0)}, {"pace": (0.9, 0.0), **UNPRICED}),
        (rules.collapsed, DEAD, {**DEAD, "n_epochs": 1}),
        (rules.collapsed, DEAD, {**DEAD, "kl_of_peak": 0.051, "kl_of_change": 1e-5}),
        (rules.collapsed, {**DEAD, "kl_of_peak": 1e-3, "kl_of_change": 0.02}, {**DEAD, "kl_of_change": 0.0011}),
        (rules.collapsed, {**DEAD, "kl_of_peak": 1e-4}, {**DEAD, "kl_of_peak": 1e-4, "kl_of_change": 0.021}),
        (rules.collapsed, DEAD, {**DEAD, "kl_end": 0.051}),
        (rules.collapsed, {"kl_peak": 9.9e-5}, {"kl_peak": 1.01e-4}),
        (rules.overfit, {"worse": 0.051}, {"worse": 0.05}),
        (rules.overfit, {"worse": 0.2}, {"worse": 0.2, "gap_growth": 0.0}),
        (rules.under_regularised, UNPRICED, {**UNPRICED, "n_epochs": 1}),
        (rules.under_regularised, UNPRICED, {**UNPRICED, "weight": 1.1e-5}),
        (rules.under_regularised, UNPRICED, {**UNPRICED, "kl_end": 99.0}),
        (rules.under_regularised, UNPRICED, {**UNPRICED, "kl_of_peak": 0.49}),
    ],
)
def test_where_each_rule_begins(rule, holds, not_quite):
    assert rule(at(**holds))
    assert not rule(at(**not_quite))


@pytest.mark.parametrize(
    ("doubt", "enough"),
    [
        ({"kind": None}, {}),
        ({"kl_end": np.nan}, {}),
        ({"n_epochs": 2}, {"n_epochs": 3}),
        ({"fall": 0.0}, {"fall": 1e-9}),
        ({"rise": 0.011}, {"rise": 0.01}),
        ({"kl_of_change": 1e-3, "kl_end": 0.05}, {"kl_of_change": 1e-3, "kl_end": 0.051}),
        ({"kl_of_change": 1e-3, "kl_end": 0.05}, {"kl_of_change": 1.1e-3, "kl_end": 0.05}),
        ({**DEAD, "kl_end": 0.69}, {**DEAD, "kl_end": 0.70}),
        ({**UNPRICED, "weight_source": "unknown"}, {**UNPRICED, "weight_source": "given"}),
        ({**UNPRICED, "weight_source": "unknown"}, {**UNPRICED, "weight_source": "unknown", "change": 102.0}),
        ({**UNPRICED, "weight_source": "unknown"}, {**UNPRICED, "weight_source": "unknown", "kl_first": 51.0}),
    ],
)
def test_where_doubt_begins(doubt, enough):
    assert len(list(rules.doubts(at(**doubt)))) == 1
    assert not list(rules.doubts(at(**enough)))


# forms of one log


@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from(sorted(RUNS)), times=st.integers(1, 3), order=st.permutations(range(7)))
def test_repeated_rows_and_the_order_of_rows_and_columns_change_nothing(name, times, order):
    expected = diagnose_history(RUNS[name])
    table = RUNS[name].reset_index()
    columns = [table.columns[0], *(table.columns[1:][position] for position in order)][::-1]
    repeated = pd.concat([table[columns]] * times).iloc[::-1]
    found = diagnose_history(repeated)
    assert (found.verdict, found.findings, found.headline) == (expected.verdict, expected.findings, expected.headline)
    pd.testing.assert_frame_equal(found.evidence, expected.evidence)
    assert [remedy.line for remedy in found.remedies] == [remedy.line for remedy in expected.remedies]


# the result


def test_results_are_plain_and_printable():
    for curves in (*RUNS.values(), HEALTHY_LOG, {"loss": [1.0, np.nan]}):
        diagnosis = diagnose_history(curves)
        record = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
        assert record["verdict"] == diagnosis.verdict
        assert record["history"]["loss_train"][0] is not None
        assert list(diagnosis.to_frame().columns) == ["check", "value", "threshold", "passed", "meaning"]
        assert max(map(len, str(diagnosis).splitlines())) <= 110
        assert diagnosis.verdict in repr(diagnosis)
        assert diagnosis.verdict in diagnosis._repr_html_()
        for remedy in diagnosis.remedies:
            assert remedy.line.startswith("model.train(")


def test_names_and_order_are_those_of_the_package():
    order = [rule.name for rule in RULES]
    names = [rule.name for rule in HISTORY_RULES]
    judged = ["diverged", "unstable", "undertrained", "collapsed", "overfit", "under_regularised"]
    assert names == [*judged, "undecided", "healthy"]
    assert [name for name in order if name in names] == [name for name in names if name in order]


def test_an_impossible_weight_is_refused():
    with pytest.raises(SettingError, match="kl_weight must be at least 0"):
        diagnose_history(HEALTHY_LOG, kl_weight=-1)
