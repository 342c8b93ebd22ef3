"""Seeds for every purpose, derived from one number so that no purpose disturbs another."""

import numpy as np
import torch

#: each by its place: new ones go last
PURPOSES = (
    *("weights", "split", "order", "noise", "validation", "latent", "null", "diagnosis", "adversaries", "structure"),
    *("differences", "generation"),
)


def derive_seed(seed: int, purpose: str, *path: int) -> int:
    """Independent 63-bit seed for ``purpose`` and, where given, an epoch or chunk number."""
    sequence = np.random.SeedSequence([seed, PURPOSES.index(purpose), *path])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator_for(seed: int, purpose: str, *path: int) -> torch.Generator:
    """Make a generator of the CPU that starts at :func:`derive_seed`; torch's global ones are the user's."""
    return torch.Generator("cpu").manual_seed(derive_seed(seed, purpose, *path))
