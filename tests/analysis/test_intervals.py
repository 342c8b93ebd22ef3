import numpy as np
import pytest
import torch

from omicvae._core import SettingError
from omicvae.analysis import DrawInterval


@pytest.mark.parametrize(("level", "n_draws"), [(0.95, 39), (0.95, 199), (0.9, 50), (0.5, 7)])
def test_a_further_draw_lies_within_with_the_level_or_a_little_more(level, n_draws):
    rng = np.random.default_rng(0)
    draws = torch.from_numpy(rng.normal(size=(20_000, n_draws, 1)))
    interval = DrawInterval(level, n_draws)
    _, _, lower, upper = interval(draws)
    another = rng.normal(size=(20_000, 1))
    inside = ((another > lower.numpy()) & (another < upper.numpy())).mean()
    exact = (n_draws + 1 - 2 * interval.rank) / (n_draws + 1)
    assert inside == pytest.approx(exact, abs=0.01)
    assert level <= exact + 1e-12 < level + 2 / (n_draws + 1)


def test_mean_and_sd_are_those_of_the_draws():
    draws = torch.randn(3, 40, 4, generator=torch.Generator().manual_seed(0))
    mean, sd, lower, upper = DrawInterval(0.9, 40)(draws)
    np.testing.assert_allclose(mean, draws.numpy().mean(1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sd, draws.numpy().std(1, ddof=1), rtol=1e-4)
    assert (lower < mean).all()
    assert (mean < upper).all()


@pytest.mark.parametrize(
    ("level", "n_draws", "message"), [(0.95, 38, "at least 39 draws"), (1.0, 99, "between 0 and 1")]
)
def test_too_few_draws_and_odd_levels_are_refused(level, n_draws, message):
    with pytest.raises(SettingError, match=message):
        DrawInterval(level, n_draws)
