"""The training step with its backward pass written out, for the CPU: the same mathematics without a graph of it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core import Batch, SparseRows
from omicvae.module import ConditionalVAE
from omicvae.networks.explicit import Heads, Hidden, Posterior, gradient
from omicvae.objective import ScheduledObjective
from omicvae.training.adam import FlatAdam
from omicvae.training.step import Prepared, StepTotals

#: share of non-zeros up to which a product with them alone is faster than a dense one in bfloat16
SPARSE_FIRST_LAYER = 0.12


class ExplicitStep:
    """One update of the cVAE on one minibatch of at most ``n_cells`` cells.

    Layers overwrite their parameters' gradients in place, and the likelihood what the heads gave. ``bfloat16_products``
    has products with the weights of genes computed in bfloat16: the heads', and the first layer's if more than a
    certain share of the data, its ``density``, is not zero: fewer non-zeros are multiplied faster one by one.
    """

    def __init__(
        self,
        module: ConditionalVAE,
        optimizer: FlatAdam,
        scheduled: ScheduledObjective,
        n_cells: int,
        *,
        generator: torch.Generator | None = None,
        bfloat16_products: bool = False,
        density: float = 0.0,
    ) -> None:
        self.module, self.optimizer, self.scheduled = module, optimizer, scheduled
        encoder, decoder = module.encoder, module.decoder
        optimizer.bind_gradients()
        blocks = encoder.body.blocks()
        widest = [head.weight_IO for head in decoder.heads.values()]
        if density > SPARSE_FIRST_LAYER:
            widest.append(blocks[0][0].linear.weight_IO)
        copies = optimizer.bfloat16_copies(widest if bfloat16_products else [])  # type: ignore[arg-type]
        self._encoder = [Hidden(*block, n_cells, copies, first=depth == 0) for depth, block in enumerate(blocks)]
        self._posterior = Posterior(encoder, n_cells, generator)
        self._decoder = [Hidden(*block, n_cells) for block in decoder.body.blocks()]
        self._heads = Heads(decoder.heads, n_cells, copies)
        self._own_gradients = [gradient(parameter) for parameter in module.likelihood.parameters()]
        self._weights: dict[int, NDArray[np.float32]] = {}

    @torch.no_grad()
    def parts(self, batch: Batch, sizes: Sequence[int]) -> list[Prepared]:
        """Cut ``batch`` into minibatches of the given sizes, with their input to the network made at one go."""
        x, c_BC = self.module.likelihood.encoder_input(batch), self.module.covariates(batch)
        x_parts = x.cut(sizes) if isinstance(x, SparseRows) else x.split(list(sizes))
        return [Prepared(*part) for part in zip(batch.cut(sizes), x_parts, c_BC.split(list(sizes)), strict=True)]

    @torch.no_grad()
    def __call__(self, prepared: Prepared, step: int, learning_rate: float, totals: StepTotals) -> None:
        """Train on a minibatch as update ``step`` (from 0) and add its loss to ``totals``."""
        batch, c_BC = prepared.batch, prepared.c_BC
        n, control = len(batch), self.scheduled.control
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
        reconstruction = -float(value_B.sum()) / n
        loss = reconstruction + cost
        if self.optimizer.step_if_finite(loss, learning_rate):
            for layer in (*self._encoder, *self._decoder):
                layer.track()
            control.observe(kl)
            totals.add_numbers(loss, reconstruction, float(kl), n)
        else:
            totals.skip()

    def _kl_cost(self, kl_BK: Tensor, kl: Tensor, step: int) -> tuple[float, float | Tensor]:
        """Cost of the KL, and its derivative in each entry of the KL (one number where all are equal)."""
        weight = self.scheduled.control.flat_weight(step)
        if weight is not None:
            return weight * float(kl), weight / len(kl_BK)
        leaf_BK = kl_BK.clone().requires_grad_()
        with torch.enable_grad():
            cost = self.scheduled.control.cost(leaf_BK, step)
            cost.backward()  # type: ignore[no-untyped-call]
        return float(cost), gradient(leaf_BK)
