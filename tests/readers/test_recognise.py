"""Which likelihood a function is of, told from its values alone."""

import numpy as np
import pytest
import torch
from torch import distributions as D

from omicvae._core.errors import DataError
from omicvae.readers.recognise import Recognised, recognise, recognised

RNG = np.random.default_rng(0)
N, G = 8, 300
COUNTS = RNG.negative_binomial(1, 0.3, (N, G)).astype(np.float32)
MEAN = torch.from_numpy(RNG.gamma(1, 2, (N, G)).astype(np.float32))
THETA = torch.from_numpy(RNG.gamma(1, 1, G).astype(np.float32) + 0.05)
EXTRA = torch.from_numpy(RNG.uniform(0.1, 0.5, (N, G)).astype(np.float32))
SD = torch.from_numpy(RNG.gamma(2, 0.3, G).astype(np.float32) + 0.1)
SHARE = torch.from_numpy(RNG.uniform(0.05, 0.95, (N, G)).astype(np.float32))


def negative_binomial(x, mean=MEAN):
    return D.NegativeBinomial(THETA, logits=(mean / THETA).log()).log_prob(x)


def with_extra_zeros(x):
    p = negative_binomial(x).exp()
    return torch.where(x == 0, EXTRA + (1 - EXTRA) * p, (1 - EXTRA) * p).log()


def of_library(x):
    """Means that follow the sum of x, as decoders of counts have them."""
    return x.sum(1, keepdim=True) * MEAN / MEAN.sum(1, keepdim=True)


LIKELIHOODS = {
    "poisson": (COUNTS, lambda x: D.Poisson(MEAN).log_prob(x), Recognised("poisson")),
    "poisson of a library": (COUNTS, lambda x: D.Poisson(of_library(x)).log_prob(x), Recognised("poisson")),
    "nb": (COUNTS, negative_binomial, Recognised("nb")),
    "nb of a library": (COUNTS, lambda x: negative_binomial(x, of_library(x)), Recognised("nb")),
    "zinb": (COUNTS, with_extra_zeros, Recognised("zinb")),
    "squares of counts": (COUNTS, lambda x: -0.5 * (x - MEAN[0]) ** 2, Recognised("mse")),
    "squares": (np.log1p(COUNTS), lambda x: -((x - MEAN[0]) ** 2), Recognised("mse", 2.0)),
    "half squares": (np.log1p(COUNTS), lambda x: -0.5 * (x - MEAN[0]) ** 2, Recognised("mse", 1.0)),
    "gaussian": (np.log1p(COUNTS), lambda x: D.Normal(MEAN, SD).log_prob(x), Recognised("gaussian")),
    "cross-entropy": (
        (COUNTS > 0).astype(np.float32),
        lambda x: -torch.nn.functional.binary_cross_entropy(SHARE, x, reduction="none"),
        Recognised("bernoulli"),
    ),
}


def nll_of(log_prob, reduction="sum"):
    def nll(x, z, rows):
        return -getattr(log_prob(torch.from_numpy(x)).double(), reduction)(1).numpy()

    return nll


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_each_is_told(name):
    x, log_prob, expected = LIKELIHOODS[name]
    assert recognise(nll_of(log_prob), x, np.zeros((N, 2)), np.arange(N)) == expected


@pytest.mark.parametrize("name", ["poisson", "nb", "zinb", "squares", "half squares"])
def test_averages_over_features_are_refused_with_the_fix(name):
    x, log_prob, _ = LIKELIHOODS[name]
    with pytest.raises(DataError, match=r"average over the 300 features: return their sum, nll.sum\(1\)"):
        recognise(nll_of(log_prob, "mean"), x, np.zeros((N, 2)), np.arange(N))


def test_what_is_none_of_them_is_not_guessed():
    heavy = nll_of(lambda x: D.StudentT(4.0, MEAN, SD).log_prob(x))
    without_constants = nll_of(lambda x: x * MEAN.log() - MEAN)
    for x, nll in ((np.log1p(COUNTS), heavy), (COUNTS, heavy), (COUNTS, without_constants)):
        assert recognise(nll, x, np.zeros((N, 2)), np.arange(N)) is None


def test_a_function_that_refuses_values_between_0_and_1_is_of_0_and_1():
    strict = nll_of(lambda x: D.Bernoulli(SHARE, validate_args=True).log_prob(x))
    binary = (COUNTS > 0).astype(np.float32)
    assert recognised(strict, binary, np.zeros((N, 2)), np.arange(N)) == Recognised("bernoulli")
    assert recognised(strict, COUNTS, np.zeros((N, 2)), np.arange(N)) is None
