"""Adam in one pass over all parameters: compiled on the CPU, torch's fused form elsewhere."""

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from omicvae._core import Bfloat16Copies
from omicvae._core.native import bfloat16_bits, compiled, inlined, n_threads, run
from omicvae.networks import weight_matrices
from omicvae.training.budget import Optimisation

f4 = np.float32
BETAS, EPSILON = (0.9, 0.999), 1e-8


_ALIGNED = 64  # bytes
# parameters that are worth a thread
_SMALLEST_PART = 20_000
_BLOCK = 2048  # parameters that are updated while their values lie in the nearest cache


@inlined
def _gradient_block(a, b, place, gradient_bits, gradient, wide):  # type: ignore[no-untyped-def]
    """Return the gradients of the parameters a to b, widened into ``wide`` if they are in bfloat16 at ``place``."""
    if place < 0:
        return gradient[a:b]
    bits = gradient_bits[place : place + b - a]
    for i in range(len(bits)):
        wide[i] = np.int32(np.int32(bits[i]) << np.int32(16)).view(np.float32)
    return wide[: b - a]


@inlined
def _share(start, stop, part, parts):  # type: ignore[no-untyped-def]
    """Return a part's range of a parameter: its gradient's rows were written by the same thread, as far as possible."""
    return start + (stop - start) * part // parts, start + (stop - start) * (part + 1) // parts


@compiled
def _square_norm(part, parts, segments, gradient_bits, gradient, sums_P):  # type: ignore[no-untyped-def]
    """Sum the squares of each part; a square that float32 cannot hold is inf, as it would be in Adam's moments."""
    wide, total = np.empty(_BLOCK, f4), 0.0
    for start, stop, narrow, _ in segments:
        first, last = _share(start, stop, part, parts)
        for a in range(first, last, _BLOCK):
            b = min(a + _BLOCK, last)
            g = _gradient_block(a, b, narrow + a - start if narrow >= 0 else -1, gradient_bits, gradient, wide)
            for i in range(len(g)):
                total += np.float64(g[i] * g[i])
    sums_P[part] = total


@compiled
def _adam(part, parts, segments, gradient_bits, copy_bits, arrays, numbers):  # type: ignore[no-untyped-def]
    """Kingma & Ba 2015, algorithm 1; ``rate`` is divided by 1 − β₁ᵗ, ``root_correction`` is 1 / √(1 − β₂ᵗ)."""
    value, gradient, mean, square = arrays
    beta1, beta2, rate, root_correction, epsilon, scale, penalty, shrinkage = numbers
    wide = np.empty(_BLOCK, f4)
    for start, stop, narrow, decayed in segments:
        decay, keep = f4(decayed) * penalty, f4(1) - f4(decayed) * shrinkage
        first, last = _share(start, stop, part, parts)
        for a in range(first, last, _BLOCK):
            b, place = min(a + _BLOCK, last), narrow + a - start if narrow >= 0 else -1
            x, m, v = value[a:b], mean[a:b], square[a:b]
            g = _gradient_block(a, b, place, gradient_bits, gradient, wide)
            for i in range(len(x)):
                slope = scale * g[i] + decay * x[i]
                m[i] += (f4(1) - beta1) * (slope - m[i])
                v[i] = beta2 * v[i] + (f4(1) - beta2) * slope * slope
                x[i] = keep * x[i] - rate * m[i] / (np.sqrt(v[i]) * root_correction + epsilon)
            if place >= 0:
                bits = copy_bits[place : place + b - a]
                for i in range(len(bits)):
                    bits[i] = bfloat16_bits(x[i])


class FlatAdam(torch.optim.Optimizer):
    """Adam or AdamW on parameters and gradients that lie one after the other in memory, float32 on the CPU.

    Making one moves the parameters into such a block and gives each its place in the block of gradients;
    :meth:`release` takes them out again. Weight decay falls on ``decayed`` alone.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], optimisation: Optimisation, decayed: Collection[Tensor] = ()
    ) -> None:
        chosen = [p for p in parameters if p.requires_grad]
        self.optimisation, self._decayed = optimisation, frozenset(decayed)
        super().__init__(chosen, {"lr": optimisation.learning_rate, "betas": BETAS, "eps": EPSILON})
        # one block, because numpy asks for huge pages from 4 MB on: without them most of an update is page look-ups
        n_values = sum(p.numel() for p in chosen)
        memory = np.empty(4 * n_values + _ALIGNED // 4, dtype=np.float32)
        start = -memory.ctypes.data % _ALIGNED // 4  # products of matrices round by where these start in a cache line
        block = torch.from_numpy(memory[start : start + 4 * n_values]).view(4, n_values).zero_()
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
        self.bfloat16_copies(())
        self.bind_gradients()

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set all gradients to 0, in their places."""
        if len(self._copy_bits):
            self.bfloat16_copies(())
        self.gradients.zero_()
        self.bind_gradients()

    def bind_gradients(self) -> None:
        """Give every gradient its place in the block, also where others have set it to None."""
        for p, place in zip(self.param_groups[0]["params"], self._places, strict=True):
            p.grad = self.gradients[place].view_as(p)

    def bfloat16_copies(self, chosen: Sequence[Tensor]) -> Bfloat16Copies:
        """Use bfloat16 for some parameters until the next :meth:`zero_grad`.

        Returns
        -------
        For each of them a copy of its values, which every update renews; and where updates take its gradient from,
        instead of ``grad``.
        """
        parameters, sizes = self.param_groups[0]["params"], [p.numel() for p in chosen]
        whole = torch.zeros(2, sum(sizes), dtype=torch.bfloat16)
        self._copy_bits, self._gradient_bits = whole.view(torch.uint16).numpy()
        # first value, last + 1, where its bfloat16 copies start (−1: it has none), and whether it decays
        pairs = zip(parameters, self._places, strict=True)
        self._segments = np.array([(place.start, place.stop, -1, p in self._decayed) for p, place in pairs])
        copies: dict[Tensor, tuple[Tensor, Tensor]] = {}
        for p, stop in zip(chosen, np.cumsum(sizes), strict=True):
            copy, place = (memory[stop - p.numel() : stop].view_as(p) for memory in whole)
            copies[p] = (copy, place)
            copy.copy_(p.detach())
            self._segments[[p is own for own in parameters], 2] = stop - p.numel()
        return copies

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters at the present rate, if every gradient is finite."""
        self.step_if_finite(0.0, self.param_groups[0]["lr"])

    def step_if_finite(self, loss: float, learning_rate: float) -> bool:
        """Update all parameters, unless the loss or a gradient is not finite; return whether it did."""
        square_norms = np.zeros(n_threads())
        arrays = (self._segments, self._gradient_bits, self._arrays[1], square_norms)
        run(_square_norm, len(self.values), *arrays, smallest=_SMALLEST_PART)
        norm = math.sqrt(square_norms.sum()) if np.isfinite(square_norms).all() else math.inf
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return False
        group, o = self.param_groups[0], self.optimisation
        group["lr"] = learning_rate
        (beta1, beta2), t = group["betas"], float(self.steps.add_(1))
        step_size, root = learning_rate / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t)
        decoupled = o.optimizer == "adamw"
        numbers = (
            *(beta1, beta2, step_size, root, group["eps"], clip_factor(norm, o.gradient_clip_norm)),
            *((0.0, learning_rate * o.weight_decay) if decoupled else (o.weight_decay, 0.0)),
        )
        bfloat16 = (self._segments, self._gradient_bits, self._copy_bits)
        run(_adam, len(self.values), *bfloat16, self._arrays, tuple(f4(x) for x in numbers), smallest=_SMALLEST_PART)
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
    """Adam over all parameters in its fastest form for their device and type; weight matrices alone decay."""
    parameters, decayed, o = list(module.parameters()), weight_matrices(module), optimisation
    if all(p.device.type == "cpu" and p.dtype == torch.float32 for p in parameters):
        return FlatAdam(parameters, o, decayed)
    form = torch.optim.AdamW if o.optimizer == "adamw" else torch.optim.Adam
    others = [p for p in parameters if p not in set(decayed)]
    groups = [{"params": decayed, "weight_decay": o.weight_decay}, {"params": others, "weight_decay": 0.0}]
    made = form(groups, lr=o.learning_rate, betas=BETAS, eps=EPSILON, fused=True)
    made.defaults["clip_norm"] = o.gradient_clip_norm
    return made


def update(optimizer: torch.optim.Optimizer, loss: Tensor, learning_rate: float) -> Tensor:
    """Back-propagate and update; a loss or gradient that is not finite leaves the weights as they were.

    Returns
    -------
    1.0 if the update was skipped, else 0.0, on the device (no synchronisation on a GPU).
    """
    if isinstance(optimizer, FlatAdam):
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.new_tensor(float(not optimizer.step_if_finite(float(loss.detach()), learning_rate)))
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.stack(torch._foreach_norm(gradients)).square().sum().sqrt()
    # one number that is finite only if the loss and the squares of every gradient are
    bad = (~torch.isfinite(norm.square() + loss.detach())).float()
    largest = optimizer.defaults["clip_norm"]
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
    """Go on from :func:`moments`; parameters that are not in it start without moments.

    With :class:`FlatAdam`, which has one step count for all, all start anew if one does.
    """
    chosen = [name for name, p in module.named_parameters() if p.requires_grad]
    if isinstance(optimizer, FlatAdam) and any(f"{name}.step" not in saved for name in chosen):
        return
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
