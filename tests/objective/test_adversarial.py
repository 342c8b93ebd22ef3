import math

import pytest
import torch

from omicvae._core import LatentPosterior
from omicvae.objective import adaptive_weight, confusion_loss, hinge_loss, total_correlation


def test_hinge_loss_by_hand():
    assert float(hinge_loss(torch.zeros(4), torch.zeros(4))) == 2.0
    assert float(hinge_loss(torch.full((4,), 2.0), torch.full((4,), -2.0))) == 0.0


def test_confusion_is_zero_where_z_says_nothing_and_positive_elsewhere():
    shares = torch.tensor([0.7, 0.3, 0.0])
    nothing = torch.tensor([[0.7, 0.3, 1e-30]]).log().expand(5, 3)
    assert float(confusion_loss(nothing, shares)) == pytest.approx(0.0, abs=1e-6)
    sure = torch.tensor([[0.99, 0.01 - 1e-6, 1e-6]]).log()
    assert float(confusion_loss(sure, shares)) == pytest.approx(
        0.7 * math.log(0.7 / 0.99) + 0.3 * math.log(0.3 / 0.009999), rel=1e-4
    )


def test_the_adaptive_weight_equals_gradients_and_is_bounded():
    assert float(adaptive_weight(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 2.0]))) == 2.5
    assert float(adaptive_weight(torch.ones(2), torch.zeros(2))) == 1e4
    assert float(adaptive_weight(torch.zeros(2), torch.ones(2))) == 0.0


def test_total_correlation_of_dependent_dimensions_is_larger_by_the_closed_form():
    # narrow posteriors: q(z) is the distribution of the means, a Gaussian with correlation r
    generator = torch.Generator().manual_seed(0)
    n, r = 4000, 0.9
    independent = torch.randn(n, 2, generator=generator)
    mixing = torch.linalg.cholesky(torch.tensor([[1.0, r], [r, 1.0]]))
    log_variance = torch.full((n, 2), math.log(0.15**2))

    def estimate(means):
        posterior = LatentPosterior(means, log_variance)
        return float(total_correlation(posterior.sample(torch.Generator().manual_seed(1)), posterior, n))

    variance = 1 + 0.15**2
    closed = -0.5 * math.log(1 - (r / variance) ** 2)
    assert estimate(independent @ mixing.T) - estimate(independent) == pytest.approx(closed, abs=0.1)


def test_total_correlation_is_differentiable_in_the_posterior():
    mean = torch.randn(16, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    posterior = LatentPosterior(mean, torch.zeros(16, 3))
    total_correlation(posterior.sample(), posterior, 100).backward()
    assert torch.isfinite(mean.grad).all()
    assert mean.grad.abs().sum() > 0


def test_each_side_of_the_hinge_loss_counts_from_its_margin_on():
    real, generated = torch.tensor([0.5, 3.0]), torch.tensor([-0.25, -5.0])
    assert float(hinge_loss(real, generated)) == pytest.approx(0.25 + 0.375)
    assert float(hinge_loss(torch.tensor([-1.0]), torch.tensor([2.0]))) == pytest.approx(5.0)


def test_confusion_is_a_mean_over_cells():
    shares = torch.tensor([0.5, 0.5])
    log_probabilities = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    expected = (0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)) / 2
    assert float(confusion_loss(log_probabilities, shares)) == pytest.approx(expected)


def test_the_adaptive_weight_takes_no_gradient():
    gradient = torch.ones(2, requires_grad=True)
    assert not adaptive_weight(gradient, torch.ones(2)).requires_grad


def test_total_correlation_of_two_cells_by_hand():
    z, mean, log_variance = [[0.0, 1.0], [2.0, -1.0]], [[0.5, 0.5], [1.0, -2.0]], [[0.0, -1.0], [0.5, 0.2]]

    def density(b, m, j):
        variance = math.exp(log_variance[m][j])
        return math.exp(-0.5 * (z[b][j] - mean[m][j]) ** 2 / variance) / math.sqrt(2 * math.pi * variance)

    expected = 0.0
    for b in range(2):
        joint = sum(density(b, m, 0) * density(b, m, 1) for m in range(2)) / (2 * 50)
        marginals = [sum(density(b, m, j) for m in range(2)) / (2 * 50) for j in range(2)]
        expected += (math.log(joint) - sum(map(math.log, marginals))) / 2
    posterior = LatentPosterior(torch.tensor(mean), torch.tensor(log_variance))
    assert float(total_correlation(torch.tensor(z), posterior, 50)) == pytest.approx(expected, rel=1e-5)
