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
