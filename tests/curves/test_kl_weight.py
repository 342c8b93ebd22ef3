"""Where the weight of the KL is known from."""

import numpy as np
import pandas as pd
import pytest

from omicvae.curves.kl_weight import known_weight

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
