"""Fits of other programs for the benchmark of foreign verdicts: scvi-tools' models, and VAEs of plain PyTorch.

A ``Fitted`` trains, goes on training, is saved and loaded, scores cells by the program's own loss, and hands itself to
omicvae's readers. Nothing here but ``diagnose`` knows omicvae.
"""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from _common import batch_key
from torch import nn
from torch.nn import functional as F

#: draws that a bound of cells is averaged over
N_DRAWS = 5
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": None}
UNLABELLED = "unlabelled"


def dense(adata: ad.AnnData) -> np.ndarray:
    """Values as float32."""
    return np.asarray(adata.X.toarray() if sp.issparse(adata.X) else adata.X, dtype=np.float32)


class Fitted(ABC):
    """A fit of another program."""

    @abstractmethod
    def train(self, seed: int, **settings: Any) -> None:
        """Train from where it is."""

    @abstractmethod
    def scores(self, adata: ad.AnnData) -> tuple[np.ndarray, np.ndarray]:
        """Bound at a KL weight of 1 and reconstruction's log-likelihood of every cell, nats, by the program's loss."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Keep it."""

    @abstractmethod
    def diagnose(self, labels_key: str | None, seed: int) -> Any:
        """Have omicvae judge it."""

    @property
    @abstractmethod
    def obs(self) -> pd.DataFrame:
        """Table of the cells that it was fitted on."""

    @property
    @abstractmethod
    def logged_kl(self) -> float:
        """KL of training cells as the program logged it last."""


class Scvi(Fitted):
    """SCVI, LinearSCVI, SCANVI or PEAKVI."""

    def __init__(self, model: Any):
        self.model = model

    @classmethod
    def make(cls, family: str, adata: ad.AnnData, seed: int, **settings: Any) -> "Scvi":
        """Set up; ``share_labelled`` of the cells keep their label for SCANVI."""
        import scvi

        scvi.settings.seed = seed
        network = getattr(scvi.model, family)
        keys: dict[str, Any] = {"batch_key": batch_key(adata) if "batch" in adata.obs else None}
        if family == "SCANVI":
            share = settings.pop("share_labelled", 1.0)
            kept = np.random.default_rng([seed, 9]).random(adata.n_obs) < share
            given = np.where(kept, adata.obs["label"].astype(str), UNLABELLED)
            adata.obs["given"] = pd.Categorical(given)
            keys |= {"labels_key": "given", "unlabeled_category": UNLABELLED}
        network.setup_anndata(adata, **keys)
        return cls(network(adata, **settings))

    @classmethod
    def load(cls, family: str, folder: Path) -> "Scvi":
        """Read it again, with its cells."""
        import scvi

        return cls(getattr(scvi.model, family).load(folder, accelerator="cpu"))

    def train(self, seed: int, **settings: Any) -> None:
        """Call the model's own ``train``."""
        import scvi

        scvi.settings.seed = seed
        quiet = {name: value for name, value in QUIET.items() if name != "logger"}
        self.model.train(**quiet, **settings)

    def scores(self, adata: ad.AnnData) -> tuple[np.ndarray, np.ndarray]:
        """Average the model's own loss terms over draws."""
        adata = adata.copy()
        if "given" not in adata.obs and type(self.model).__name__ == "SCANVI":
            adata.obs["given"] = pd.Categorical([UNLABELLED] * adata.n_obs)
        bounds, logliks = [], []
        for _ in range(N_DRAWS):
            bounds.append(np.asarray(self.model.get_elbo(adata, return_mean=False), dtype=np.float64))
            error = self.model.get_reconstruction_error(adata, return_mean=False)["reconstruction_loss"]
            logliks.append(-np.asarray(error, dtype=np.float64))
        return np.mean(bounds, axis=0), np.mean(logliks, axis=0)

    def save(self, folder: Path) -> None:
        """Keep the model with its cells."""
        self.model.save(folder, overwrite=True, save_anndata=True)

    def diagnose(self, labels_key: str | None, seed: int) -> Any:
        """By the reader of scvi-tools."""
        import omicvae as ov

        return ov.diagnose(self.model, labels_key, seed=seed, umap=False)

    @property
    def obs(self) -> pd.DataFrame:
        """Table of the cells."""
        return self.model.adata.obs

    @property
    def logged_kl(self) -> float:
        """Last value of ``kl_local_train``."""
        return float(self.model.history["kl_local_train"].iloc[-1, 0])


class PlainVAE(nn.Module):
    """The VAE of a notebook: one hidden layer each way; NB counts by library, or values with a squared error."""

    def __init__(self, n_genes: int, *, likelihood: str, n_latent: int = 10, n_hidden: int = 128, dropout: float = 0.1):
        super().__init__()
        self.likelihood = likelihood
        self.encoder = nn.Sequential(nn.Linear(n_genes, n_hidden), nn.ReLU(), nn.Dropout(dropout))
        self.mean, self.log_variance = nn.Linear(n_hidden, n_latent), nn.Linear(n_hidden, n_latent)
        self.decoder = nn.Sequential(nn.Linear(n_latent, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_genes))
        self.log_theta = nn.Parameter(torch.zeros(n_genes))

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Posterior mean and log-variance."""
        h = self.encoder(torch.log1p(x) if self.likelihood == "nb" else x)
        return self.mean(h), self.log_variance(h).clamp(-12, 6)

    def errors(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of every entry; of a squared error ½ (x − x̂)²."""
        out = self.decoder(z)
        if self.likelihood == "mse":
            return 0.5 * (x - out) ** 2
        mean = x.sum(1, keepdim=True).clamp_min(1) * F.softmax(out, dim=1)
        theta, eps = self.log_theta.exp(), 1e-8
        log_sum = torch.log(theta + mean + eps)
        constant = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
        return -(constant + theta * (torch.log(theta + eps) - log_sum) + x * (torch.log(mean + eps) - log_sum))


def kl_terms(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL(q ‖ N(0, I)) of every cell and dimension."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


class Plain(Fitted):
    """A notebook's VAE with its loop: Adam, minibatches of 64, the best validation loss kept unless told otherwise."""

    def __init__(self, adata: ad.AnnData, likelihood: str, state: dict[str, Any] | None = None, **settings: Any):
        self.adata, self.likelihood, self.settings = adata, likelihood, settings
        self.network = PlainVAE(adata.n_vars, likelihood=likelihood, **settings)
        self.history = pd.DataFrame()
        rows = np.random.default_rng(0).permutation(adata.n_obs)
        self.validation, self.training = np.sort(rows[: adata.n_obs // 5]), np.sort(rows[adata.n_obs // 5 :])
        if state is not None:
            self.network.load_state_dict(state)

    @classmethod
    def make(cls, family: str, adata: ad.AnnData, seed: int, **settings: Any) -> "Plain":
        """Draw new weights."""
        torch.manual_seed(seed)
        return cls(adata, {"torch NB": "nb", "torch MSE": "mse"}[family], **settings)

    def train(
        self,
        seed: int,
        *,
        max_epochs: int = 150,
        lr: float = 3e-3,
        beta: float = 1.0,
        recon: str = "sum",
        kl: str = "sum",
        warmup: int = 15,
        patience: int | None = 20,
    ) -> None:
        """Minimise recon + β · KL, each summed or averaged over genes or dimensions; None: keep the last weights."""
        torch.manual_seed(seed)
        x = torch.from_numpy(dense(self.adata))
        optimiser = torch.optim.Adam(self.network.parameters(), lr=lr)
        over = {"sum": lambda v: v.sum(1), "mean": lambda v: v.mean(1)}
        rows, best, state, since = [], np.inf, None, 0
        for epoch in range(max_epochs):
            weight = beta * min(1.0, (epoch + 1) / max(warmup, 1))
            self.network.train()
            seen = np.zeros(2)
            for batch in torch.from_numpy(self.training)[torch.randperm(len(self.training))].split(64):
                mean, log_variance = self.network.encode(x[batch])
                z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
                errors, kls = self.network.errors(x[batch], z), kl_terms(mean, log_variance)
                loss = (over[recon](errors) + weight * over[kl](kls)).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                seen += len(batch) * np.array([over[recon](errors).mean().item(), over[kl](kls).mean().item()])
            train_recon, train_kl = seen / len(self.training)
            new_recon, new_kl = (
                float(over[how](v).mean()) for how, v in zip((recon, kl), self._terms(self.validation), strict=True)
            )
            rows.append(
                (
                    train_recon + weight * train_kl,
                    train_recon,
                    train_kl,
                    new_recon + weight * new_kl,
                    new_recon,
                    new_kl,
                    weight,
                    lr,
                )
            )
            if patience is None:
                continue
            if epoch + 1 >= warmup and new_recon + beta * new_kl < best:
                best, since = new_recon + beta * new_kl, 0
                state = {name: value.clone() for name, value in self.network.state_dict().items()}
            elif (since := since + 1) > patience and epoch > warmup:
                break
        if state is not None:
            self.network.load_state_dict(state)
        names = ("loss_train", "recon_train", "kl_train", "loss_validation", "recon_validation", "kl_validation")
        self.history = pd.DataFrame(rows, columns=[*names, "kl_weight", "lr"])
        self.history.index = pd.RangeIndex(1, len(rows) + 1, name="epoch")

    @torch.no_grad()
    def _terms(self, rows: np.ndarray, x: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Errors by gene and KL by dimension of one draw."""
        self.network.eval()
        x = torch.from_numpy(dense(self.adata[rows])) if x is None else x
        mean, log_variance = self.network.encode(x)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.network.errors(x, z), kl_terms(mean, log_variance)

    def scores(self, adata: ad.AnnData) -> tuple[np.ndarray, np.ndarray]:
        """Sum over genes and dimensions, whatever the loss made of them."""
        x = torch.from_numpy(dense(adata))
        drawn = [self._terms(np.arange(0), x) for _ in range(N_DRAWS)]
        loglik = -np.mean([errors.double().sum(1).numpy() for errors, _ in drawn], axis=0)
        return loglik - drawn[0][1].double().sum(1).numpy(), loglik

    def save(self, folder: Path) -> None:
        """Keep weights, curves and cells."""
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.network.state_dict(), folder / "weights.pt")
        (folder / "settings.json").write_text(json.dumps({"likelihood": self.likelihood, **self.settings}))
        self.history.to_csv(folder / "history.csv")
        self.adata.write_h5ad(folder / "cells.h5ad")

    @classmethod
    def load(cls, family: str, folder: Path) -> "Plain":
        """Read it again."""
        state = torch.load(folder / "weights.pt", weights_only=True)
        plain = cls(
            ad.read_h5ad(folder / "cells.h5ad"), state=state, **json.loads((folder / "settings.json").read_text())
        )
        plain.history = pd.read_csv(folder / "history.csv", index_col=0)
        return plain

    def diagnose(self, labels_key: str | None, seed: int) -> Any:
        """By two callables, as anyone would who has such a loop."""
        import omicvae as ov

        network = self.network.eval()

        def encode(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            mean, log_variance = network.encode(x)
            return mean, (0.5 * log_variance).exp()

        return ov.audit(
            encode,
            lambda x, z: network.errors(x, z).sum(1),
            self.adata,
            labels=labels_key,
            validation=self.validation,
            likelihood=self.likelihood,
            history=self.history,
            seed=seed,
            umap=False,
        )

    @property
    def obs(self) -> pd.DataFrame:
        """Table of the cells."""
        return self.adata.obs

    @property
    def logged_kl(self) -> float:
        """Last value of the training curve: an average over dimensions where the loss took one."""
        return float(self.history["kl_train"].iloc[-1])


#: family → class
FAMILIES: dict[str, type[Scvi] | type[Plain]] = {
    **dict.fromkeys(("SCVI", "LinearSCVI", "SCANVI", "PEAKVI"), Scvi),
    **dict.fromkeys(("torch NB", "torch MSE"), Plain),
}
