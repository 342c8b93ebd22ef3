import math

import pytest
import torch

from omicvae.training.step import StepTotals


def totals(*further):
    return StepTotals(torch.device("cpu"), further)


def figures(loss, recon, kl, **further):
    return {name: torch.tensor(value) for name, value in {"loss": loss, "recon": recon, "kl": kl, **further}.items()}


def test_means_are_over_cells_and_skipped_steps_count_for_nothing():
    sums = totals("adversary_loss")
    sums.add(figures(4.0, 3.0, 1.0, adversary_loss=0.5), 10, torch.tensor(0.0))
    sums.add(figures(1.0, 0.5, 0.5), 30, torch.tensor(0.0))
    sums.add(figures(math.nan, math.inf, 9.0), 20, torch.tensor(1.0))
    assert sums.means() == pytest.approx({"loss": 1.75, "recon": 1.125, "kl": 0.625, "adversary_loss": 0.125})
    assert sums.bad_steps() == [2]


def test_steps_on_the_host_are_counted_alike():
    sums = totals()
    sums.add_numbers(4.0, 3.0, 1.0, 10)
    sums.skip()
    sums.add_numbers(1.0, 0.5, 0.5, 30)
    sums.add(figures(7.0, 5.0, 2.0), 40, torch.tensor(0.0))
    assert sums.means() == pytest.approx({"loss": 4.375, "recon": 3.0625, "kl": 1.3125})
    assert sums.bad_steps() == [1]
    sums.skip()
    assert sums.bad_steps() == [0]  # of those since the last call


def test_without_a_step_that_counts_there_are_no_means():
    sums = totals()
    sums.skip()
    assert all(math.isnan(value) for value in sums.means().values())
