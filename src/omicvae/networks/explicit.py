"""The blocks with their backward pass written out on arrays that stay in place: what a CPU step spends least on.

Every layer reads its parameters where they lie and overwrites their ``grad``. The modules in ``blocks`` are the
reference.
"""

import numpy as np
import torch
from numba import prange
from torch import Tensor, nn

from omicvae._core import SparseRows
from omicvae._core.native import as_array, compiled, run
from omicvae.networks.blocks import BatchNorm, ConditionedLinear, Perceptron, Tail
from omicvae.networks.encoder import Encoder
from omicvae.networks.linear import sparse_product, sparse_weight_gradient, worth_sparse

f4 = np.float32
_SMALLEST_PART = 64  # columns


@compiled
def _tail(parts, x_BH, scale_H, shift_H, epsilon, keep_BH, normal_BH, out_BH, mean_H, variance_H, inverse_H):  # type: ignore[no-untyped-def]
    """Write keep · max(0, scale · normal + shift), normal = (x − mean) / √(variance + ε); a range of columns a part."""
    for part in prange(parts):
        start, stop = len(mean_H) * part // parts, len(mean_H) * (part + 1) // parts
        mean, variance, inverse = mean_H[start:stop], variance_H[start:stop], inverse_H[start:stop]
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
            out, keep = out_BH[b, start:stop], keep_BH[b, start:stop]
            for h in range(len(x)):
                normal[h] = (x[h] - mean[h]) * inverse[h]
                y = normal[h] * scale[h] + shift[h]
                out[h] = keep[h] * (f4(0) if y < f4(0) else y)  # NaN stays NaN


@compiled
def _tail_gradient(parts, gradient_BH, keep_BH, out_BH, normal_BH, scale_H, inverse_H, result_BH, scale_sum_H, shift_sum_H):  # type: ignore[no-untyped-def]  # fmt: skip  # noqa: E501
    """Write the gradients in x, scale and shift; a range of columns a part."""
    for part in prange(parts):
        start, stop = len(scale_H) * part // parts, len(scale_H) * (part + 1) // parts
        scale, inverse, n = scale_H[start:stop], inverse_H[start:stop], f4(len(out_BH))
        scale_sum, shift_sum = scale_sum_H[start:stop], shift_sum_H[start:stop]
        for h in range(len(scale)):
            scale_sum[h] = shift_sum[h] = f4(0)
        for b in range(len(out_BH)):
            gradient, keep, out = gradient_BH[b, start:stop], keep_BH[b, start:stop], out_BH[b, start:stop]
            normal, result = normal_BH[b, start:stop], result_BH[b, start:stop]
            for h in range(len(out)):
                result[h] = gradient[h] * keep[h] if out[h] > f4(0) else f4(0)
                scale_sum[h] += result[h] * normal[h]
                shift_sum[h] += result[h]
        for b in range(len(out_BH)):
            normal, result = normal_BH[b, start:stop], result_BH[b, start:stop]
            for h in range(len(normal)):
                result[h] = scale[h] * inverse[h] * (result[h] - (shift_sum[h] + normal[h] * scale_sum[h]) / n)


@compiled
def _posterior(parts, h_BH, mean_weight_KH, mean_bias_K, log_weight_KH, log_bias_K, noise_BK, low, high, mean_BK, log_BK, z_BK, kl_BK):  # type: ignore[no-untyped-def]  # fmt: skip  # noqa: E501
    """Write mean, log variance, a draw z, and the KL from N(0, 1) = ½ (mean² + variance − 1 − log variance)."""
    for part in prange(parts):
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
                log_variance = min(max(log_variance, low), high)
                variance = np.exp(log_variance)
                mean_BK[b, k] = mean
                z_BK[b, k] = mean + np.sqrt(variance) * noise_BK[b, k]
                kl_BK[b, k] = f4(0.5) * (mean * mean + (variance - f4(1)) - log_variance)


@compiled
def _posterior_gradient(parts, h_BH, mean_weight_KH, log_weight_KH, noise_BK, low, high, mean_BK, log_BK, z_gradient_BK, kl_slope_BK, mean_sum_KH, mean_bias_sum_K, log_sum_KH, log_bias_sum_K, result_BH):  # type: ignore[no-untyped-def]  # fmt: skip  # noqa: E501
    """Write the gradients in the heads' parameters and in h; overwrites mean and log variance with their gradients."""
    n = len(h_BH)
    for part in prange(parts):
        for b in range(n * part // parts, n * (part + 1) // parts):
            hidden = result_BH[b]
            for h in range(len(hidden)):
                hidden[h] = f4(0)
            for k in range(len(mean_bias_sum_K)):
                raw = log_BK[b, k]
                variance = np.exp(min(max(raw, low), high))
                slope = z_gradient_BK[b, k]
                d_mean = slope + kl_slope_BK[b, k] * mean_BK[b, k]
                d_kl = kl_slope_BK[b, k] * (variance - f4(1))
                d_log = f4(0.5) * (slope * noise_BK[b, k] * np.sqrt(variance) + d_kl)
                if raw < low or raw > high:
                    d_log = f4(0)
                mean_BK[b, k], log_BK[b, k] = d_mean, d_log
                mean_weight, log_weight = mean_weight_KH[k], log_weight_KH[k]
                for h in range(len(hidden)):
                    hidden[h] += d_mean * mean_weight[h] + d_log * log_weight[h]
    for k in prange(len(mean_bias_sum_K)):
        mean_sum, log_sum, mean_total, log_total = mean_sum_KH[k], log_sum_KH[k], f4(0), f4(0)
        for h in range(len(mean_sum)):
            mean_sum[h] = log_sum[h] = f4(0)
        for b in range(n):
            hidden, d_mean, d_log = h_BH[b], mean_BK[b, k], log_BK[b, k]
            mean_total += d_mean
            log_total += d_log
            for h in range(len(hidden)):
                mean_sum[h] += d_mean * hidden[h]
                log_sum[h] += d_log * hidden[h]
        mean_bias_sum_K[k], log_bias_sum_K[k] = mean_total, log_total


def is_explicit(perceptron: Perceptron) -> bool:
    """Whether :class:`Hidden` covers every block of the perceptron: batch normalisation and ReLU."""
    return all(
        isinstance(tail.norm, BatchNorm) and isinstance(tail.activation, nn.ReLU) for _, tail in perceptron.blocks()
    )


def gradient(parameter: Tensor) -> Tensor:
    """Return where the gradient of ``parameter`` lies."""
    assert parameter.grad is not None
    return parameter.grad


class Hidden:
    """Linear map with covariates, batch normalisation, ReLU and dropout, for at most ``n_cells`` cells at a time."""

    def __init__(self, linear: ConditionedLinear, tail: Tail, n_cells: int, *, first: bool = False) -> None:
        assert isinstance(tail.norm, BatchNorm)
        self.first = first
        self.map, self.norm, self.dropout = linear.linear, tail.norm, tail.dropout.p
        self.effects = None if linear.covariates is None else linear.covariates.weight
        n_in, width = linear.linear.weight_IO.shape
        # of the linear map, normalised, out, gradient of the linear map, and what dropout keeps
        self._cells = torch.ones(5, n_cells, width)
        self._columns = torch.empty(3, width)  # mean, variance, 1 / SD of the minibatch
        self._input_gradient = torch.empty(0 if first else n_cells, n_in)
        self._parameters = (as_array(self.norm.weight), as_array(self.norm.bias), f4(self.norm.eps))
        self._sums = (as_array(gradient(self.norm.weight)), as_array(gradient(self.norm.bias)))

    def forward(self, x: Tensor | SparseRows, c_BC: Tensor) -> Tensor:
        """Map x (B, I) and c (B, C) to (B, H)."""
        if isinstance(x, SparseRows) and not worth_sparse(x, self.map.weight_IO):
            x = x.to_dense()
        self._x, self._c, n = x, c_BC, len(x)
        product, _, out, _, keep = cells = self._cells[:, :n].unbind()
        if isinstance(x, SparseRows):
            sparse_product(x, self.map.weight_IO.detach(), self.map.bias_O.detach(), product)
        else:
            torch.addmm(self.map.bias_O, x, self.map.weight_IO, out=product)
        if self.effects is not None:
            product.addmm_(c_BC, self.effects.t())
        if self.dropout > 0:  # the draw that torch's own dropout makes
            keep.bernoulli_(1 - self.dropout).div_(1 - self.dropout)
        self._arrays = [tensor.numpy() for tensor in cells]
        arrays = (self._arrays[4], self._arrays[1], self._arrays[2], *self._columns.numpy())
        run(_tail, len(self._columns[0]), self._arrays[0], *self._parameters, *arrays, smallest=_SMALLEST_PART)
        return out

    def track(self) -> None:
        """Move the running statistics that evaluation uses; left to the step, because a bad one must not."""
        norm, n = self.norm, len(self._x)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        assert norm.momentum is not None
        norm.running_mean.lerp_(self._columns[0], norm.momentum)
        norm.running_var.mul_(1 - norm.momentum).add_(self._columns[1], alpha=norm.momentum * n / (n - 1))
        norm.num_batches_tracked += 1

    def backward(self, gradient_BH: Tensor) -> Tensor:
        """Write all parameters' gradients; return that of x, or nothing where x are the data."""
        _, normal, out, slope, keep = self._arrays
        scale, inverse = self._parameters[0], self._columns.numpy()[2]
        arrays = (gradient_BH.numpy(), keep, out, normal, scale, inverse, slope, *self._sums)
        run(_tail_gradient, len(scale), *arrays, smallest=_SMALLEST_PART)
        x, n = self._x, len(gradient_BH)
        slope_BH = self._cells[3, :n]
        if isinstance(x, SparseRows):
            sparse_weight_gradient(x, slope_BH, gradient(self.map.weight_IO))
        else:
            torch.mm(x.t(), slope_BH, out=gradient(self.map.weight_IO))
        if self.effects is not None:
            torch.mm(slope_BH.t(), self._c, out=gradient(self.effects))
        if self.first:
            return self._input_gradient
        return torch.mm(slope_BH, self.map.weight_IO.t(), out=self._input_gradient[:n])


class Posterior:
    """The encoder's heads with the KL from N(0, I), for at most ``n_cells`` cells at a time."""

    def __init__(self, encoder: Encoder, n_cells: int) -> None:
        n_latent, n_hidden = encoder.mean.weight.shape
        self._noise, self._slope = torch.empty(2, n_cells, n_latent)
        self._latent = torch.empty(4, n_cells, n_latent)  # mean, log variance, z, KL
        self._result = torch.empty(n_cells, n_hidden)
        self._bounds = tuple(f4(bound) for bound in encoder.log_variance_bounds)
        parameters = (encoder.mean.weight, encoder.mean.bias, encoder.log_variance.weight, encoder.log_variance.bias)
        self._parameters = [as_array(parameter) for parameter in parameters]
        self._sums = [as_array(gradient(parameter)) for parameter in parameters]

    def forward(self, h_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Return a draw z (B, K) and the KL (B, K) in nats."""
        n = len(h_BH)
        self._hidden = h_BH.numpy()
        noise, latent = self._noise[:n].normal_().numpy(), self._latent.numpy()[:, :n]
        self._arrays = (noise, *latent)
        run(_posterior, n, self._hidden, *self._parameters, noise, *self._bounds, *latent)
        return self._latent[2, :n], self._latent[3, :n]

    def backward(self, z_gradient_BK: Tensor, kl_slope: float | Tensor) -> Tensor:
        """Write the heads' gradients, with the loss's derivative in each entry of the KL, and return that of h."""
        n = len(z_gradient_BK)
        slope_BK = self._slope[:n].copy_(torch.as_tensor(kl_slope)).numpy()
        noise, mean, log_variance, _, _ = self._arrays
        weights = (self._parameters[0], self._parameters[2])
        before = (self._hidden, *weights, noise, *self._bounds, mean, log_variance, z_gradient_BK.numpy())
        run(_posterior_gradient, n, *before, slope_BK, *self._sums, self._result.numpy()[:n])
        return self._result[:n]
