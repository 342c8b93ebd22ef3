import math

import pytest

from omicvae.training.learning_rate import LEARNING_RATES, OneCycle


def test_one_cycle_by_hand():
    # up from 4 % over the first fifth, down to a thousandth, both by half a cosine
    rate = OneCycle(2.0, 100, rise=0.2)
    assert rate.settled_step == 20
    eighth = (1 - math.cos(math.pi / 4)) / 2
    up = [0.08, 2 * (0.04 + 0.96 * eighth), 2 * (0.04 + 0.96 / 2), 2 * (1 - 0.96 * eighth), 2.0]
    assert [rate(step) for step in (0, 5, 10, 15, 20)] == pytest.approx(up)
    down = [2 * (1 - 0.999 * eighth), 2 * (0.001 + 0.999 / 2), 2 * (0.001 + 0.999 * eighth), 0.002]
    assert [rate(step) for step in (40, 60, 80, 100)] == pytest.approx(down)
    assert rate(150) == pytest.approx(0.002)  # beyond the planned run it stays
    assert OneCycle(1.0, 4, rise=0.75)(4) == pytest.approx(1e-3)  # down in a single step
    assert OneCycle(1.0, 4, rise=1.0)(4) == 1.0


@pytest.mark.parametrize("rise", [0.1, 0.25, 0.9])
def test_one_cycle_rises_to_its_peak_and_falls_from_there(rise):
    rate = OneCycle(1.0, 40, rise=rise)
    values = [rate(step) for step in range(41)]
    peak = rate.settled_step
    assert values[: peak + 1] == sorted(values[: peak + 1])
    assert values[peak:] == sorted(values[peak:], reverse=True)
    assert (values[0], values[peak], values[40]) == pytest.approx((0.04, 1.0, 1e-3))


def test_the_rates_of_the_table():
    cycle = LEARNING_RATES["one_cycle"](0.01, 200, 10)
    assert (cycle.settled_step, cycle(0), cycle(50)) == (50, pytest.approx(4e-4), pytest.approx(0.01))
    plateau = LEARNING_RATES["plateau"](0.01, 200, 10)
    assert (plateau(7), plateau.settled_step) == (0.01, 0)
    # patience of 5 epochs, or a twentieth of the run, rounded up
    for epochs, patience in ((10, 5), (100, 5), (101, 6), (400, 20)):
        assert LEARNING_RATES["plateau"](0.01, 200, epochs).patience == patience
    constant = LEARNING_RATES["constant"](0.01, 200, 10)
    for _ in range(1000):
        constant.observe(math.inf)
    assert (constant(199), constant.settled_step) == (0.01, 0)


def test_a_plateau_lowers_the_rate_once_its_patience_is_over():
    rate = LEARNING_RATES["plateau"](1.0, 200, 10)
    losses = [9.0, 8.0, 8.0, 8.5, math.nan, 8.0, 8.0, 7.0, *[7.0] * 5, 7.5]
    seen = []
    for loss in losses:
        rate.observe(loss)
        seen.append(rate(0))
    assert seen == pytest.approx([1.0] * 6 + [0.3] * 6 + [0.09] * 2)
    assert rate.state() == {"rate": pytest.approx(0.09), "best": 7.0, "waited": 1}
    again = LEARNING_RATES["plateau"](1.0, 200, 10)
    again.restore(rate.state())
    for _ in range(4):
        again.observe(7.0)
    assert again(0) == pytest.approx(0.027)
