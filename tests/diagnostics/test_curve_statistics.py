"""Readings of curves, most of them with numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicvae.diagnostics import CurveStatistics
from omicvae.diagnostics.discriminator import late_starts

of_fit = CurveStatistics.of_fit


def frame(**columns):
    n = len(next(iter(columns.values())))
    return pd.DataFrame(columns, index=pd.RangeIndex(1, n + 1, name="epoch"))


def test_readings_of_a_finished_run(sim):
    curves = of_fit(sim.history(epochs=40, settled=12, gap=7.0, pace=0.3))
    assert (curves.n_epochs, curves.settled_at, curves.settled, curves.n_settled) == (40, 11, True, 29)
    assert curves.annealed
    assert curves.gap == pytest.approx(7.0)
    assert curves.n_non_finite == 0
    assert abs(curves.improvement[0]) < 1


def test_a_setback_is_a_rise_of_loss_and_reconstruction_together_at_the_final_weight():
    loss, recon = [900.0, 50.0, 40.0, 70.0, 35.0], [10.0, 45.0, 38.0, 60.0, 33.0]
    curves = of_fit(frame(loss_train=loss, recon_train=recon, kl_weight=[0.1, 1.0, 1.0, 1.0, 1.0]))
    assert curves.setback == 22  # 60 − 38 is less than 70 − 40; the ramp's reconstruction of 10 does not count
    falling = of_fit(frame(loss_train=loss, recon_train=sorted(recon, reverse=True), kl_weight=[1.0] * 5))
    assert falling.setback == 0
    assert np.isnan(of_fit(frame(loss_train=loss)).setback)
    assert np.isnan(of_fit(frame(loss_train=[])).setback)


def test_a_straight_line_wins_its_slope_times_a_quarter():
    epoch = np.arange(1, 21)
    curves = of_fit(frame(recon_validation=500.0 - 2 * epoch, kl_validation=np.zeros(20)))
    assert curves.improvement == pytest.approx((2 * 5, 0), abs=1e-9)
    assert curves.still_improving


def test_noise_around_a_level_is_no_improvement():
    rng = np.random.default_rng(0)
    noisy = [of_fit(frame(recon_validation=500 + rng.normal(size=40), kl_validation=np.zeros(40))) for _ in range(200)]
    assert np.mean([curves.still_improving for curves in noisy]) < 0.03


def test_pace_before_the_weight_has_settled_does_not_count():
    epoch = np.arange(1, 9)
    recon = np.where(epoch < 5, 600.0 - 20 * epoch, 500.0)
    weight = np.minimum(1, epoch / 5)
    curves = of_fit(frame(recon_validation=recon, kl_validation=np.zeros(8), kl_weight=weight))
    assert curves.settled_at == 4
    assert curves.improvement[0] == 0


@pytest.mark.parametrize(
    ("weights", "settled_at", "settled"),
    [
        ([1, 1, 1, 1], 0, True),
        ([0.2, 0.6, 1, 1], 2, True),
        ([0.25, 0.5, 0.75, 1], 3, False),
        ([0.5, 1, 0.5, 1, 1], 3, True),
        ([0, 0, 0], 0, True),
    ],
)
def test_settling_is_read_from_the_weight_whatever_its_scale(weights, settled_at, settled):
    for scale in (1.0, 72.0, 1e-6):
        curves = of_fit(frame(kl_weight=scale * np.array(weights, dtype=float)))
        assert (curves.settled_at, curves.settled) == (settled_at, settled)


def test_announced_settling_serves_where_the_weight_is_unknown():
    table = frame(recon_train=np.arange(6.0))
    assert of_fit(table, settled_from=9).settled is False
    assert of_fit(table, settled_from=3).settled is True
    assert of_fit(table).settled is None


def test_training_curves_stand_in_without_validation(sim):
    table = sim.history()
    validation = [name for name in table.columns if name.endswith("validation")]
    table[validation] = np.nan
    curves = of_fit(table)
    assert np.isnan(curves.gap)
    assert np.isfinite(curves.improvement).all()
    assert curves.n_non_finite == 0


def test_sparse_validation_is_not_divergence(sim):
    table = sim.history()
    table.loc[table.index % 5 != 0, ["recon_validation", "kl_validation", "loss_validation"]] = np.nan
    curves = of_fit(table)
    assert curves.n_non_finite == 0
    assert np.isfinite(curves.gap)


def test_non_finite_training_epochs_are_counted(sim):
    table = sim.history()
    table.loc[[7, 8], "recon_train"] = np.nan
    table.loc[9, "loss_validation"] = np.inf
    assert of_fit(table).n_non_finite == 3


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_short_and_empty_histories(sim, rows):
    curves = of_fit(sim.history(settled=1).iloc[:rows])
    assert curves.n_epochs == rows
    assert np.isfinite(curves.improvement[0]) == (rows == 2)
    assert of_fit(pd.DataFrame()).n_epochs == 0


def test_two_epochs_give_the_difference_of_an_epoch():
    curves = of_fit(frame(recon_validation=[600.0, 570.0], kl_validation=[1.0, 2.0]))
    assert curves.improvement == (pytest.approx(29.0), 0)
    assert curves.still_improving


def test_a_zero_loss_before_an_adversarys_start_is_called_expected():
    history = pd.DataFrame({"discriminator_loss_train": [0.0, 0.0, 1.9]}, index=[1, 2, 3])
    assert late_starts(history) == ["discriminator off until epoch 3: a zero loss before is expected (phase 1)."]
    assert late_starts(history.assign(discriminator_loss_train=0.0)) == [
        "discriminator off until the end of this run: a zero loss before is expected (phase 1)."
    ]
    assert late_starts(history.assign(discriminator_loss_train=2.0)) == []
    assert late_starts(history.rename(columns=lambda name: "loss_train")) == []


# numbers worked out by hand


def test_the_gap_is_that_of_the_best_validation_epoch():
    table = frame(
        recon_train=[10.0, 9, 8, 7],
        recon_validation=[20.0, 12, 15, 30],
        kl_train=np.zeros(4),
        kl_validation=np.zeros(4),
    )
    for curves in (of_fit(table), CurveStatistics(table)):
        assert curves.gap == 12 - 9
        assert curves.gap_growth == (30 - 7) - 3
    # before its weight is final the network is another one
    assert of_fit(table.assign(kl_weight=[0.0, 0.5, 1, 1])).gap == 15 - 8


@pytest.mark.parametrize(("noise", "stands_out"), [(1.0, True), (1.3, False)])
def test_improvement_and_its_error(noise, stands_out):
    # over the last five of eight epochs: slope −0.9, residual sum of squares 1.9, spread of the epochs 10
    residuals = noise * np.array([0.2, -0.9, 1.0, -0.1, -0.2])
    late = 3 - 0.9 * np.arange(-2, 3) + residuals
    curves = of_fit(frame(recon_validation=[50.0, 40, 30, *late], kl_validation=np.zeros(8)))
    assert curves.improvement == pytest.approx((0.9 * 8 / 4, noise * np.sqrt(1.9 / 3 / 10) * 8 / 4))
    assert curves.still_improving is stands_out


def test_pace_is_a_share_of_the_fall():
    epochs = pd.Index(range(0, 82, 2), name="epoch")
    line = CurveStatistics(pd.DataFrame({"loss_train": 500.0 - np.arange(41)}, index=epochs))
    assert line.fall == 40
    assert line.pace == pytest.approx((0.25, 0.0), abs=1e-6)
    # an exponential approach with half of its way to go stands at (log 2) / 4
    half = CurveStatistics(pd.DataFrame({"loss_train": 2.0 ** -(np.arange(1001) / 1000)}))
    assert half.pace[0] == pytest.approx(np.log(2) / 4 * np.mean(2.0 ** -(np.arange(750, 1001) / 1000)) / 0.5, rel=1e-3)
    two_late = CurveStatistics(frame(loss_train=[9.0, 5, 3, 2]))
    assert two_late.pace == pytest.approx((1 * 0.75 / 7, 0.0))


@pytest.mark.parametrize(("bad", "at_the_end"), [(5, False), (6, True), (7, True)])
def test_the_last_quarter_decides_whether_a_run_ended_not_finite(bad, at_the_end):
    curves = CurveStatistics(frame(loss_train=np.where(np.arange(8) == bad, np.inf, 1.0)))
    assert (curves.n_non_finite, curves.ends_non_finite) == (1, at_the_end)


def test_readings_of_the_kl():
    curves = CurveStatistics(frame(kl_train=[2.0, 8, 7, 6, 4, 3, 2, 1], recon_train=[50.0, 44, 43, 41, 40, 41, 41, 42]))
    assert (curves.kl_first, curves.kl_peak, curves.kl_last, curves.kl_end) == (2, 8, 1, 1.5)
    assert (curves.kl_of_peak, curves.change, curves.kl_of_change) == (1.5 / 8, 10, 0.15)
    assert (curves.reconstruction_end, curves.reconstruction_best) == (42, 40)


def test_what_validation_lost_again():
    lost = [10.0, 8, 6, 4, 4.5, 5, 5.5, 6]
    assert CurveStatistics(frame(loss_validation=lost)).worse == pytest.approx(2 / 6)
    assert np.isnan(CurveStatistics(frame(loss_train=lost)).worse)
    # a rise within three SDs of the noise is none
    noisy = [10.0, 8, 6, 4, 5, 3.5, 5.5, 4.5]
    assert CurveStatistics(frame(loss_validation=noisy)).worse == 0
    # one lucky epoch in many is no best, one bad one at the end no loss
    lucky = np.where(np.arange(12) == 8, 1.0, 20.0 - np.arange(12))
    lucky[-1] = 30
    assert CurveStatistics(frame(loss_validation=lucky)).worse == 0


def test_a_rise_is_a_share_of_the_start_and_the_smaller_of_two():
    up = np.linspace(100, 150, 9)
    curves = CurveStatistics(frame(loss_train=up, recon_train=np.linspace(100, 120, 9)))
    assert curves.rise == pytest.approx(0.2)
    assert CurveStatistics(frame(loss_train=up, recon_train=up[::-1])).rise == 0


@pytest.mark.parametrize(("rates", "annealed"), [([1, 5, 0.5], True), ([1, 5, 0.51], False), ([], False)])
def test_annealed_is_a_tenth_of_the_peak(rates, annealed):
    assert of_fit(frame(lr=np.array(rates, dtype=float))).annealed is annealed


def test_a_weight_has_settled_within_a_hundredth():
    assert CurveStatistics(frame(kl_weight=[0.5, 0.98, 0.991, 1])).settled_at == 2
    assert CurveStatistics(frame(kl_weight=[0.5, 0.98, 0.985, 1])).settled is False


def test_epochs_before_the_weight_settled_count_where_it_never_did():
    ramp = frame(recon_train=[9.0, 7, 6, 5], kl_train=np.ones(4), kl_weight=[0.25, 0.5, 0.75, 1])
    assert CurveStatistics(ramp).after_E.tolist() == [True] * 4
    assert of_fit(ramp).after_E.tolist() == [False, False, False, True]


def test_elbo_of_either_sign_is_one_curve():
    for sign in (1, -1):
        curves = CurveStatistics(frame(elbo_train=sign * np.array([9.0, 8, 7]), kl_train=np.ones(3)))
        assert curves.kind == "−ELBO"
        assert curves.judged_E.tolist() == [9, 8, 7]


# properties

numbers = st.integers(-(10**6), 10**6).map(lambda n: n / 1000)
losses = st.lists(numbers, min_size=3, max_size=30)


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=30), numbers)
def test_a_constant_in_the_losses_changes_nothing_but_levels(pairs, shift):
    values, validation = zip(*pairs, strict=True)
    table = frame(loss_train=np.array(values), loss_validation=np.array(validation), kl_train=np.ones(len(values)))
    shifted = table.assign(**{name: table[name] + shift for name in ("loss_train", "loss_validation")})
    before, after = CurveStatistics(table), CurveStatistics(shifted)
    for name in ("fall", "gap", "gap_growth", "kl_of_peak"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-6, atol=1e-6)


@given(losses)
def test_the_scale_of_the_losses_changes_no_share(values):
    table = frame(loss_validation=np.array(values), kl_validation=np.ones(len(values)))
    before, after = CurveStatistics(table), CurveStatistics(1024 * table)
    for name in ("pace", "worse", "kl_of_peak", "kl_of_change"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-6, atol=1e-6)


def test_a_setback_of_an_earlier_run_is_past():
    recon = np.array([500.0, 400, 700, 650, 400, 390, 391, 380])
    history = pd.DataFrame({"loss_train": recon + 5, "recon_train": recon, "kl_train": 5.0, "kl_weight": 1.0})
    history["lr"] = [0.3, 0.2, 0.1, 0.0, 0.01, 0.02, 0.01, 0.0]
    assert [of_fit(history, earlier_epochs=n).peak_rate for n in (0, 4)] == [0.3, 0.02]
    assert np.isnan(of_fit(history.drop(columns="lr")).peak_rate)
    assert of_fit(history).setback == 300
    assert of_fit(history, earlier_epochs=4).setback == 1
    assert np.isnan(of_fit(history, earlier_epochs=8).setback)
