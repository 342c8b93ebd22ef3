"""Likelihoods: what the decoder's outputs mean, with fast and accurate log-probabilities in nats."""

from omicvae.likelihoods.base import Likelihood
from omicvae.likelihoods.bernoulli import Bernoulli
from omicvae.likelihoods.gaussian import Gaussian
from omicvae.likelihoods.negative_binomial import NegativeBinomial, negative_binomial_log_prob
from omicvae.likelihoods.poisson import Poisson, poisson_log_prob
from omicvae.likelihoods.student_t import StudentT
from omicvae.likelihoods.zinb import ZeroInflatedNegativeBinomial, zinb_log_prob

LIKELIHOODS: dict[str, type[Likelihood]] = {
    likelihood.name: likelihood
    for likelihood in (NegativeBinomial, ZeroInflatedNegativeBinomial, Poisson, Gaussian, Bernoulli, StudentT)
}

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Gaussian",
    "Likelihood",
    "NegativeBinomial",
    "Poisson",
    "StudentT",
    "ZeroInflatedNegativeBinomial",
    "negative_binomial_log_prob",
    "poisson_log_prob",
    "zinb_log_prob",
]
