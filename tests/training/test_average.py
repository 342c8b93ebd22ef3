import torch

from omicvae.training.average import WeightAverage


def test_the_average_follows_the_formula_and_gives_the_weights_back():
    weight = torch.zeros(3)
    average = WeightAverage([weight], decay=0.5)
    expected = 0.0
    for step, value in enumerate((1.0, 3.0, 2.0)):
        weight.fill_(value)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    torch.testing.assert_close(average.averages[0], torch.full((3,), expected))
    with average.applied():
        torch.testing.assert_close(weight, torch.full((3,), expected))
    assert torch.equal(weight, torch.full((3,), 2.0))
