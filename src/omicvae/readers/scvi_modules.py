"""How each family of scvi-tools' modules is read: posterior, reconstruction at any z, KL, likelihood."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, Normal, kl_divergence

Tensors = Mapping[str, Any]
#: cells of a minibatch in training, where nothing else was asked
USUAL_BATCH = 128


class Module(ABC):
    """How one family of modules is read; z is what its posterior is a Gaussian of, before any transformation.

    Parameters
    ----------
    module
        Of the model.
    """

    models: ClassVar[str]
    part: ClassVar[str] = ""

    def __init__(self, module: Any) -> None:
        self.module = module

    @property
    @abstractmethod
    def likelihood(self) -> str | None:
        """Likelihood of the decoder without z."""

    @abstractmethod
    def kept(self, inference: Tensors, tensors: Tensors) -> dict[str, Tensor]:
        """Return what of inference beside z the decoder needs, a row a cell; ``besides`` are nats that it costs."""

    @abstractmethod
    def nll(self, z_BK: Tensor, kept: Tensors, tensors: Tensors) -> Tensor:
        """−log p(x | z, c) with what is besides, (B,)."""

    kl: Callable[[Tensor, Tensors, Tensors], Tensor] | None = None

    def data(self, x: Any) -> Any:
        """Return data as the likelihood sees them."""
        return x

    def kl_unit(self) -> float:
        """Weight of the KL in the module's loss that is a β of 1."""
        return 1.0

    def generate(self, z_BK: Tensor, given: Tensors, tensors: Tensors) -> Tensors:
        """Run the decoder at z, with what it needs of inference."""
        inputs = self.module._get_generative_input(tensors, {"z": z_BK, "qz": Normal(z_BK, 1.0), **given})
        return self.module.generative(**inputs)


class Vae(Module):
    """z decoded with the library into a likelihood ``px`` (Lopez et al. 2018), and all that inherits from it."""

    models = "SCVI, LinearSCVI, POISSONVI, DRVI"
    likelihoods: ClassVar = {"nb": "nb", "pnb": "nb", "zinb": "zinb", "poisson": "poisson", "normal": "gaussian"}

    @property
    def likelihood(self) -> str | None:
        """As the module was asked for; None for one that omicvae does not have."""
        return self.likelihoods.get(self.module.gene_likelihood)

    def kept(self, inference: Tensors, tensors: Tensors) -> dict[str, Tensor]:
        """Log library: as observed, or the mean of its posterior, whose KL every decoder with it pays."""
        module, library_posterior = self.module, inference["ql"]
        if module.use_observed_lib_size:
            return {"library": inference["library"]}
        mean_B1, variance_B1 = module._compute_local_library_params(tensors["batch"])
        prior = Normal(mean_B1, variance_B1.sqrt())
        return {"library": library_posterior.loc, "besides": kl_divergence(library_posterior, prior).sum(-1)}

    def nll(self, z_BK: Tensor, kept: Tensors, tensors: Tensors) -> Tensor:
        """Of the decoder's ``px``."""
        z_BK = self.module.z_encoder.z_transformation(z_BK)
        generated = self.generate(z_BK, {"library": kept["library"]}, tensors)
        return self.reconstruction(generated, tensors) + kept.get("besides", 0.0)

    def reconstruction(self, generated: Tensors, tensors: Tensors) -> Tensor:
        """−log p(x) of what the decoder gave, (B,)."""
        return -generated["px"].log_prob(tensors["X"]).sum(-1)


class AutoZi(Vae):
    """Zero inflation of each gene is a mixture, whose share is taken at its posterior's mean (Clivio et al. 2019)."""

    models = "AUTOZI"
    likelihood = "zinb"

    def reconstruction(self, generated: Tensors, tensors: Tensors) -> Tensor:
        """Of the mixture of both likelihoods."""
        module, px = self.module, generated["px"]
        found = module.get_alphas_betas(as_numpy=False)
        share = found["alpha_posterior"] / (found["alpha_posterior"] + found["beta_posterior"])
        share = module.reshape_bernoulli(share, tensors["batch"], tensors["labels"])
        return module.get_reconstruction_loss(tensors["X"], px.mu, px.theta, px.zi_logits, share)


class ScanVae(Vae):
    """z ~ p(z | z₂, y) with p(z₂) = N(0, I) (Xu et al. 2021).

    The rate is E KL(q(z) ‖ p(z | z₂, y)) + KL(q(z₂) ‖ p(z₂)), summed by index, + KL(q(y) ‖ p(y)): by the chain rule at
    least that of z alone; at the draw of z, and one of z₂.
    """

    models = "SCANVI"

    def kl(self, z_BK: Tensor, kept: Tensors, tensors: Tensors) -> Tensor:
        """At the draw z, (B, K)."""
        module, n_labels = self.module, self.module.n_labels
        logits_BY = module.classifier(z_BK)
        share_BY = logits_BY.softmax(-1) if module.classifier.logits else logits_BY
        kl_BK = Normal(kept["mean"], kept["sd"]).log_prob(z_BK)
        for y in range(n_labels):
            one_hot = torch.nn.functional.one_hot(torch.full((len(z_BK),), y, device=z_BK.device), n_labels)
            second, _ = module.encoder_z2_z1(z_BK, one_hot)
            mean_BK, variance_BK = module.decoder_z1_z2(second.sample(), one_hot)
            above_BK = kl_divergence(second, Normal(torch.zeros_like(second.loc), torch.ones_like(second.scale)))
            kl_BK += share_BY[:, [y]] * (above_BK - Normal(mean_BK, variance_BK.sqrt()).log_prob(z_BK))
        label_B = kl_divergence(Categorical(probs=share_BY), Categorical(probs=module.y_prior.expand_as(share_BY)))
        return kl_BK + label_B[:, None] / kl_BK.shape[1]


class PeakVae(Module):
    """0/1 accessibility of probability p(z) · depth of the cell · factor of the region (Ashuach et al. 2022)."""

    models = "PEAKVI"
    likelihood = "bernoulli"

    def kept(self, inference: Tensors, tensors: Tensors) -> dict[str, Tensor]:
        """Depth of the cell, where the model has one."""
        depth = inference["d"]
        return {"depth": depth} if isinstance(depth, Tensor) else {}

    def nll(self, z_BK: Tensor, kept: Tensors, tensors: Tensors) -> Tensor:
        """As the module's own loss has it."""
        module = self.module
        generated = self.generate(module.z_encoder.z_transformation(z_BK), {}, tensors)
        factor = 1 if module.region_factors is None else torch.sigmoid(module.region_factors)
        return module.get_reconstruction_loss(generated["px"], kept.get("depth", 1), factor, tensors["X"])

    def data(self, x: Any) -> Any:
        """Return 0 and 1."""
        return (x > 0).astype(np.float32)

    def kl_unit(self) -> float:
        """From the loss of a made-up minibatch with and without its KL.

        In scvi-tools 1.4 that counts the minibatch's reconstruction once a cell: a weight of 1 is a β of 1 / 128.
        """
        module, n = self.module, USUAL_BATCH
        x_BG = torch.zeros(n, module.n_input_regions, device=module.device)
        at_one = torch.ones(n, module.n_latent, device=module.device)
        inference, generated = {"qz": Normal(at_one, at_one), "d": at_one[:, :1]}, {"px": x_BG + 0.5}
        with torch.inference_mode():
            without, whole = (module.loss({"X": x_BG}, inference, generated, kl_weight=w) for w in (0.0, 1.0))
            price = (whole.loss - without.loss) / whole.kl_local_sum
            return round(float(without.loss / without.reconstruction_loss_sum / price), 3)


class TotalVae(Module):
    """The RNA of RNA and proteins (Gayoso et al. 2021): the KL pays for both, the reconstruction is of RNA alone."""

    models = "TOTALVI"
    part = "RNA part"

    @property
    def likelihood(self) -> str:
        """Of the RNA."""
        return str(self.module.gene_likelihood)

    def kept(self, inference: Tensors, tensors: Tensors) -> dict[str, Tensor]:
        """Library of the RNA: as observed, or from the mean of its posterior."""
        module, library_posterior = self.module, inference["ql"]
        if module.use_observed_lib_size:
            return {"library": inference["library_gene"]}
        levels_BD = torch.nn.functional.one_hot(tensors["batch"].squeeze(-1), module.n_batch).float()
        mean_B1, variance_B1 = levels_BD @ module.library_log_means.T, levels_BD @ module.library_log_vars.T
        besides_B = kl_divergence(library_posterior, Normal(mean_B1, variance_B1.sqrt())).sum(-1)
        return {"library": module.encoder.l_transformation(library_posterior.loc), "besides": besides_B}

    def nll(self, z_BK: Tensor, kept: Tensors, tensors: Tensors) -> Tensor:
        """Of the RNA."""
        z_BK = self.module.encoder.z_transformation(z_BK)
        made = self.generate(z_BK, {"library_gene": kept["library"]}, tensors)
        x, y = tensors["X"], tensors["proteins"]
        return self.module.get_reconstruction_loss(x, y, made["px_"], made["py_"])[0] + kept.get("besides", 0.0)


#: Class of module → how it is read; of a module's ancestors the nearest counts.
MODULES: dict[str, type[Module]] = {
    "VAE": Vae,
    "AutoZIVAE": AutoZi,
    "SCANVAE": ScanVae,
    "PEAKVAE": PeakVae,
    "TOTALVAE": TotalVae,
}
