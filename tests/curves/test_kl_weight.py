"""Where the weight of the KL is known from."""

import numpy as np
import pandas as pd
import pytest

from omicvae.curves.kl_weight import known_weight, unexplained

KL = np.array([5.0, 8.0, 9.0, 10.0])
RECON = np.array([400.0, 350.0, 330.0, 325.0])


def log(weight, **more):
    return pd.DataFrame({"loss_train": RECON + np.asarray(weight) * KL, "recon_train": RECON, "kl_train": KL, **more})


@pytest.mark.parametrize("weight", [[0.5] * 4, [0.0, 0.25, 0.5, 0.5], [0.5, 0.5, 0.48, 0.5]])
def test_it_follows_from_loss_reconstruction_and_kl(weight):
    weight_E, source = known_weight(log(weight))
    assert source == "implied"
    np.testing.assert_allclose(weight_E, weight if np.ptp(weight) > 0.1 else 0.5, atol=1e-12)


@pytest.mark.parametrize(
    "table",
    [
        log([0.5, 0.4, 0.3, 0.2]),  # falls
        log([0.5, 0.5, 0.5, 0.5], discriminator_loss_train=np.ones(4)),  # the difference holds more
        log([0.5, 0.5, 0.5, 0.5], adversary_loss_train=np.ones(4)),
        log([-1.0, -1.0, -1.0, -1.0]),
        log([0.5, 0.5, 0.5, 0.5]).drop(columns="kl_train"),
        log([0.5, 0.5, 0.5, 0.5]).iloc[:1],
        pd.DataFrame({"loss_train": [10.1, 10.0], "recon_train": [10.0, 9.9], "kl_train": [1.0, 1.0]}),  # rounding
    ],
)
def test_it_is_unknown_where_they_do_not_tell(table):
    weight_E, source = known_weight(table)
    assert source == "unknown"
    assert np.isnan(weight_E).all()


def test_what_is_logged_goes_before_what_is_given_and_that_before_what_is_implied():
    table = log([0.5] * 4)
    assert known_weight(table, 2.0)[1] == "given"
    assert known_weight(table, 2.0)[0].tolist() == [2] * 4
    logged = table.assign(kl_weight=[1.0, 2, 3, 3])
    assert known_weight(logged, 2.0)[1] == "logged"
    # a single logged value shows no schedule
    once = table.assign(kl_weight=[np.nan, np.nan, 0.7, np.nan])
    assert [known_weight(once, given)[1] for given in (2.0, None)] == ["given", "implied"]
    assert known_weight(once[["kl_weight"]])[1] == "logged"


def rounded(digits, weight=1.0):
    """A log whose KL is just above, or below, what its last decimal lets us tell."""
    loss = np.round(np.array([1.1, 1.2, 1.3, 1.4]), digits) + 10.0**-digits
    return pd.DataFrame({"loss_train": loss, "recon_train": loss - weight * 0.1, "kl_train": np.full(4, 0.1)})


def test_one_fall_in_a_ramp_is_enough_to_leave_it_unknown():
    assert known_weight(log([0.0, 0.4, 0.2, 0.5]))[1] == "unknown"
    assert known_weight(log([0.0, 0.5, 0.49, 0.5]))[1] == "implied"  # within the slack


def test_a_ramp_must_be_known_to_its_end():
    table = log([0.0, 0.2, 0.4, 0.5])
    for row, source in ((2, "implied"), (3, "unknown")):
        gap = table.copy()
        gap.loc[row, "kl_train"] = np.nan
        assert known_weight(gap)[1] == source


@pytest.mark.parametrize(("digits", "source"), [(1, "unknown"), (2, "unknown"), (3, "implied"), (4, "implied")])
def test_what_was_rounded_away_tells_no_weight(digits, source):
    """KL · 5 % = 0.005 must exceed twice the last decimal."""
    assert known_weight(rounded(digits))[1] == source


@pytest.mark.parametrize(("largest", "source"), [(4000.0, "implied"), (6000.0, "unknown")])
def test_single_precision_of_the_largest_loss_limits_it(largest, source):
    """2e-6 of the largest loss against 5 % of a KL of 0.2."""
    loss = np.array([0.123456789, 0.2, 0.3, largest])
    table = pd.DataFrame({"loss_train": loss, "recon_train": loss - 0.2, "kl_train": np.full(4, 0.2)})
    assert known_weight(table)[1] == source


def test_eight_decimals_are_the_finest():
    """A KL of 3e-7 is 0.75 of twice the last of eight decimals, and 7.5 of nine."""
    loss = np.array([1.123456789e-3, 1.2e-3, 1.3e-3, 1.4e-3])
    for kl, source in ((3e-7, "unknown"), (5e-7, "implied")):
        table = pd.DataFrame({"loss_train": loss, "recon_train": loss - kl, "kl_train": np.full(4, kl)})
        assert known_weight(table)[1] == source


def test_the_rest_that_a_weight_leaves():
    table = log([0.5] * 4)
    half = np.full(4, 0.5)
    assert unexplained(table, half) == 0
    assert unexplained(table, half + 1) == pytest.approx(-8.5)
    assert np.isnan(unexplained(table, half * np.nan))
