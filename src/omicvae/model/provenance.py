"""What is written beside results: which model they are of."""

import json
from importlib.metadata import version
from typing import Any

import numpy as np

from omicvae.model.state import ModelState


def record(state: ModelState, **call: Any) -> str:
    """Return version, settings, set-up, objective and the last bound, and the arguments of a call, as JSON."""
    elbo = state.history["elbo_validation"].dropna()
    known = {
        "version": version("omicvae"),
        "model": state.config.to_dict(),
        "setup": state.schema.keys.to_dict(),
        "objective": state.objective,
        "epochs": len(state.history),
        "elbo_validation": float(elbo.iloc[-1]) if len(elbo) else None,
    }
    return json.dumps({**known, **call}, default=_plain)


def _plain(value: Any) -> Any:
    """Return numpy's values as JSON holds them, and a description of what it cannot."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else repr(value)
