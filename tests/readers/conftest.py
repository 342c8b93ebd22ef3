"""Small fits of scvi-tools, and a VAE of plain PyTorch."""

import logging
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import omicvae as ov


@pytest.fixture(autouse=True)
def quiet():
    """Other libraries warn of what is theirs, and log."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "scvi")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def cells():
    """300 simulated cells of four types in two batches."""
    return ov.datasets.simulate_counts(300, 60, n_types=4, n_batches=2, seed=3)


@pytest.fixture(scope="session")
def train_scvi(cells):
    """Maker of trained scvi-tools models of these cells."""

    def train(name, epochs=40, *, setup=None, data=None, kl_weight=1.0, **arguments):
        import scvi

        adata = (cells if data is None else data).copy()
        with warnings.catch_warnings(action="ignore"):
            scvi.settings.seed = 0
            model_class = getattr(scvi.model, name)
            model_class.setup_anndata(adata, **(setup or {}))
            model = model_class(adata, **arguments)
            plan = {"max_kl_weight": kl_weight}
            direct = {"n_epochs_kl_warmup": 5, "lr": 5e-3}
            if name not in ("PEAKVI", "TOTALVI"):
                plan, direct = plan | direct, {}
            model.train(
                epochs, plan_kwargs=plan, enable_progress_bar=False, accelerator="cpu", train_size=0.8, **direct
            )
        return model

    return train


class PlainVAE(nn.Module):
    """One hidden layer each way, x and c in, squared errors out."""

    def __init__(self, n_genes, n_covariates=0, n_latent=5):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_genes + n_covariates, 64), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(64, n_latent), nn.Linear(64, n_latent)
        self.decoder = nn.Sequential(nn.Linear(n_latent + n_covariates, 64), nn.ReLU(), nn.Linear(64, n_genes))

    def encode(self, x, *c):
        hidden = self.body(torch.cat([x, *c], 1))
        return self.mean(hidden), torch.exp(0.5 * self.log_variance(hidden))

    def nll(self, x, z, *c):
        return 0.5 * (x - self.decoder(torch.cat([z, *c], 1))).square().sum(1)


@pytest.fixture(scope="session")
def log_cells(cells):
    """The same cells, log-normalised."""
    x = cells.X.toarray()
    return np.log1p(x / x.sum(1, keepdims=True) * 100).astype(np.float32)


@pytest.fixture(scope="session")
def train_plain(log_cells):
    """Maker of plain VAEs: a healthy one, or one of averaged losses."""

    def train(averaged=False, epochs=60, c=None):
        torch.manual_seed(0)
        x = torch.from_numpy(log_cells)
        network = PlainVAE(x.shape[1], 0 if c is None else c.shape[1])
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        rng = np.random.default_rng(0)
        for _ in range(epochs):
            for rows in np.array_split(rng.permutation(240), 4):
                given = () if c is None else (c[rows],)
                mean, sd = network.encode(x[rows], *given)
                z = mean + sd * torch.randn_like(sd)
                kl = 0.5 * (sd**2 + mean**2 - 1 - 2 * sd.log())
                nll = network.nll(x[rows], z, *given)
                loss = nll.mean() / x.shape[1] + 3 * kl.mean() if averaged else nll.mean() + kl.sum(1).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return network.eval()

    return train
