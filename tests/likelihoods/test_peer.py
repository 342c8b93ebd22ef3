"""The bound compares with scvi-tools' only if both count the same constants."""

import torch
from scvi.distributions import NegativeBinomial, ZeroInflatedNegativeBinomial

from omicvae.likelihoods import negative_binomial_log_prob, zinb_log_prob


def test_log_probabilities_are_those_of_scvi_tools():
    generator = torch.Generator().manual_seed(0)
    mu = torch.empty(50, 40, dtype=torch.float64).exponential_(0.2, generator=generator) + 0.01
    theta = torch.empty(40, dtype=torch.float64).exponential_(0.5, generator=generator) + 0.1
    x = torch.poisson(mu, generator=generator)
    logit = torch.empty_like(mu).normal_(generator=generator)
    peer = NegativeBinomial(mu=mu, theta=theta, validate_args=False)
    torch.testing.assert_close(negative_binomial_log_prob(x, mu, theta), peer.log_prob(x), rtol=1e-4, atol=1e-4)
    zero_inflated = ZeroInflatedNegativeBinomial(mu=mu, theta=theta, zi_logits=logit, validate_args=False)
    torch.testing.assert_close(zinb_log_prob(x, mu, theta, logit), zero_inflated.log_prob(x), rtol=1e-4, atol=1e-4)
