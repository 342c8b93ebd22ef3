"""Where the priors start, what trains them, and what they leave alone."""

import numpy as np
import pytest
import torch

from omicvae._core import Batch, SettingError
from omicvae.likelihoods import LIKELIHOODS
from omicvae.module import Architecture, ConditionalVAE
from omicvae.priors import PRIORS, ConditionalNormal, Mixture, VampPrior

N_GENES, N_PSEUDO = 6, 4
SIZES = {
    "n_latent": 2,
    "n_genes": N_GENES,
    "n_categorical": 1,
    "n_continuous": 1,
    "covariate_width": 3 + 1,
    "n_pseudo_inputs": N_PSEUDO,
}


def cells(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.poisson(torch.full((n, N_GENES), 3.0), generator=generator)
    codes = torch.arange(n)[:, None] % 3
    return Batch(x, x.sum(1, keepdim=True).clamp_min(1), codes, torch.linspace(-1, 1, n)[:, None])


def make(prior):
    torch.manual_seed(0)
    architecture = Architecture(n_latent=2, n_hidden=8, dropout_rate=0.3)
    likelihood = LIKELIHOODS["nb"](N_GENES)
    return ConditionalVAE(
        likelihood, PRIORS[prior](**SIZES), architecture, n_genes=N_GENES, n_levels=(3,), n_continuous=1
    )


def started(n=N_PSEUDO):
    module = make("vamp")
    batch = cells(n, seed=1)
    module.prior.initialise(module.likelihood.encoder_input(batch), batch.categories_BD, batch.continuous_BV)
    return module


def test_the_conditional_prior_starts_at_the_standard_normal_and_is_linear():
    module = make("conditional")
    p = module.prior_at(cells(9))
    assert torch.equal(p.mean_BK, torch.zeros(9, 2))
    assert torch.equal(p.log_variance_BK, torch.zeros(9, 2))
    with torch.no_grad():
        module.prior.mean_CK[1] = 2.0
        module.prior.log_variance_CK[3] = 0.5
    p, batch = module.prior_at(cells(9)), cells(9)
    torch.testing.assert_close(p.mean_BK[:, 0], 2.0 * (batch.categories_BD[:, 0] == 1))
    torch.testing.assert_close(p.log_variance_BK[:, 1], 0.5 * batch.continuous_BV[:, 0])


def test_the_conditional_prior_needs_covariates():
    with pytest.raises(SettingError, match="needs covariates"):
        ConditionalNormal(2, 0)


@pytest.mark.parametrize("prior", ["conditional", "vamp"])
def test_gradients_reach_the_prior(prior):
    module = started() if prior == "vamp" else make(prior)
    module.train()
    batch = cells(12)
    q = module.encode(batch)
    module.prior_at(batch).kl(q, q.sample()).sum(-1).mean().backward()
    for name, parameter in module.prior.named_parameters():
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().sum() > 0, name
    assert module.encoder.mean.weight.grad.abs().sum() > 0


def test_the_vampprior_is_the_mixture_of_posteriors_of_its_cells():
    module = started().eval()
    q, p = module.encode(cells(N_PSEUDO, seed=1)), module.prior_at(cells(3))
    assert isinstance(p, Mixture)
    torch.testing.assert_close(p.mean_PK, q.mean_BK)
    torch.testing.assert_close(p.log_variance_PK, q.log_variance_BK)


def test_the_vampprior_is_one_function_in_training_and_inference_and_leaves_statistics_alone():
    module = started().train()
    module.encode(cells(12))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    in_training = module.prior_at(cells(5)).mean_PK
    assert module.encoder.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    torch.testing.assert_close(module.eval().prior_at(cells(5)).mean_PK, in_training, rtol=0, atol=0)


def test_the_covariates_of_pseudo_inputs_are_those_of_their_cells():
    prior, batch = started().prior, cells(N_PSEUDO, seed=1)
    assert torch.equal(prior.categories_PD, batch.categories_BD)
    assert torch.equal(prior.continuous_PV, batch.continuous_BV)
    assert [name for name, _ in prior.named_parameters()] == ["inputs_PG"]


def test_a_vampprior_with_fewer_cells_than_asked_for_loads_from_its_state():
    module = started(2)
    other = make("vamp")
    other.load_state_dict(module.state_dict())
    np.testing.assert_array_equal(
        other.eval().prior_at(cells(3)).mean_PK.detach(), module.eval().prior_at(cells(3)).mean_PK.detach()
    )
    assert len(other.prior.inputs_PG) == 2
    wrong = {**module.prior.state_dict(), "inputs_PG": torch.zeros(2, N_GENES + 1)}
    with pytest.raises(RuntimeError, match="size mismatch"):
        VampPrior(N_GENES, 1, 1, N_PSEUDO).load_state_dict(wrong)


@pytest.mark.parametrize("prior", PRIORS)
def test_samples_of_the_module_come_from_its_prior(prior, monkeypatch):
    module = started() if prior == "vamp" else make(prior)
    module.eval()
    batch, seen = cells(9), []
    if prior == "conditional":
        with torch.no_grad():
            module.prior.mean_CK.fill_(30.0)
    expected = module.prior_at(batch).sample(9, torch.Generator().manual_seed(3))
    decode = module.decode
    monkeypatch.setattr(module, "decode", lambda z, b: seen.append(z) or decode(z, b))
    assert module.sample(batch, torch.Generator().manual_seed(3)).shape == (9, N_GENES)
    assert torch.equal(seen[0], expected)
