"""The variational mixture of posteriors."""

from typing import Any

import torch
from torch import Tensor, nn

from omicvae.priors.base import Encode, Prior
from omicvae.priors.density import Mixture


class VampPrior(Prior):
    """p(z) = 1/P Σ_p q(z | u_p, c_p) (Tomczak & Welling 2018): the encoder's posteriors at learned pseudo-inputs.

    The pseudo-inputs u_p (P, G) live in the encoder's input space. They start at random training cells and are trained;
    the covariates c_p stay those of the same cells. They pass through the encoder as at inference (running batch
    statistics, no dropout), so that training and inference see one prior, and gradients reach encoder and u_p.

    There are features G, categorical covariates D, continuous covariates V and ``n_pseudo_inputs`` P; fewer where there
    are fewer training cells.
    """

    inputs_PG: nn.Parameter
    categories_PD: Tensor
    continuous_PV: Tensor

    def __init__(self, n_inputs: int, n_categorical: int, n_continuous: int, n_pseudo_inputs: int) -> None:
        super().__init__()
        self.n_cells = n_pseudo_inputs
        self.inputs_PG = nn.Parameter(torch.zeros(n_pseudo_inputs, n_inputs))
        self.register_buffer("categories_PD", torch.zeros(n_pseudo_inputs, n_categorical, dtype=torch.int64))
        self.register_buffer("continuous_PV", torch.zeros(n_pseudo_inputs, n_continuous))

    def initialise(self, x_PG: Tensor, categories_PD: Tensor, continuous_PV: Tensor) -> None:
        """Start the pseudo-inputs at these cells."""
        device = self.inputs_PG.device
        # whoever froze the network did not mean to have these trained
        self.inputs_PG = nn.Parameter(x_PG.detach().clone().to(device), requires_grad=self.inputs_PG.requires_grad)
        self.categories_PD = categories_PD.clone().to(device)
        self.continuous_PV = continuous_PV.clone().to(device)

    def at(self, c_BC: Tensor, encode: Encode) -> Mixture:
        """Return the mixture, whatever the covariates of the minibatch."""
        q = encode(self.inputs_PG, self.categories_PD, self.continuous_PV)
        return Mixture(q.mean_BK, q.log_variance_BK)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Take as many pseudo-inputs as were saved: with few training cells there are fewer than were asked for."""
        saved = state_dict.get(f"{prefix}inputs_PG")
        if saved is not None and len(saved) != len(self.inputs_PG):
            tensors = (self.inputs_PG, self.categories_PD, self.continuous_PV)
            self.initialise(*(tensor.new_zeros(len(saved), tensor.shape[1]) for tensor in tensors))
        super()._load_from_state_dict(state_dict, prefix, *arguments)
