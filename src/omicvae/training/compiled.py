"""The training step with its backward pass written out, for the CPU: the same mathematics without a graph of it."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from omicvae._core import Batch, SparseRows
from omicvae._core.native import kernels_apply
from omicvae.module import ConditionalVAE
from omicvae.networks.covariates import OneHot
from omicvae.networks.explicit import Hidden, Posterior, gradient, is_explicit
from omicvae.networks.linear import Linear
from omicvae.objective import PlannedObjective
from omicvae.priors import StandardNormal
from omicvae.training.adam import FlatAdam
from omicvae.training.step import Prepared, StepTotals, ranges


class CompiledStep:
    """One update of the cVAE on one minibatch of at most ``n_cells`` cells.

    Layers overwrite their parameters' gradients in place; the likelihood alone is left to autograd, from its heads on,
    so that every likelihood works.
    """

    def __init__(
        self,
        module: ConditionalVAE,
        optimizer: FlatAdam,
        planned: PlannedObjective,
        n_cells: int,
        *,
        half_products: bool = False,
    ) -> None:
        self.module, self.optimizer, self.planned = module, optimizer, planned
        encoder, decoder = module.encoder, module.decoder
        optimizer.claim()
        self._encoder = [
            Hidden(linear, tail, n_cells, first=depth == 0)
            for depth, (linear, tail) in enumerate(encoder.body.blocks())
        ]
        self._posterior = Posterior(encoder, n_cells)
        self._decoder = [Hidden(linear, tail, n_cells) for linear, tail in decoder.body.blocks()]
        raw = torch.from_numpy(np.empty((len(decoder.heads), n_cells, module.n_genes), dtype=np.float32))
        self._raw = dict(zip(decoder.heads, raw, strict=True))
        self._heads: dict[str, Linear] = dict(decoder.heads.items())  # type: ignore[arg-type]
        self._dtype = torch.bfloat16 if half_products else torch.float32
        self._hidden_gradient = torch.empty(n_cells, decoder.n_hidden)

    @staticmethod
    def applies(module: ConditionalVAE, planned: PlannedObjective) -> bool:
        """Whether it covers these: on a CPU, batch normalisation, ReLU, one-hot covariates, N(0, I), no opponents."""
        return (
            kernels_apply(*module.parameters())
            and all(parameter.requires_grad for parameter in module.parameters())  # frozen ones have no gradient
            and is_explicit(module.encoder.body)
            and is_explicit(module.decoder.body)
            and all(isinstance(level, OneHot) for level in module.covariates.levels)
            and type(module.prior) is StandardNormal  # others may have another KL
            and not planned.phases
            and planned.objective.total_correlation == 0
        )

    @torch.no_grad()
    def parts(self, batch: Batch, sizes: Sequence[int]) -> list[Prepared]:
        """Cut ``batch`` into minibatches of the given sizes, with their input to the network made at one go."""
        x, c_BC = self.module.likelihood.encoder_input(batch), self.module.covariates(batch)
        cut = x.part if isinstance(x, SparseRows) else lambda start, stop: x[start:stop]
        return [Prepared(batch.part(start, stop), cut(start, stop), c_BC[start:stop]) for start, stop in ranges(sizes)]

    @torch.no_grad()
    def __call__(self, prepared: Prepared, step: int, rate: float, totals: StepTotals) -> None:
        """Train on a minibatch as update ``step`` (from 0) and add its loss to ``totals``."""
        batch, c_BC = prepared.batch, prepared.c_BC
        n, control = len(batch), self.planned.control
        assert prepared.x is not None
        assert c_BC is not None
        h: Tensor = prepared.x  # type: ignore[assignment]
        for layer in self._encoder:
            h = layer.forward(h, c_BC)
        z_BK, kl_BK = self._posterior.forward(h)
        h = z_BK
        for layer in self._decoder:
            h = layer.forward(h, c_BC)
        reconstruction_B, h_gradient = self._reconstruct(h, batch)
        for layer in reversed(self._decoder):
            h_gradient = layer.backward(h_gradient)
        kl = kl_BK.sum() / n
        cost, slope = self._kl_cost(kl_BK, kl, step)
        h_gradient = self._posterior.backward(h_gradient, slope)
        for layer in reversed(self._encoder):
            h_gradient = layer.backward(h_gradient)
        reconstruction = float(reconstruction_B.mean())
        loss = reconstruction + cost
        if self.optimizer.attempt(loss, rate):
            for layer in (*self._encoder, *self._decoder):
                layer.track()
            control.observe(kl)
            totals.add_numbers(loss, reconstruction, float(kl), n)
        else:
            totals.skip()

    def _kl_cost(self, kl_BK: Tensor, kl: Tensor, step: int) -> tuple[float, float | Tensor]:
        """Cost of the KL, and its derivative in each entry of the KL (one number where all are equal)."""
        weight = self.planned.control.flat_weight(step)
        if weight is not None:
            return weight * float(kl), weight / len(kl_BK)
        leaf_BK = kl_BK.clone().requires_grad_()
        with torch.enable_grad():
            cost = self.planned.control.cost(leaf_BK, step)
            cost.backward()  # type: ignore[no-untyped-call]
        return float(cost), gradient(leaf_BK)

    def _reconstruct(self, h_BH: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """−log p(x | z, c) of each cell, and the gradient of its mean in the decoder's last hidden layer."""
        n, heads, dtype = len(batch), self._heads, self._dtype
        narrow_h = h_BH.to(dtype)
        narrow_weights = {name: head.weight_IO.to(dtype) for name, head in heads.items()}
        raw = {
            name: self._raw[name][:n].copy_(narrow_h @ narrow_weights[name]).add_(head.bias_O).requires_grad_()
            for name, head in heads.items()
        }
        for parameter in self.module.likelihood.parameters():
            gradient(parameter).zero_()
        with torch.enable_grad():
            reconstruction_B = -self.module.likelihood.cell_log_prob(batch, raw)
            reconstruction_B.mean().backward()  # type: ignore[no-untyped-call]
        result = self._hidden_gradient[:n].zero_()
        for name, head in heads.items():
            slope = gradient(raw[name])
            torch.sum(slope, 0, out=gradient(head.bias_O))
            narrow = slope.to(dtype)
            gradient(head.weight_IO).copy_(narrow_h.t() @ narrow)
            result.add_(narrow @ narrow_weights[name].t())
        return reconstruction_B.detach(), result
