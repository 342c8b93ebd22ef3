import torch
from torch.distributions import Normal, kl_divergence

from omicvae._core import LatentPosterior
from omicvae.priors import PRIORS, StandardNormal


def posterior():
    generator = torch.Generator().manual_seed(0)
    return LatentPosterior(torch.randn(50, 4, generator=generator), torch.randn(50, 4, generator=generator))


def standard(n_latent):
    return StandardNormal(n_latent).at(torch.zeros(1, 0), None)


def test_kl_is_that_of_torch():
    q = posterior()
    expected = kl_divergence(Normal(q.mean_BK, q.sd_BK), Normal(0.0, 1.0))
    torch.testing.assert_close(standard(4).kl(q, q.sample()), expected)


def test_kl_is_the_closed_form_to_the_bit():
    q = posterior()
    closed = 0.5 * (q.mean_BK.square() + torch.expm1(q.log_variance_BK) - q.log_variance_BK)
    assert torch.equal(standard(4).kl(q, q.sample()), closed)


def test_a_nearly_collapsed_kl_keeps_its_digits():
    small = torch.full((1, 1), 1e-4)
    kl = standard(1).kl(LatentPosterior(torch.zeros(1, 1), small), torch.zeros(1, 1))
    torch.testing.assert_close(kl, small.square() / 4, rtol=1e-3, atol=0)


def test_log_prob_and_moments_of_samples():
    prior = PRIORS["standard"](n_latent=4, n_genes=9).at(torch.zeros(1, 0), None)
    z = prior.sample(20_000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(prior.log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(-1))
    assert z.mean().abs() < 0.02
    assert abs(float(z.std()) - 1) < 0.02


def test_posterior_draws_have_its_mean_and_sd():
    q = LatentPosterior(torch.full((20_000, 1), 2.0), torch.full((20_000, 1), 2.0))
    z = q.sample(torch.Generator().manual_seed(0))
    assert abs(float(z.mean()) - 2) < 0.06
    assert abs(float(z.std()) - float(torch.e)) < 0.06
