"""What a caller may have set in torch for everything, and what omicvae's own work needs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

CPU = torch.device("cpu")


@contextmanager
def own_surroundings() -> Iterator[None]:
    """Work in float32, with gradients, and with tensors made on the CPU, whatever the caller has set; set it back.

    A caller may stand in ``torch.inference_mode()`` or ``no_grad()``, have another default dtype, or a default device.
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        if torch.get_default_device() != CPU:  # its mode costs time at each call of torch
            stack.enter_context(CPU)
        if dtype != torch.float32:
            stack.callback(torch.set_default_dtype, dtype)
            torch.set_default_dtype(torch.float32)
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        yield
