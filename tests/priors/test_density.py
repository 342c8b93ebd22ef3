"""KL, log density, draws and moments of the densities, against torch.distributions and against integration."""

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from omicvae._core import LatentPosterior
from omicvae.priors import DiagonalNormal, Mixture


def pair(n, k, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, k, generator=generator), torch.randn(n, k, generator=generator)


def normal(mean, log_variance):
    return Normal(mean, (0.5 * log_variance).exp())


def torch_mixture(mixture):
    parts = Independent(normal(mixture.mean_PK, mixture.log_variance_PK), 1)
    return MixtureSameFamily(Categorical(torch.ones(len(mixture.mean_PK))), parts)


def test_a_gaussian_agrees_with_torch():
    p, q = DiagonalNormal(*pair(50, 4, 0)), LatentPosterior(*pair(50, 4, 1))
    expected = normal(p.mean_BK, p.log_variance_BK)
    z = q.sample(torch.Generator().manual_seed(2))
    torch.testing.assert_close(p.kl(q, z), kl_divergence(Normal(q.mean_BK, q.sd_BK), expected), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(p.log_prob(z), expected.log_prob(z).sum(-1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.stack(p.moments()), torch.stack([expected.mean, expected.stddev]))


def test_a_nearly_collapsed_kl_keeps_its_digits_wherever_the_prior_lies():
    p = DiagonalNormal(torch.full((1, 1), 3.0), torch.full((1, 1), 0.5))
    q = LatentPosterior(p.mean_BK, p.log_variance_BK + 2**-10)
    torch.testing.assert_close(p.kl(q, q.mean_BK), torch.full((1, 1), 2.0**-20 / 4), rtol=1e-3, atol=0)


def test_draws_of_a_gaussian_belong_to_their_cells():
    p = DiagonalNormal(torch.tensor([[-5.0, 0.0], [5.0, 0.0]]), torch.zeros(2, 2))
    z = torch.stack([p.sample(2, torch.Generator().manual_seed(seed)) for seed in range(2000)])
    torch.testing.assert_close(z.mean(0), p.mean_BK, atol=0.1, rtol=0)
    torch.testing.assert_close(z.std(0), torch.ones(2, 2), atol=0.1, rtol=0)


def test_a_mixture_agrees_with_torch():
    p = Mixture(*pair(7, 3, 0))
    expected = torch_mixture(p)
    z = p.sample(50_000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(p.log_prob(z), expected.log_prob(z), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.stack(p.moments()), torch.stack([expected.mean, expected.stddev]))
    torch.testing.assert_close(z.mean(0), expected.mean, atol=0.04, rtol=0)
    torch.testing.assert_close(z.std(0), expected.stddev, atol=0.04, rtol=0)


def test_dimensions_of_the_kl_sum_to_the_log_ratio():
    p, q = Mixture(*pair(7, 3, 0)), LatentPosterior(*pair(50, 3, 1))
    z = q.sample(torch.Generator().manual_seed(2))
    ratio = Normal(q.mean_BK, q.sd_BK).log_prob(z).sum(-1) - torch_mixture(p).log_prob(z)
    assert p.kl(q, z).shape == (50, 3)
    torch.testing.assert_close(p.kl(q, z).sum(-1), ratio, rtol=1e-4, atol=1e-4)


def test_the_estimated_kl_of_a_mixture_is_the_integral():
    p, q = Mixture(*pair(5, 1, 0)), LatentPosterior(torch.tensor([[0.7]]), torch.tensor([[-1.0]]))
    grid = torch.linspace(-15, 15, 20_001)[:, None]
    log_q = Normal(q.mean_BK, q.sd_BK).log_prob(grid)[:, 0]
    integral = torch.trapezoid(log_q.exp() * (log_q - torch_mixture(p).log_prob(grid)), grid[:, 0])
    many = LatentPosterior(q.mean_BK.expand(40_000, 1), q.log_variance_BK.expand(40_000, 1))
    kl = p.kl(many, many.sample(torch.Generator().manual_seed(0)))
    assert float(kl.mean()) == pytest.approx(float(integral), abs=4 * float(kl.std()) / 200)


def test_a_mixture_of_the_posterior_itself_costs_nothing():
    q = LatentPosterior(*pair(1, 3, 0))
    z = q.sample(torch.Generator().manual_seed(1))
    p = Mixture(q.mean_BK.expand(4, 3), q.log_variance_BK.expand(4, 3))
    torch.testing.assert_close(p.kl(q, z), torch.zeros(1, 3), atol=1e-6, rtol=0)


def test_far_draws_stay_finite():
    p, q = Mixture(*pair(5, 2, 0)), LatentPosterior(torch.full((1, 2), 1e4), torch.zeros(1, 2))
    assert torch.isfinite(p.kl(q, q.mean_BK)).all()


def test_components_are_those_of_the_density_and_all_are_chosen():
    numbers = torch.arange(60)
    mixture = Mixture(*pair(6, 3, 0))
    mean, sd = mixture.component(numbers)
    torch.testing.assert_close(mean[:6], mixture.mean_PK)
    torch.testing.assert_close(sd[6:12], (0.5 * mixture.log_variance_PK).exp())
    one = DiagonalNormal(torch.tensor([1.0, 2.0]), torch.zeros(2))
    torch.testing.assert_close(one.component(numbers)[0], torch.tensor([[1.0, 2.0]]).expand(60, 2))
    each = DiagonalNormal(*pair(60, 2, 1))
    torch.testing.assert_close(each.component(numbers)[1], each.moments()[1])
