"""Functions that a user gives, of PyTorch, JAX, Keras or NumPy: called with rows of data, answered in NumPy arrays."""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import nn

from omicvae._core import DataError
from omicvae.metrics.labels import Array, FloatArray, IntArray

Function = Callable[..., Any]


def torch_modules(*functions: Function) -> list[nn.Module]:
    """Find the networks that functions use: themselves, what they are methods of, and what they and theirs name."""
    found: dict[int, nn.Module] = {}
    seen: set[int] = set()
    left: list[Any] = list(functions)
    while left:
        value = left.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module):
            found[id(value)] = value
        elif isinstance(value, functools.partial):
            left += [value.func, *value.args, *value.keywords.values()]
        elif inspect.ismethod(value):
            left += [value.__self__, value.__func__]
        elif inspect.isfunction(value):
            variables = inspect.getclosurevars(value)
            defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
            left += [*variables.nonlocals.values(), *variables.globals.values(), *defaults]
        elif isinstance(value, list | tuple | dict):
            parts = value.values() if isinstance(value, dict) else value
            left += [part for part in parts if isinstance(part, nn.Module)]
        elif not inspect.ismodule(value) and not inspect.isclass(value):  # an object that keeps its networks
            left += [part for part in getattr(value, "__dict__", {}).values() if isinstance(part, nn.Module)]
    return list(found.values())


@contextmanager
def at_inference(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Switch networks to evaluation without gradients, and back to what they were."""
    training = [module for module in modules if module.training]
    for module in training:
        module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.train()


def rows_of(values: Any, rows: IntArray) -> Any:
    """Return some rows of whatever holds one a cell, in its own kind; of a sparse matrix a dense array."""
    if isinstance(values, Mapping):
        return {name: rows_of(column, rows) for name, column in values.items()}
    if isinstance(values, pd.DataFrame | pd.Series):
        return values.iloc[rows]
    chosen = values[rows]
    return chosen.toarray() if sp.issparse(values) else chosen


def as_array(value: Any) -> Array:
    """Bring what a function returned to NumPy: from any device, without its gradient."""
    if isinstance(value, torch.Tensor):
        value = value.detach().to_dense().cpu()
        value = value.float() if value.is_floating_point() else value
    return np.asarray(value)


class Functions:
    """The user's functions over rows of their data.

    Where they use PyTorch networks, or ``x`` is a tensor, arrays come to them as tensors on the networks' device, else
    as NumPy arrays (float32); tables of covariates come as they are.

    Parameters
    ----------
    x
        Data, cells × features.
    covariates
        What c is made of, with a row a cell; None: the functions take no c.
    """

    def __init__(self, encode: Function, nll: Function, x: Any, covariates: Any, batch_size: int) -> None:
        self._encode, self._nll, self._covariates = encode, nll, covariates
        self._x = x.to_dense() if isinstance(x, torch.Tensor) else x  # sparse tensors have no rows to take
        self.n_cells, self._batch_size = int(x.shape[0]), batch_size
        self.modules = torch_modules(encode, nll)
        self._tensors = bool(self.modules) or isinstance(x, torch.Tensor)
        if any(module.training for module in self.modules):
            name = next(type(module).__name__ for module in self.modules if module.training)
            warnings.warn(
                f"{name} was in training mode, with dropout and batch statistics; it is audited in evaluation mode, as "
                "after model.eval().",
                UserWarning,
                stacklevel=3,
            )

    def encode(self) -> tuple[FloatArray, FloatArray]:
        """Posterior mean and SD of all cells, each (N, K).

        Raises
        ------
        DataError
            Where they are no two arrays with a row a cell, or SDs are not positive.
        """
        parts = [self._posterior(rows) for rows in self._batches(np.arange(self.n_cells))]
        mean_NK, sd_NK = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        if (sd_NK <= 0).any():
            lowest = float(np.nanmin(sd_NK))
            fix = (
                "If they are log variances, return exp(0.5 * log_variance)"
                if lowest < 0
                else "An encoder without noise has no KL: return the SD that training drew z with"
            )
            raise DataError(f"encode must return (mean, SD) with positive SDs, the lowest is {lowest:.3g}. {fix}.")
        return mean_NK, sd_NK

    def nll(self, z_WK: Array, rows: IntArray) -> FloatArray:
        """−log p(x | z, c) of cells, (W,).

        Raises
        ------
        DataError
            Where it is not one value a cell.
        """
        start, parts = 0, []
        for batch in self._batches(rows):
            z_BK = np.asarray(z_WK[start : start + len(batch)], dtype=np.float32)
            parts.append(self.nll_of(rows_of(self._x, batch), z_BK, batch))
            start += len(batch)
        return np.concatenate(parts)

    def nll_of(self, x_BG: Any, z_BK: Array, rows: IntArray) -> FloatArray:
        """−log p(x | z, c) of other values x, at the covariates of these cells, (B,)."""
        given = as_array(self._called("nll", self._nll, x=x_BG, z=z_BK, **self._c(rows)))
        n, shape = len(rows), given.shape
        if shape not in ((n,), (n, 1)):
            raise DataError(f"nll must return one value a cell, shape ({n},), but returned {shape}. {_fix(shape, n)}")
        return given.reshape(n).astype(np.float64)

    def log_prior(self, function: Function, z_WK: Array, rows: IntArray) -> FloatArray:
        """Log p(z | c) of cells, (W,)."""
        z_WK = np.asarray(z_WK, dtype=np.float32)
        given = as_array(self._called("prior", function, z=z_WK, **self._c(rows)))
        if given.shape != (len(rows),):
            raise DataError(f"prior must return log p(z) of each cell, shape ({len(rows)},), but gave {given.shape}.")
        return given.astype(np.float64)

    def _posterior(self, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        given = _moments(self._called("encode", self._encode, x=rows_of(self._x, rows), **self._c(rows)))
        if not isinstance(given, tuple | list) or len(given) != 2:
            what = f"{len(given)} values" if isinstance(given, tuple | list) else f"a {type(given).__name__}"
            raise DataError(f"encode must return two arrays, (mean, SD) of q(z | x, c), but returned {what}.")
        mean_BK, sd_BK = (as_array(part).astype(np.float64) for part in given)
        if mean_BK.ndim != 2 or len(mean_BK) != len(rows) or mean_BK.shape != sd_BK.shape:
            raise DataError(
                f"encode must return mean and SD of shape (cells, dimensions), ({len(rows)}, K), but returned "
                f"{mean_BK.shape} and {sd_BK.shape}."
            )
        return mean_BK, sd_BK

    def _batches(self, rows: IntArray) -> list[IntArray]:
        return np.split(rows, np.arange(self._batch_size, len(rows), self._batch_size))

    def _c(self, rows: IntArray) -> dict[str, Any]:
        return {} if self._covariates is None else {"c": rows_of(self._covariates, rows)}

    def _called(self, name: str, function: Function, **arguments: Any) -> Any:
        """Call a function of the user's, by position; what it raises tells with what it was called."""
        given = {argument: self._given(value) for argument, value in arguments.items()}
        with at_inference(self.modules):
            try:
                return function(*given.values())
            except Exception as error:
                called = ", ".join(f"{argument}: {_kind(value)}" for argument, value in given.items())
                hint = "" if "c" in given else " There is a c only with covariates=."
                error.add_note(f"{name} raised this when it was called as {name}({called}).{hint}")
                raise

    def _given(self, values: Any) -> Any:
        """Turn arrays of numbers into what the functions take; float64 becomes float32, as networks have it."""
        if isinstance(values, Mapping):
            return {name: self._given(column) for name, column in values.items()}
        if not isinstance(values, np.ndarray | torch.Tensor) or values.dtype in (object, np.str_):
            return values
        if isinstance(values, np.ndarray):
            if values.dtype.kind == "f":
                values = values.astype(np.float32, copy=False)
            if not self._tensors or values.dtype.kind not in "biuf":
                return values
            values = torch.from_numpy(np.ascontiguousarray(values))
        device = next((p.device for module in self.modules for p in module.parameters()), values.device)
        return values.to(device)


def _moments(given: Any) -> Any:
    """Mean and SD of a normal distribution, whoever's; all else as it is."""
    given = getattr(given, "base_dist", given)  # of Independent
    if not (hasattr(given, "loc") and hasattr(given, "scale")):
        return given
    if type(given).__name__ != "Normal":
        raise DataError(f"q(z | x, c) must be a normal distribution, or (mean, SD), got a {type(given).__name__}.")
    return given.loc, given.scale


def _kind(value: Any) -> str:
    """Kind, shape and type of what a function was given."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name!r}: {_kind(column)}" for name, column in value.items()) + "}"
    parts = type(value).__name__, getattr(value, "shape", None), getattr(value, "dtype", None)
    return " ".join(str(part) for part in parts if part is not None)


def _fix(shape: tuple[int, ...], n: int) -> str:
    if not shape:
        return "Sum over features, and leave the cells: nll.sum(-1), not nll.sum() or nll.mean()."
    if len(shape) == 2 and shape[0] == n:
        return "Sum over features: nll.sum(-1), not the mean, whose KL would weigh too much."
    return "The cells are its rows."
