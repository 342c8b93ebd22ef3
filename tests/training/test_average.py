import pytest
import torch

from omicvae.training.average import WeightAverage


def test_the_average_follows_the_formula_and_gives_the_weights_back():
    weight = torch.zeros(3)
    average = WeightAverage([weight], decay=0.15)
    # d = 1/10, min(0.15, 2/11), min(0.15, 3/12)
    for value, expected in ((1.0, 0.9), (3.0, 0.15 * 0.9 + 0.85 * 3), (2.0, 0.15 * 2.685 + 0.85 * 2)):
        weight.fill_(value)
        average.update()
        torch.testing.assert_close(average.averages[0], torch.full((3,), expected))
        assert torch.equal(weight, torch.full((3,), value))
    with average.applied():
        torch.testing.assert_close(weight, torch.full((3,), 2.10275))
    assert torch.equal(weight, torch.full((3,), 2.0))


def test_without_a_lower_decay_the_average_starts_quickly():
    weight = torch.zeros(1)
    average = WeightAverage([weight], decay=0.999)
    weight.fill_(1.0)
    for expected in (0.9, 1 - 0.1 * 2 / 11, 1 - 0.1 * 2 / 11 * 3 / 12):
        average.update()
        torch.testing.assert_close(average.averages[0], torch.tensor([expected]))


def test_the_weights_come_back_after_an_error_too():
    weight = torch.ones(2)
    average = WeightAverage([weight], decay=0.5)
    average.averages[0].zero_()

    def fail():
        assert not weight.any()
        raise RuntimeError("scoring failed")

    with pytest.raises(RuntimeError, match="scoring failed"), average.applied():
        fail()
    assert torch.equal(weight, torch.ones(2))
