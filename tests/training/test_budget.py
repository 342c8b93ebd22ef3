import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicvae._core import SettingError
from omicvae.training import OneCycle, Optimisation, make_budget
from omicvae.training.budget import default_weight_decay
from omicvae.training.learning_rate import LEARNING_RATES, Plateau
from omicvae.training.seeds import derive_seed


@given(n=st.integers(1, 200_000), batch_size=st.integers(2, 1024))
def test_budgets_are_in_steps_not_epochs(n, batch_size):
    budget = make_budget(n, batch_size)
    assert budget.total_steps == budget.max_epochs * budget.steps_per_epoch
    assert budget.total_steps >= 100


def test_small_data_get_many_epochs_and_large_data_few():
    small, large = make_budget(43, 128), make_budget(200_000, 128)
    assert small.max_epochs > 20 * large.max_epochs


def test_given_epochs_and_rate_are_kept():
    budget = make_budget(1000, 128, max_epochs=5.0, optimisation=Optimisation(0.5))
    assert (budget.max_epochs, budget.steps_per_epoch, budget.learning_rate().peak) == (5, 8, 0.5)


def test_a_run_has_an_epoch():
    with pytest.raises(SettingError, match="max_epochs must be at least 1"):
        make_budget(1000, 128, max_epochs=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"schedule": "staircase"},
        {"optimizer": "sgd"},
        {"weight_decay": -1.0},
        {"gradient_clip_norm": 0},
        {"ema_decay": 1.0},
    ],
)
def test_impossible_optimisers_are_refused(settings):
    with pytest.raises(SettingError, match=r"rate|schedule|optimizer|decay|norm"):
        Optimisation(**settings)


def test_a_plateau_lowers_the_rate_when_nothing_improves():
    rate = Plateau(1.0, patience=2)
    for loss in (5.0, 4.0, 4.0):
        rate.observe(loss)
    assert rate(0) == 1.0
    rate.observe(float("nan"))
    assert rate(0) == pytest.approx(0.3)
    again = Plateau(1.0, patience=2)
    again.restore(rate.state())
    assert again.state() == rate.state()
    again.observe(3.0)
    assert (again.best, again.waited, again(99)) == (3.0, 0, pytest.approx(0.3))


def test_a_constant_rate_is_constant():
    assert {LEARNING_RATES["constant"](0.02, 100, 10)(step) for step in range(100)} == {0.02}


@given(total=st.integers(1, 5000), rise=st.floats(0, 1))
def test_one_cycle_peaks_where_it_says_and_ends_near_zero(total, rise):
    rate = OneCycle(1.0, total, rise=rise)
    values = [rate(step) for step in range(total)]
    assert all(0 < value <= 1.0 for value in values)
    assert rate(rate.settled_step) == pytest.approx(1.0)
    assert rate(total) == pytest.approx(1e-3, rel=1e-6) or rate.settled_step == total


def test_seeds_differ_by_purpose_and_path_and_repeat():
    seeds = {derive_seed(0, p, i) for p in ("weights", "split", "noise") for i in range(50)}
    assert len(seeds) == 150
    assert derive_seed(7, "order", 3) == derive_seed(7, "order", 3)
    assert derive_seed(7, "order", 3) != derive_seed(8, "order", 3)


def test_planned_steps_in_figures():
    # 40 passes over the cells in minibatches of 128, from 300 to 8000 steps
    for n, steps in ((1, 300), (384, 300), (1280, 400), (12_800, 4000), (25_600, 8000), (51_200, 8000)):
        assert make_budget(n, 128).total_steps == steps
    assert make_budget(51_200, 51_200).total_steps == 8000  # not rounded up to whole epochs of several
    budget = make_budget(1280, 128)
    assert (budget.max_epochs, budget.steps_per_epoch, budget.total_steps) == (40, 10, 400)
    assert [make_budget(n, 128).max_epochs for n in (1000, 1003)] == [39, 40]  # 312 and 313 steps, of 8 an epoch
    assert make_budget(1000, 128, max_epochs=1).total_steps == 8
    assert default_weight_decay(140) == pytest.approx(50 / 140)


def test_an_optimiser_is_adam_at_a_hundredth_unless_told_otherwise():
    found = make_budget(1000, 128).optimisation
    assert found == Optimisation(1e-2, "one_cycle", "adam", 0.0, None, None)
    assert Optimisation(weight_decay=0, gradient_clip_norm=1e-9, ema_decay=0).ema_decay == 0
    for name, value in (("gradient_clip_norm", -0.5), ("ema_decay", 1.5), ("ema_decay", -0.5), ("weight_decay", -0.5)):
        with pytest.raises(SettingError, match=f"{name} must be"):
            Optimisation(**{name: value})
    for value in (0, -1.0):
        with pytest.raises(SettingError, match="learning_rate must be a positive number"):
            Optimisation(value)
