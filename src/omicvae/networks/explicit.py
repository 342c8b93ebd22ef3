"""The blocks with their backward pass written out on arrays that stay in place: what a CPU step spends least on.

Every layer reads its parameters where they lie and overwrites their ``grad``, or does so with their copies in bfloat16.
The modules in ``blocks`` are the reference.
"""

from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omicvae._core import Bfloat16Copies, HeadOutput, SparseRows
from omicvae._core.native import as_array, compiled, run, run_functions
from omicvae.networks.blocks import MLP, BatchNorm, ConditionedLinear, NormActivationDropout
from omicvae.networks.encoder import Encoder
from omicvae.networks.linear import (
    MOSTLY_ZERO,
    Linear,
    dense_bfloat16,
    dense_product,
    sparse_product,
    sparse_weight_gradient,
)

f4 = np.float32
# rows or columns of a hidden layer that are worth a thread: usual minibatches stay in the calling one
_SMALLEST_PART = 32


@compiled
def _norm_relu_dropout(part, parts, x_BH, parameters, keep, normal_BH, out_BH, statistics):  # type: ignore[no-untyped-def]
    """Write keep · max(0, scale · normal + shift), normal = (x − mean) / √(variance + ε); a range of columns a part.

    keep is 0 where a draw is below the threshold, else ``kept``.
    """
    scale_H, shift_H, epsilon = parameters
    draw_BH, threshold, kept = keep
    start, stop = len(scale_H) * part // parts, len(scale_H) * (part + 1) // parts
    mean, variance, inverse = statistics[0, start:stop], statistics[1, start:stop], statistics[2, start:stop]
    scale, shift, n = scale_H[start:stop], shift_H[start:stop], f4(len(x_BH))
    for h in range(len(mean)):
        mean[h] = variance[h] = f4(0)
    for b in range(len(x_BH)):
        x = x_BH[b, start:stop]
        for h in range(len(x)):
            mean[h] += x[h] / n
    for b in range(len(x_BH)):
        x = x_BH[b, start:stop]
        for h in range(len(x)):
            variance[h] += (x[h] - mean[h]) * (x[h] - mean[h]) / n
    for h in range(len(mean)):
        inverse[h] = f4(1) / np.sqrt(variance[h] + epsilon)
    for b in range(len(x_BH)):
        x, normal = x_BH[b, start:stop], normal_BH[b, start:stop]
        out, draw = out_BH[b, start:stop], draw_BH[b, start:stop]
        for h in range(len(x)):
            normal[h] = (x[h] - mean[h]) * inverse[h]
            y = normal[h] * scale[h] + shift[h]
            out[h] = (f4(0) if draw[h] < threshold else kept) * (f4(0) if y < f4(0) else y)  # NaN stays NaN


@compiled
def _norm_relu_dropout_gradient(  # type: ignore[no-untyped-def]
    part, parts, gradient_BH, kept, out_BH, normal_BH, scale_H, inverse_H, result_BH, scale_sum_H, shift_sum_H
):
    """Write the gradients in x, scale and shift; a range of columns a part. What was dropped has no output."""
    start, stop = len(scale_H) * part // parts, len(scale_H) * (part + 1) // parts
    scale, inverse, n = scale_H[start:stop], inverse_H[start:stop], f4(len(out_BH))
    scale_sum, shift_sum = scale_sum_H[start:stop], shift_sum_H[start:stop]
    for h in range(len(scale)):
        scale_sum[h] = shift_sum[h] = f4(0)
    for b in range(len(out_BH)):
        gradient, out = gradient_BH[b, start:stop], out_BH[b, start:stop]
        normal, result = normal_BH[b, start:stop], result_BH[b, start:stop]
        for h in range(len(out)):
            result[h] = gradient[h] * kept if out[h] > f4(0) else f4(0)
            scale_sum[h] += result[h] * normal[h]
            shift_sum[h] += result[h]
    for b in range(len(out_BH)):
        normal, result = normal_BH[b, start:stop], result_BH[b, start:stop]
        for h in range(len(normal)):
            result[h] = scale[h] * inverse[h] * (result[h] - (shift_sum[h] + normal[h] * scale_sum[h]) / n)


@compiled
def _posterior(part, parts, h_BH, weights, noise_BK, bounds, mean_BK, log_BK, z_BK, kl_BK):  # type: ignore[no-untyped-def]
    """Write mean, log variance, a draw z, and the KL from N(0, 1) = ½ (mean² + variance − 1 − log variance)."""
    mean_weight_KH, mean_bias_K, log_weight_KH, log_bias_K = weights
    for b in range(len(h_BH) * part // parts, len(h_BH) * (part + 1) // parts):
        hidden = h_BH[b]
        for k in range(len(mean_bias_K)):
            mean_weight, log_weight = mean_weight_KH[k], log_weight_KH[k]
            mean, log_variance = f4(0), f4(0)
            for h in range(len(hidden)):
                mean += hidden[h] * mean_weight[h]
                log_variance += hidden[h] * log_weight[h]
            mean += mean_bias_K[k]
            log_variance += log_bias_K[k]
            log_BK[b, k] = log_variance
            log_variance = min(max(log_variance, bounds[0]), bounds[1])
            variance = np.exp(log_variance)
            mean_BK[b, k] = mean
            z_BK[b, k] = mean + np.sqrt(variance) * noise_BK[b, k]
            kl_BK[b, k] = f4(0.5) * (mean * mean + (variance - f4(1)) - log_variance)


@compiled
def _posterior_gradient(  # type: ignore[no-untyped-def]
    part, parts, weights, noise_BK, bounds, z_gradient_BK, kl_slope_BK, mean_BK, log_BK, result_BH
):
    """Overwrite mean and log variance with their gradients, and write that in h."""
    mean_weight_KH, _, log_weight_KH, _ = weights
    for b in range(len(result_BH) * part // parts, len(result_BH) * (part + 1) // parts):
        hidden = result_BH[b]
        for h in range(len(hidden)):
            hidden[h] = f4(0)
        for k in range(len(mean_weight_KH)):
            raw, slope = log_BK[b, k], z_gradient_BK[b, k]
            variance = np.exp(min(max(raw, bounds[0]), bounds[1]))
            d_mean = slope + kl_slope_BK[b, k] * mean_BK[b, k]
            d_kl = kl_slope_BK[b, k] * (variance - f4(1))
            d_log = f4(0.5) * (slope * noise_BK[b, k] * np.sqrt(variance) + d_kl)
            if raw < bounds[0] or raw > bounds[1]:
                d_log = f4(0)
            mean_BK[b, k], log_BK[b, k] = d_mean, d_log
            mean_weight, log_weight = mean_weight_KH[k], log_weight_KH[k]
            for h in range(len(hidden)):
                hidden[h] += d_mean * mean_weight[h] + d_log * log_weight[h]


@compiled
def _posterior_weight_gradient(part, parts, h_BH, slope_BK, weight_sum_KH, bias_sum_K):  # type: ignore[no-untyped-def]
    """Write the gradients in weight and bias of one head, a range of latent dimensions a part."""
    for k in range(len(bias_sum_K) * part // parts, len(bias_sum_K) * (part + 1) // parts):
        weight_sum, total = weight_sum_KH[k], f4(0)
        for h in range(len(weight_sum)):
            weight_sum[h] = f4(0)
        for b in range(len(h_BH)):
            hidden, slope = h_BH[b], slope_BK[b, k]
            total += slope
            for h in range(len(hidden)):
                weight_sum[h] += slope * hidden[h]
        bias_sum_K[k] = total


def explicit_obstacle(mlp: MLP) -> str | None:
    """Say what of the blocks :class:`Hidden` does not cover (it has batch normalisation and ReLU); None for nothing."""
    for _, tail in mlp.blocks():
        if not isinstance(tail.norm, BatchNorm):
            known = {"LayerNorm": "layer normalisation", "Identity": "no normalisation"}
            return known.get(type(tail.norm).__name__, type(tail.norm).__name__)
        if not isinstance(tail.activation, nn.ReLU):
            return f"the activation {type(tail.activation).__name__}"
    return None


def gradient(parameter: Tensor) -> Tensor:
    """Return where the gradient of ``parameter`` lies; of a bias that is none, memory that nobody reads."""
    if not parameter.requires_grad:
        return torch.empty_like(parameter)
    assert parameter.grad is not None
    return parameter.grad


class _Cells:
    """Arrays of one minibatch size: of the linear map, normalised, out, and the gradient of the linear map."""

    def __init__(self, whole: Tensor, n: int) -> None:
        self.product, self.normal, self.out, self.slope = whole[:, :n].unbind()
        self.arrays = tuple(tensor.numpy() for tensor in (self.product, self.normal, self.out, self.slope))


class Hidden:
    """Linear map with covariates, batch normalisation, ReLU and dropout, for at most ``n_cells`` cells at a time.

    ``copies`` maps weights to their copy in bfloat16 and the place of their gradient: products are computed in it.
    """

    def __init__(
        self,
        linear: ConditionedLinear,
        tail: NormActivationDropout,
        n_cells: int,
        copies: Bfloat16Copies = MappingProxyType({}),
        *,
        first: bool = False,
    ) -> None:
        assert isinstance(tail.norm, BatchNorm)
        self.first = first
        self.dropout = tail.dropout
        weight_IO = linear.linear.weight_IO
        self.weight_IO, self.weight_gradient = copies.get(weight_IO, (weight_IO.detach(), gradient(weight_IO)))
        self.bias_O = linear.linear.bias_O.detach()
        self.effects_CO = self.effects_gradient = None
        if linear.covariates is not None:
            self.effects_CO = linear.covariates.weight.detach().t()
            self.effects_gradient = gradient(linear.covariates.weight).t()
        n_in, width = linear.linear.weight_IO.shape
        self._whole = torch.empty(4, n_cells, width)
        self._draws = np.zeros((n_cells, width), np.uint16)
        self._sizes: dict[int, _Cells] = {}
        self._columns = np.empty((3, width), f4)  # mean, variance, 1 / SD of the minibatch
        self._input_gradient = torch.empty(0 if first else n_cells, n_in)
        norm = tail.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        assert norm.momentum is not None
        self._statistics = (norm.running_mean.numpy(), norm.running_var.numpy(), norm.num_batches_tracked.numpy())
        self._momentum = norm.momentum
        self._parameters = (as_array(norm.weight), as_array(norm.bias), f4(norm.eps))
        self._sums = (as_array(gradient(norm.weight)), as_array(gradient(norm.bias)))

    def forward(self, x: Tensor | SparseRows, c_BC: Tensor) -> Tensor:
        """Map x (B, I) and c (B, C) to (B, H)."""
        n = len(x)
        if n not in self._sizes:
            self._sizes[n] = _Cells(self._whole, n)
        self._now = now = self._sizes[n]
        narrow = self.weight_IO.dtype == torch.bfloat16
        if narrow:
            x = dense_bfloat16(x) if isinstance(x, SparseRows) else x.to(self.weight_IO.dtype)
        elif isinstance(x, SparseRows) and x.density > MOSTLY_ZERO:
            x = x.to_dense()
        self._x, self._c = x, c_BC
        if isinstance(x, SparseRows):
            sparse_product(x, self.weight_IO, self.bias_O, now.product)
        elif narrow:
            wide = dense_product(x, self.weight_IO, x.new_empty(now.product.shape))
            now.product.copy_(wide).add_(self.bias_O)
        else:
            dense_product(x, self.weight_IO, now.product).add_(self.bias_O)
        if self.effects_CO is not None:
            now.product.addmm_(c_BC, self.effects_CO)
        product, normal, out, _ = now.arrays
        dropout = self.dropout
        if dropout.threshold:
            self._draws = dropout.draws(*product.shape).numpy()
        keep = (self._draws, dropout.threshold, f4(dropout.scale))
        arrays = (product, self._parameters, keep, normal, out, self._columns)
        run(_norm_relu_dropout, self._columns.shape[1], *arrays, smallest=_SMALLEST_PART)
        return now.out

    def track(self) -> None:
        """Move the running statistics that evaluation uses; left to the step, because a bad one must not."""
        n, (running_mean, running_variance, tracked) = len(self._x), self._statistics
        mean, variance, _ = self._columns
        running_mean += self._momentum * (mean - running_mean)
        running_variance += self._momentum * (variance * (n / (n - 1)) - running_variance)
        tracked += 1

    def backward(self, gradient_BH: Tensor) -> Tensor:
        """Write all parameters' gradients; return that of x, or nothing where x are the data."""
        now, x, n = self._now, self._x, len(gradient_BH)
        _, normal, out, slope = now.arrays
        scale, inverse = self._parameters[0], self._columns[2]
        arrays = (gradient_BH.numpy(), f4(self.dropout.scale), out, normal, scale, inverse, slope, *self._sums)
        run(_norm_relu_dropout_gradient, len(scale), *arrays, smallest=_SMALLEST_PART)
        if isinstance(x, SparseRows):
            sparse_weight_gradient(x, now.slope, self.weight_gradient)
        else:
            dense_product(x.t(), now.slope.to(x.dtype), self.weight_gradient)
        if self.effects_gradient is not None:
            torch.mm(self._c.t(), now.slope, out=self.effects_gradient)
        if self.first:
            return self._input_gradient
        return dense_product(now.slope, self.weight_IO.t(), self._input_gradient[:n])


def _products(part: int, parts: int, products: list[tuple[Tensor, Tensor, Tensor]]) -> None:
    """Compute whole products side by side: sharing one out costs more than it saves."""
    for a, b, out in products[part::parts]:
        torch.mm(a, b, out=out)


class Heads:
    """The linear maps behind the decoder's last hidden layer, for at most ``n_cells`` cells at a time.

    ``copies`` are those of :class:`Hidden`.
    """

    def __init__(self, heads: nn.ModuleDict, n_cells: int, copies: Bfloat16Copies) -> None:
        maps: list[Linear] = list(heads.values())  # type: ignore[arg-type]
        own = [(head.weight_IO.detach(), gradient(head.weight_IO)) for head in maps]
        self._weights = [copies.get(head.weight_IO, pair) for head, pair in zip(maps, own, strict=True)]
        self._biases = [(as_array(head.bias_O), as_array(gradient(head.bias_O))) for head in maps]
        weight, _ = self._weights[0]
        self._names, self._dtype, (n_hidden, n_genes) = tuple(heads), weight.dtype, weight.shape
        self._raw = torch.empty(len(maps), n_cells, n_genes, dtype=self._dtype)
        self._narrow_results = torch.empty(len(maps), n_cells, n_hidden, dtype=self._dtype)
        self._result = torch.empty(n_cells, n_hidden)
        self._sizes: dict[int, dict[str, HeadOutput]] = {}

    def forward(self, h_BH: Tensor) -> dict[str, HeadOutput]:
        """Map h (B, H) to the outputs of each head (B, G), biases apart; a likelihood overwrites them by gradients."""
        n = len(h_BH)
        if n not in self._sizes:
            outputs = [HeadOutput(raw[:n], *bias) for raw, bias in zip(self._raw, self._biases, strict=True)]
            self._sizes[n] = dict(zip(self._names, outputs, strict=True))
        self._h, self._now = h_BH.to(self._dtype), self._sizes[n]
        for (weight, _), output in zip(self._weights, self._now.values(), strict=True):
            dense_product(self._h, weight, output.raw_BG)
        return self._now

    def backward(self) -> Tensor:
        """Write the gradients of the weights and return that of h, from those that the outputs hold now."""
        n, hidden = len(self._h), self._h.t()
        products: list[tuple[Tensor, Tensor, Tensor]] = []
        for narrow, output, (weight, weight_gradient) in zip(
            self._narrow_results, self._now.values(), self._weights, strict=True
        ):
            products += [(hidden, output.raw_BG, weight_gradient), (output.raw_BG, weight.t(), narrow[:n])]
        run_functions(_products, len(products), products, smallest=1)
        return torch.sum(self._narrow_results[:, :n], 0, dtype=torch.float32, out=self._result[:n])


class Posterior:
    """The encoder's heads with the KL from N(0, I), for at most ``n_cells`` cells at a time; ``generator`` draws z."""

    def __init__(self, encoder: Encoder, n_cells: int, generator: torch.Generator | None = None) -> None:
        self._generator = generator
        n_latent, n_hidden = encoder.mean.weight.shape
        # noise, mean, log variance, z, KL, and the loss's derivative in the KL
        self._latent = torch.empty(6, n_cells, n_latent)
        self._result = torch.empty(n_cells, n_hidden)
        self._sizes: dict[int, tuple[tuple[Tensor, NDArray[np.float32]], ...]] = {}
        self._bounds = tuple(f4(bound) for bound in encoder.log_variance_bounds)
        parameters = (encoder.mean.weight, encoder.mean.bias, encoder.log_variance.weight, encoder.log_variance.bias)
        self._parameters = tuple(as_array(parameter) for parameter in parameters)
        self._sums = [as_array(gradient(parameter)) for parameter in parameters]

    def forward(self, h_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Return a draw z (B, K) and the KL (B, K) in nats."""
        n = len(h_BH)
        if n not in self._sizes:
            tensors = (*self._latent[:, :n].unbind(), self._result[:n])
            self._sizes[n] = tuple((tensor, tensor.numpy()) for tensor in tensors)
        self._hidden, self._now = h_BH.numpy(), self._sizes[n]
        (noise_BK, noise), (_, mean), (_, log_variance), (z_BK, z), (kl_BK, kl), *_ = self._now
        noise_BK.normal_(generator=self._generator)
        out = (mean, log_variance, z, kl)
        run(_posterior, n, self._hidden, self._parameters, noise, self._bounds, *out, smallest=_SMALLEST_PART)
        return z_BK, kl_BK

    def backward(self, z_gradient_BK: Tensor, kl_slope: float | Tensor) -> Tensor:
        """Write the heads' gradients, with the loss's derivative in each entry of the KL, and return that of h."""
        (_, noise), (_, mean), (_, log_variance), _, _, (slope_BK, slope), (result_BH, result) = self._now
        if isinstance(kl_slope, Tensor):
            slope_BK.copy_(kl_slope)
        else:
            slope_BK.fill_(kl_slope)
        arrays = (self._parameters, noise, self._bounds, z_gradient_BK.numpy(), slope, mean, log_variance, result)
        run(_posterior_gradient, len(slope), *arrays, smallest=_SMALLEST_PART)
        for gradient_BK, *sums in ((mean, *self._sums[:2]), (log_variance, *self._sums[2:])):
            run(_posterior_weight_gradient, gradient_BK.shape[1], self._hidden, gradient_BK, *sums, smallest=4)
        return result_BH
