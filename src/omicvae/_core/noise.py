"""Random numbers that belong to a cell or to a generator of our own; torch's global generators are the user's."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

_NUMPYS = Lock()
_STEP = np.uint64(0x9E3779B97F4A7C15)

#: functions that draw one number for each entry of their tensors; distributions call no others
_SAMPLERS = (torch.normal, torch.Tensor.normal_, torch.poisson, torch.bernoulli, torch._standard_gamma)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of counters into random ones: the output function of SplitMix64 (Steele, Lea & Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def cell_streams(rows_B: NDArray[np.int64], seed: int, draw: int = 0) -> NDArray[np.uint64]:
    """Return a random number for each cell, (B,): a function of the cell's row, the seed and the number of the draw.

    Noise that is made of it depends on no other cell, so on no minibatch and no choice of cells.
    """
    start = _mixed(np.array([seed], np.uint64) + _STEP * np.array([draw + 1], np.uint64))
    return _mixed(start + _STEP * (rows_B.astype(np.uint64) + np.uint64(1)))


def cell_noise(rows_B: NDArray[np.int64], n: int, seed: int, draw: int = 0) -> NDArray[np.float32]:
    """Draw ``n`` standard normal numbers for each cell, (B, n), by the method of Box & Muller (1958)."""
    bits = _mixed(cell_streams(rows_B, seed, draw)[:, None] + _STEP * np.arange(1, n + 1, dtype=np.uint64))
    upper, lower = (part.astype(np.float32) for part in (bits >> np.uint64(40), bits & np.uint64(2**24 - 1)))
    radius = np.sqrt(-2 * np.log((upper + np.float32(0.5)) * np.float32(2**-24)))
    return radius * np.cos(lower * np.float32(2 * np.pi * 2**-24))


class DrawingFrom(TorchFunctionMode):
    """Within it, and in its thread, torch's samplers and initial weights draw from this; None is the global one."""

    def __init__(self, generator: torch.Generator | None) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Give ``func`` the generator."""
        kwargs = kwargs or {}
        if func in _SAMPLERS or ("generator" in kwargs and kwargs["generator"] is None):
            kwargs = {**kwargs, "generator": self.generator}
        return func(*args, **kwargs)


@contextmanager
def numpy_seeded(seed: int) -> Iterator[None]:
    """Seed numpy's global generator for code that knows no other, and give it back as it was; one thread at a time."""
    with _NUMPYS:
        state = np.random.get_state()  # noqa: NPY002  # it is theirs
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


class DrawingByCell(TorchFunctionMode):
    """Within it torch's samplers draw each row of their tensors (B, G) from a generator that starts at its stream."""

    def __init__(self, streams_B: Iterable[Any], device: torch.device) -> None:
        super().__init__()
        self.streams, self.generator = [int(stream) for stream in streams_B], torch.Generator(device)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Sample cell by cell."""
        if func not in _SAMPLERS:
            return func(*args, **(kwargs or {}))
        drawn: list[Tensor] = []
        for stream, *row in zip(self.streams, *(tensor.unbind() for tensor in args), strict=True):
            drawn.append(func(*row, generator=self.generator.manual_seed(stream)))
        self.streams = [(stream + 1) % 2**64 for stream in self.streams]
        return torch.stack(drawn)
