"""What is written beside results: which model they are of."""

from importlib.metadata import version
from typing import Any

from omicvae.model.state import ModelState


def provenance(state: ModelState) -> dict[str, Any]:
    """Return version, settings, set-up, objective and the last bound, which JSON can hold."""
    elbo = state.history["elbo_validation"].dropna()
    return {
        "version": version("omicvae"),
        "model": state.config.to_dict(),
        "setup": state.schema.keys.to_dict(),
        "objective": state.objective,
        "epochs": len(state.history),
        "elbo_validation": float(elbo.iloc[-1]) if len(elbo) else None,
    }
