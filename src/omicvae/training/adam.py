"""Adam in one pass over all parameters: compiled on the CPU, torch's fused form elsewhere."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from numba import prange
from torch import Tensor, nn

from omicvae._core.native import compiled, kernels_apply, run
from omicvae.training.budget import Optimisation

f4 = np.float32
BETAS, EPSILON = (0.9, 0.999), 1e-8


@compiled
def _square_norm(parts, gradient, sums_P):  # type: ignore[no-untyped-def]
    """Sum the squares of each part; a square that float32 cannot hold is inf, as it would be in Adam's moments."""
    for part in prange(parts):
        g = gradient[len(gradient) * part // parts : len(gradient) * (part + 1) // parts]
        total = 0.0
        for i in range(len(g)):
            total += np.float64(g[i] * g[i])
        sums_P[part] = total


@compiled
def _adam(parts, value, gradient, mean, square, beta1, beta2, rate, root_correction, epsilon, scale, decay, keep):  # type: ignore[no-untyped-def]  # fmt: skip
    """Kingma & Ba 2015, algorithm 1; ``rate`` is divided by 1 − β₁ᵗ, ``root_correction`` is 1 / √(1 − β₂ᵗ)."""
    for part in prange(parts):
        start, stop = len(value) * part // parts, len(value) * (part + 1) // parts
        x, g, m, v = value[start:stop], gradient[start:stop], mean[start:stop], square[start:stop]
        for i in range(len(x)):
            slope = scale * g[i] + decay * x[i]
            m[i] += (f4(1) - beta1) * (slope - m[i])
            v[i] = beta2 * v[i] + (f4(1) - beta2) * slope * slope
            x[i] = keep * x[i] - rate * m[i] / (np.sqrt(v[i]) * root_correction + epsilon)


class FlatAdam(torch.optim.Optimizer):
    """Adam or AdamW on parameters and gradients that lie one after the other in memory, float32 on the CPU.

    Making one moves the parameters into such a block and gives each its place in the block of gradients;
    :meth:`release` takes them out again.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], optimisation: Optimisation) -> None:
        chosen = [p for p in parameters if p.requires_grad]
        self.optimisation = optimisation
        super().__init__(chosen, {"lr": optimisation.learning_rate, "betas": BETAS, "eps": EPSILON})
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
        """Update all parameters at the present rate, if every gradient is finite."""
        self.attempt(0.0, self.param_groups[0]["lr"])

    def attempt(self, loss: float, rate: float) -> bool:
        """Update all parameters, unless the loss or a gradient is not finite; return whether it did."""
        square_norms = np.zeros(torch.get_num_threads())
        run(_square_norm, len(self.values), self._arrays[1], square_norms)
        norm = math.sqrt(square_norms.sum()) if np.isfinite(square_norms).all() else math.inf
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return False
        group, o = self.param_groups[0], self.optimisation
        group["lr"] = rate
        (beta1, beta2), t = group["betas"], float(self.steps.add_(1))
        step_size, root = rate / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t)
        decoupled = o.optimizer == "adamw"
        numbers = (
            *(beta1, beta2, step_size, root, group["eps"], clip_factor(norm, o.gradient_clip_norm)),
            *((0.0, 1 - rate * o.weight_decay) if decoupled else (o.weight_decay, 1.0)),
        )
        run(_adam, len(self.values), *self._arrays, *(f4(x) for x in numbers))
        return True

    def release(self) -> None:
        """Give each parameter memory of its own again."""
        for p in self.param_groups[0]["params"]:
            p.data = p.data.clone()
            p.grad = None


def clip_factor(norm: float, largest: float | None) -> float:
    """Return what gradients with this norm are multiplied by."""
    return 1.0 if largest is None else min(1.0, largest / max(norm, 1e-30))


def adam(module: nn.Module, optimisation: Optimisation) -> torch.optim.Optimizer:
    """Adam over all parameters in its fastest form for their device and type."""
    parameters, o = list(module.parameters()), optimisation
    if kernels_apply(*parameters):
        return FlatAdam(parameters, o)
    form = torch.optim.AdamW if o.optimizer == "adamw" else torch.optim.Adam
    made = form(parameters, lr=o.learning_rate, betas=BETAS, eps=EPSILON, weight_decay=o.weight_decay, fused=True)
    made.param_groups[0]["clip_norm"] = o.gradient_clip_norm
    return made


def update(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> Tensor:
    """Back-propagate and update; a loss or gradient that is not finite leaves the weights as they were.

    Returns
    -------
    1.0 if the update was skipped, else 0.0, on the device (no synchronisation on a GPU).
    """
    if isinstance(optimizer, FlatAdam):
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.new_tensor(float(not optimizer.attempt(float(loss.detach()), rate)))
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in optimizer.param_groups[0]["params"] if p.grad is not None]
    norm = torch.stack(torch._foreach_norm(gradients)).square().sum().sqrt()
    # one number that is finite only if the loss and the squares of every gradient are
    bad = (~torch.isfinite(norm.square() + loss.detach())).float()
    largest = optimizer.param_groups[0]["clip_norm"]
    if largest is not None:
        torch._foreach_mul_(gradients, (largest / norm.clamp_min(1e-30)).clamp_max(1.0))
    optimizer.found_inf = bad  # type: ignore[attr-defined]  # read by fused Adam
    optimizer.step()
    return bad


def moments(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copy the optimiser's moments and step counts, by parameter name."""
    return {
        f"{name}.{key}": value.detach().clone()
        for name, p in module.named_parameters()
        for key, value in optimizer.state.get(p, {}).items()
    }


def restore_moments(module: nn.Module, optimizer: torch.optim.Optimizer, saved: dict[str, Tensor]) -> None:
    """Go on from :func:`moments`; parameters that are not in it start without moments."""
    for name, p in module.named_parameters():
        keys = ("step", "exp_avg", "exp_avg_sq")
        if f"{name}.step" not in saved or not p.requires_grad:
            continue
        state = optimizer.state[p]
        for key in keys:
            value = saved[f"{name}.{key}"].to(p.device)
            if key in state:  # in place: FlatAdam's lie in its block
                state[key].copy_(value)
            else:
                state[key] = value.clone()
