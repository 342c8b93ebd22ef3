"""Seeds for every purpose, derived from one number so that no purpose disturbs another."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

PURPOSES = [
    "weights",
    "split",
    "order",
    "noise",
    "validation",
    "latent",
    "null",
    "diagnosis",
    "adversaries",
    "structure",
]


def derive_seed(seed: int, purpose: str, *path: int) -> int:
    """Independent 63-bit seed for ``purpose`` and, where given, an epoch or chunk number."""
    sequence = np.random.SeedSequence([seed, PURPOSES.index(purpose), *path])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def private_generators() -> Iterator[None]:
    """Run with torch's global generators and give them back as they were: dropout draws from them."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield
