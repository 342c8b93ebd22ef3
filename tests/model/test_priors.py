"""``CVAE(prior=)``: each prior trains, bounds and marginal likelihoods are right, saves bring it back."""

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import omicvae as ov
from omicvae._core import LatentPosterior
from omicvae.model.inputs import gather_inputs
from omicvae.priors import PRIORS
from omicvae.training import CellPasses

from .conftest import FAST, SETUP, STEPS


def train(counts, prior, n_latent=3, epochs=6, **settings):
    ov.CVAE.setup_anndata(counts, **SETUP)
    model = ov.CVAE(counts, "nb", n_latent, n_hidden=16, prior=prior, n_pseudo_inputs=10, **settings)
    model.train(**{**STEPS, "max_epochs": epochs})
    return model


def torch_prior(model, batch):
    """p(z | c) of each cell of the batch by torch.distributions, from the parameters alone."""
    module, prior = model.module, model.module.prior
    c = module.covariates(batch)
    if model.config.prior == "conditional":
        return [
            Independent(Normal(m, v.exp().sqrt()), 1)
            for m, v in zip(c @ prior.mean_CK, c @ prior.log_variance_CK, strict=True)
        ]
    if model.config.prior == "vamp":
        one_hot = [torch.eye(2)[prior.categories_PD[:, 0]], torch.eye(3)[prior.categories_PD[:, 1]]]
        q = module.encoder(prior.inputs_PG, torch.cat([*one_hot, prior.continuous_PV], 1))
        parts = Independent(Normal(q.mean_BK, q.sd_BK), 1)
        return [MixtureSameFamily(Categorical(torch.ones(len(q.mean_BK))), parts)] * len(batch)
    return [Independent(Normal(torch.zeros(1), torch.ones(1)), 1)] * len(batch)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_marginal_likelihood_is_the_integral_over_the_latent(counts, prior):
    model = train(counts, prior, n_latent=1, epochs=15)
    indices = [0, 1, 2, 3]
    estimate = model.get_marginal_ll(indices=indices, n_mc_samples=4000, return_mean=False)
    batch = model.state.store.batch(indices)
    grid = torch.linspace(-12, 12, 4001)
    with torch.inference_mode():
        densities = torch_prior(model, batch)
        log_joint = torch.stack(
            [
                densities[b].log_prob(grid[:, None])
                - model.module.reconstruction(grid[:, None], model.state.store.batch([b] * len(grid)))
                for b in range(len(batch))
            ]
        )
    # the trapezoid in log space; both ends are negligible
    exact = torch.logsumexp(log_joint, 1) + np.log(float(grid[1] - grid[0]))
    np.testing.assert_allclose(estimate, exact, atol=0.05)
    assert (model.get_elbo(indices=indices, n_samples=500, return_mean=False) < exact.numpy() + 0.05).all()


@pytest.mark.parametrize("prior", ["conditional", "vamp"])
def test_it_trains_is_diagnosed_and_comes_back(counts, prior, tmp_path):
    model = train(counts, prior, epochs=10)
    history = model.history
    assert np.isfinite(history).all(axis=None)
    assert history["elbo_validation"].iloc[-1] > history["elbo_validation"].iloc[0] + 1
    parameters = dict(model.module.prior.named_parameters())
    untrained = ov.CVAE(counts, "nb", 3, n_hidden=16, prior=prior, n_pseudo_inputs=10)
    assert not any(torch.equal(value, untrained.module.prior.get_parameter(name)) for name, value in parameters.items())
    assert np.isfinite(model.diagnose(umap=False).evidence["value"].astype(float)).all()
    model.save(tmp_path / "m")
    loaded, bare = ov.CVAE.load(tmp_path / "m", adata=counts), ov.CVAE.load(tmp_path / "m")
    assert loaded.config == model.config
    for other in (loaded.get_elbo(), bare.get_elbo(counts)):
        assert other == model.get_elbo()
    assert loaded.get_marginal_ll(n_mc_samples=5) == model.get_marginal_ll(n_mc_samples=5)
    np.testing.assert_array_equal(loaded.get_latent_representation(), model.get_latent_representation())
    loaded.train(max_epochs=2, progress_bar=False)
    assert len(loaded.history) == len(history) + 2


def test_pseudo_inputs_start_at_training_cells_by_the_seed(counts, monkeypatch):
    started = []
    kept = PRIORS["vamp"]

    def spied(**sizes):
        prior = kept(**sizes)
        initialise = prior.initialise
        monkeypatch.setattr(prior, "initialise", lambda x, *c: started.append((x, *c)) or initialise(x, *c))
        return prior

    monkeypatch.setitem(PRIORS, "vamp", spied)
    models = [train(counts.copy(), "vamp", seed=seed) for seed in (1, 1, 2)]
    (x, codes, ages), again, other = started
    assert torch.equal(x, again[0])
    assert not torch.equal(x, other[0])
    np.testing.assert_array_equal(models[0].get_latent_representation(), models[1].get_latent_representation())
    batch = models[0].state.store.batch(models[0].train_indices)
    cells = models[0].module.likelihood.encoder_input(batch).to_dense()
    found = torch.stack([(cells - row).abs().sum(1).argmin() for row in x])
    assert len(found.unique()) == len(x) == 10
    torch.testing.assert_close(cells[found], x)
    assert torch.equal(batch.categories_BD[found], codes)
    assert torch.equal(batch.continuous_BV[found], ages)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_pseudo_inputs_of_other_likelihoods(counts, likelihood):
    counts.X = (counts.X > 2).astype(np.float32) if likelihood == "bernoulli" else counts.X.log1p()
    ov.CVAE.setup_anndata(counts)
    model = ov.CVAE(counts, likelihood, 2, n_hidden=8, prior="vamp", n_pseudo_inputs=5)
    model.train(**FAST)
    assert np.isfinite(model.history).all(axis=None)


def test_there_are_no_more_pseudo_inputs_than_training_cells(counts, tmp_path):
    few = counts[:20].copy()
    model = ov.CVAE(few, "nb", 2, n_hidden=8, prior="vamp")
    model.train(**FAST)
    assert len(model.module.prior.inputs_PG) == len(model.train_indices) < 50
    model.save(tmp_path / "m")
    assert ov.CVAE.load(tmp_path / "m").get_elbo(few) == model.get_elbo()


def test_a_latent_that_repeats_its_covariates_is_not_active(counts):
    model = train(counts, "conditional")
    module = model.module
    with torch.no_grad():
        module.prior.mean_CK.normal_(0, 3, generator=torch.Generator().manual_seed(0))
        # the encoder says what the prior knows: collapse, though the means differ between batches
        module.encode = lambda batch: LatentPosterior(
            module.prior_at(batch).mean_BK, module.prior_at(batch).log_variance_BK
        )
    evidence = gather_inputs(model.state, "label", seed=0)
    assert evidence.mean_NK.var(0).min() > 1
    assert abs(evidence.standard_mean_NK).max() < 1e-5
    assert abs(evidence.kl_WK).max() < 1e-6
    assert model.diagnose(umap=False).evidence.set_index("check").loc["active units", "value"] == 0


def test_the_standard_prior_is_measured_as_it_is(fitted):
    evidence = gather_inputs(fitted.state, None, seed=0)
    np.testing.assert_array_equal(evidence.standard_mean_NK, evidence.mean_NK)


def test_a_wrong_latent_is_moved_to_the_prior_of_the_cell_that_gets_it(counts, monkeypatch):
    model = train(counts, "conditional")
    with torch.no_grad():
        model.module.prior.mean_CK.normal_(0, 3, generator=torch.Generator().manual_seed(0))
    seen = []
    whole = CellPasses.reconstruction_errors
    monkeypatch.setattr(CellPasses, "reconstruction_errors", lambda self, z: seen.append(z) or whole(self, z))
    judged = model.validation_indices
    evidence = gather_inputs(model.state, None, seed=0)
    own, foreign, *_ = seen  # then the tempered ones
    moved = (foreign - evidence.prior_mean_NK[judged]) / evidence.prior_sd_NK[judged]
    given = (own - evidence.prior_mean_NK[judged]) / evidence.prior_sd_NK[judged]
    np.testing.assert_allclose(np.sort(moved, 0), np.sort(given, 0), atol=1e-4)
    assert not np.allclose(moved, given, atol=0.1)
