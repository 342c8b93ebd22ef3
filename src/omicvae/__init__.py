"""omicvae: conditional VAEs on AnnData that tell you whether their latent space is alive.

Importing the package is cheap and changes nothing; heavy libraries are loaded when a name is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from omicvae import datasets, metrics, tl
    from omicvae import plotting as pl
    from omicvae._core import errors
    from omicvae.curves import HistoryDiagnosis, diagnose_history
    from omicvae.diagnostics import Diagnosis
    from omicvae.model import CVAE, Rescue, rescue
    from omicvae.objective import Objective

#: public name → (module, attribute or None for the module itself)
_PUBLIC = {
    "CVAE": ("omicvae.model", "CVAE"),
    "Diagnosis": ("omicvae.diagnostics", "Diagnosis"),
    "HistoryDiagnosis": ("omicvae.curves", "HistoryDiagnosis"),
    "Objective": ("omicvae.objective", "Objective"),
    "Rescue": ("omicvae.model", "Rescue"),
    "datasets": ("omicvae.datasets", None),
    "diagnose_history": ("omicvae.curves", "diagnose_history"),
    "errors": ("omicvae._core.errors", None),
    "metrics": ("omicvae.metrics", None),
    "pl": ("omicvae.plotting", None),
    "rescue": ("omicvae.model", "rescue"),
    "tl": ("omicvae.tl", None),
}

__all__ = [
    "CVAE",
    "Diagnosis",
    "HistoryDiagnosis",
    "Objective",
    "Rescue",
    "__version__",
    "datasets",
    "diagnose_history",
    "errors",
    "metrics",
    "pl",
    "rescue",
    "tl",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'omicvae' has no attribute {name!r}; it has {', '.join(_PUBLIC)}.")
    module, attribute = _PUBLIC[name]
    loaded = import_module(module)
    return loaded if attribute is None else getattr(loaded, attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
