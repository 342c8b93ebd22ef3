"""The reference of the compiled kernels and of the explicit step: torch's operations on dense minibatches."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from omicvae._core import Batch
from omicvae.data import CellStore
from omicvae.training import choice


def dense(batch: Batch) -> Batch:
    """Return the minibatch as if it had been given dense."""
    return Batch(batch.x_BG, batch.library_B1, batch.categories_BD, batch.continuous_BV)


@contextmanager
def reference_path() -> Iterator[None]:
    """Compute with torch's operations alone, dense and by autograd."""
    made = CellStore.batch

    def batch(store: CellStore, indices: object, *, device: object = "cpu") -> Batch:
        return dense(made(store, indices, device=device))  # type: ignore[arg-type]

    with mock.patch.object(CellStore, "batch", batch), mock.patch.object(choice, "obstacle", return_value="reference"):
        yield
