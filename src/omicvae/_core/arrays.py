"""Checks of arrays that a user gives."""

from typing import Any

import numpy as np

from omicvae._core.errors import DataError

WHAT_MASKED_ENTRIES_ARE = (
    "A masked entry is missing: what lies under the mask is no datum. Fill them with values that you stand behind "
    "(matrix.filled(value)) or leave these cells or genes out."
)


def unmasked(name: str, values: Any) -> Any:
    """Return ``values``, or raise a DataError where entries are masked, which ``np.asarray`` would forget."""
    looked_at = np.ma.asarray(values) if isinstance(values, list | tuple) else values
    if isinstance(looked_at, np.ma.MaskedArray) and np.ma.is_masked(looked_at):  # pandas' NA is a missing value
        raise DataError(f"The {name} have {np.ma.count_masked(looked_at)} masked entries. {WHAT_MASKED_ENTRIES_ARE}")
    return values
