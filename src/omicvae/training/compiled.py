"""The training step with its backward pass written out, for the CPU: the same mathematics without a graph of it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core import Batch, SparseRows
from omicvae._core.native import kernels_apply
from omicvae.module import ConditionalVAE
from omicvae.networks.covariates import OneHot
from omicvae.networks.explicit import Heads, Hidden, Posterior, gradient, is_explicit
from omicvae.objective import PlannedObjective
from omicvae.priors import StandardNormal
from omicvae.training.adam import FlatAdam
from omicvae.training.step import Prepared, StepTotals

#: share of non-zeros up to which a product with them alone is faster than a dense one in bfloat16
MOSTLY_ZERO = 0.12


class CompiledStep:
    """One update of the cVAE on one minibatch of at most ``n_cells`` cells.

    Layers overwrite their parameters' gradients in place, and the likelihood what the heads gave. ``half_products``
    has products with the weights of genes computed in bfloat16: the heads', and the first layer's if more than a
    certain share of the data, its ``density``, is not zero: fewer non-zeros are multiplied faster one by one.
    """

    def __init__(
        self,
        module: ConditionalVAE,
        optimizer: FlatAdam,
        planned: PlannedObjective,
        n_cells: int,
        *,
        half_products: bool = False,
        density: float = 0.0,
    ) -> None:
        self.module, self.optimizer, self.planned = module, optimizer, planned
        encoder, decoder = module.encoder, module.decoder
        optimizer.claim()
        blocks = encoder.body.blocks()
        widest = [head.weight_IO for head in decoder.heads.values()]
        if density > MOSTLY_ZERO:
            widest.append(blocks[0][0].linear.weight_IO)
        halves = optimizer.halve(widest if half_products else [])  # type: ignore[arg-type]
        self._encoder = [Hidden(*block, n_cells, halves, first=depth == 0) for depth, block in enumerate(blocks)]
        self._posterior = Posterior(encoder, n_cells)
        self._decoder = [Hidden(*block, n_cells) for block in decoder.body.blocks()]
        self._heads = Heads(decoder.heads, n_cells, halves)
        self._own_gradients = [gradient(parameter) for parameter in module.likelihood.parameters()]
        self._weights: dict[int, NDArray[np.float32]] = {}

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
        x_parts = x.cut(sizes) if isinstance(x, SparseRows) else x.split(list(sizes))
        return [Prepared(*part) for part in zip(batch.cut(sizes), x_parts, c_BC.split(list(sizes)), strict=True)]

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
        if n not in self._weights:
            self._weights[n] = np.full(n, -1 / n, dtype=np.float32)
        value_B, own_gradients = self.module.likelihood.evaluate(batch, self._heads.forward(h), self._weights[n])
        for place, value in zip(self._own_gradients, own_gradients, strict=True):
            place.copy_(torch.from_numpy(value))
        h_gradient = self._heads.backward()
        for layer in reversed(self._decoder):
            h_gradient = layer.backward(h_gradient)
        kl = kl_BK.sum() / n
        cost, slope = self._kl_cost(kl_BK, kl, step)
        h_gradient = self._posterior.backward(h_gradient, slope)
        for layer in reversed(self._encoder):
            h_gradient = layer.backward(h_gradient)
        reconstruction = -float(value_B.mean())
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
