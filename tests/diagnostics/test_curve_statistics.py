import numpy as np
import pandas as pd
import pytest

from omicvae.diagnostics import CurveStatistics
from omicvae.diagnostics.curve_statistics import late_starts

of_fit = CurveStatistics.of_fit


def frame(**columns):
    n = len(next(iter(columns.values())))
    return pd.DataFrame(columns, index=pd.RangeIndex(1, n + 1, name="epoch"))


def test_readings_of_a_finished_run(sim):
    curves = of_fit(sim.history(epochs=40, settled=12, gap=7.0, pace=0.3))
    assert (curves.n_epochs, curves.settled_epoch, curves.settled, curves.n_settled) == (40, 12, True, 29)
    assert curves.annealed
    assert curves.gap == pytest.approx(7.0)
    assert curves.n_non_finite == 0
    assert abs(curves.improvement) < 1


def test_a_straight_line_wins_its_slope_times_a_quarter():
    epoch = np.arange(1, 21)
    curves = of_fit(frame(recon_validation=500.0 - 2 * epoch, kl_validation=np.zeros(20)))
    assert curves.improvement == pytest.approx(2 * 5)
    assert curves.improvement_se == pytest.approx(0, abs=1e-9)
    assert curves.still_improving


def test_noise_around_a_level_is_no_improvement():
    rng = np.random.default_rng(0)
    noisy = [
        of_fit(frame(recon_validation=500 + rng.normal(size=40), kl_validation=np.zeros(40))) for _ in range(200)
    ]
    assert np.mean([curves.still_improving for curves in noisy]) < 0.03


def test_pace_before_the_weight_has_settled_does_not_count():
    epoch = np.arange(1, 9)
    recon = np.where(epoch < 5, 600.0 - 20 * epoch, 500.0)
    weight = np.minimum(1, epoch / 5)
    curves = of_fit(frame(recon_validation=recon, kl_validation=np.zeros(8), kl_weight=weight))
    assert curves.settled_epoch == 5
    assert curves.improvement == 0


@pytest.mark.parametrize(
    ("weights", "settled_epoch", "settled"),
    [
        ([1, 1, 1, 1], 1, True),
        ([0.2, 0.6, 1, 1], 3, True),
        ([0.25, 0.5, 0.75, 1], 4, False),
        ([0.5, 1, 0.5, 1, 1], 4, True),
        ([0, 0, 0], 1, True),
    ],
)
def test_settling_is_read_from_the_weight_whatever_its_scale(weights, settled_epoch, settled):
    for scale in (1.0, 72.0, 1e-6):
        curves = of_fit(frame(kl_weight=scale * np.array(weights, dtype=float)))
        assert (curves.settled_epoch, curves.settled) == (settled_epoch, settled)


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
    assert np.isfinite(curves.improvement)
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
    assert np.isfinite(curves.improvement) == (rows == 2)
    assert of_fit(pd.DataFrame()).n_epochs == 0


def test_two_epochs_give_the_difference_of_an_epoch():
    curves = of_fit(frame(recon_validation=[600.0, 570.0], kl_validation=[1.0, 2.0]))
    assert curves.improvement == pytest.approx(29.0)
    assert curves.still_improving


def test_a_zero_loss_before_an_adversarys_start_is_called_expected():
    history = pd.DataFrame({"discriminator_loss_train": [0.0, 0.0, 1.9]}, index=[1, 2, 3])
    assert late_starts(history) == ["discriminator off until epoch 3: a zero loss before is expected (phase 1)."]
    assert late_starts(history.assign(discriminator_loss_train=0.0)) == [
        "discriminator off until the end of this run: a zero loss before is expected (phase 1)."
    ]
    assert late_starts(history.assign(discriminator_loss_train=2.0)) == []
    assert late_starts(history.rename(columns=lambda name: "loss_train")) == []
