"""What a caller may have set in torch for everything, and what omicvae's own work needs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from omicvae._core.together import Together

CPU = torch.device("cpu")


@Together
@contextmanager
def float32_by_default() -> Iterator[None]:
    """Make float32 torch's default, which all threads share."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)


@contextmanager
def own_surroundings() -> Iterator[None]:
    """Work in float32, with gradients, and with tensors made on the CPU, whatever the caller has set; set it back.

    A caller may stand in ``torch.inference_mode()`` or ``no_grad()``, have another default dtype, or a default device.
    """
    with ExitStack() as stack:
        if torch.get_default_device() != CPU:  # its mode costs time at each call of torch
            stack.enter_context(CPU)
        stack.enter_context(float32_by_default())
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        yield
