"""Adam in one pass over all parameters: compiled on the CPU, torch's fused form elsewhere."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from numba import prange
from torch import Tensor, nn

from omicvae._core.native import compiled, kernels_apply, run

f4 = np.float32
BETAS, EPSILON = (0.9, 0.999), 1e-8
LARGEST = f4(np.finfo(np.float32).max)


@compiled
def _not_finite(parts, gradient, counts_P):  # type: ignore[no-untyped-def]
    """Count the entries of each part that are not finite."""
    for part in prange(parts):
        g = gradient[len(gradient) * part // parts : len(gradient) * (part + 1) // parts]
        count = 0
        for i in range(len(g)):
            count += 0 if abs(g[i]) <= LARGEST else 1
        counts_P[part] = count


@compiled
def _adam(parts, value, gradient, mean, square, beta1, beta2, rate, root_correction, epsilon):  # type: ignore[no-untyped-def]
    """Kingma & Ba 2015, algorithm 1; ``rate`` is divided by 1 − β₁ᵗ, ``root_correction`` is 1 / √(1 − β₂ᵗ)."""
    for part in prange(parts):
        start, stop = len(value) * part // parts, len(value) * (part + 1) // parts
        x, g, m, v = value[start:stop], gradient[start:stop], mean[start:stop], square[start:stop]
        for i in range(len(x)):
            m[i] += (f4(1) - beta1) * (g[i] - m[i])
            v[i] = beta2 * v[i] + (f4(1) - beta2) * g[i] * g[i]
            x[i] -= rate * m[i] / (np.sqrt(v[i]) * root_correction + epsilon)


class FlatAdam(torch.optim.Optimizer):
    """Adam on parameters and gradients that lie one after the other in memory, float32 on the CPU.

    Making one moves the parameters into such a block and gives each its place in the block of gradients;
    :meth:`release` takes them out again. Ask :meth:`finite` before a step: ``step`` does not.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float) -> None:
        chosen = [p for p in parameters if p.requires_grad]
        super().__init__(chosen, {"lr": rate, "betas": BETAS, "eps": EPSILON})
        # one block, because numpy asks for huge pages from 4 MB on: without them most of an update is page look-ups
        block = torch.from_numpy(np.empty((4, sum(p.numel() for p in chosen)), dtype=np.float32)).zero_()
        self.values, self.gradients, means, squares = block
        self.values.copy_(torch.cat([p.detach().reshape(-1) for p in chosen]))
        self.steps = torch.zeros(())
        self._arrays = tuple(tensor.numpy() for tensor in (self.values, self.gradients, means, squares))
        ends = np.cumsum([p.numel() for p in chosen])
        self._places = [slice(end - p.numel(), end) for p, end in zip(chosen, ends, strict=True)]
        for p, place in zip(chosen, self._places, strict=True):
            p.data = self.values[place].view_as(p)
            moments = {"exp_avg": means[place].view_as(p), "exp_avg_sq": squares[place].view_as(p)}
            self.state[p] = {"step": self.steps, **moments}
        self.claim()

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set all gradients to 0, in their places."""
        self.gradients.zero_()
        self.claim()

    def claim(self) -> None:
        """Give every gradient its place in the block, also where others have set it to None."""
        for p, place in zip(self.param_groups[0]["params"], self._places, strict=True):
            p.grad = self.gradients[place].view_as(p)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters."""
        self.apply()

    def apply(self) -> None:
        """Update all parameters, without the hooks that torch puts around ``step``."""
        group = self.param_groups[0]
        (beta1, beta2), t = group["betas"], float(self.steps.add_(1))
        rate, root = group["lr"] / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t)
        run(_adam, len(self.values), *self._arrays, *(f4(x) for x in (beta1, beta2, rate, root, group["eps"])))

    def finite(self) -> bool:
        """Whether every gradient is finite."""
        counts = np.zeros(torch.get_num_threads(), dtype=np.int64)
        run(_not_finite, len(self.values), self._arrays[1], counts)
        return not counts.any()

    def release(self) -> None:
        """Give each parameter memory of its own again."""
        for p in self.param_groups[0]["params"]:
            p.data = p.data.clone()
            p.grad = None


def adam(module: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015) over all parameters in its fastest form for their device and type."""
    parameters = list(module.parameters())
    if kernels_apply(*parameters):
        return FlatAdam(parameters, rate)
    return torch.optim.Adam(parameters, lr=rate, betas=BETAS, eps=EPSILON, fused=True)


def update(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> Tensor:
    """Back-propagate and update; a loss or gradient that is not finite leaves the weights as they were.

    Returns
    -------
    1.0 if the update was skipped, else 0.0, on the device (no synchronisation on a GPU).
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    if isinstance(optimizer, FlatAdam):
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        good = math.isfinite(loss.detach()) and optimizer.finite()
        if good:
            optimizer.apply()
        return loss.new_tensor(float(not good))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in optimizer.param_groups[0]["params"] if p.grad is not None]
    # one number that is finite only if the loss and every gradient are
    size = torch.stack(torch._foreach_norm(gradients)).sum() + loss.detach()
    bad = (~torch.isfinite(size)).float()
    optimizer.found_inf = bad  # type: ignore[attr-defined]  # read by fused Adam
    optimizer.step()
    return bad
