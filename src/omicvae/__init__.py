"""omicvae: conditional VAEs on AnnData that tell you whether their latent space is alive.

Importing the package is cheap and changes nothing; heavy libraries are loaded when a name is first used.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from omicvae import datasets as datasets
    from omicvae import metrics as metrics
    from omicvae import plotting as pl  # noqa: F401
    from omicvae import tl as tl
    from omicvae._core import errors as errors
    from omicvae.analysis import Stability as Stability
    from omicvae.curves import HistoryDiagnosis as HistoryDiagnosis
    from omicvae.curves import diagnose_history as diagnose_history
    from omicvae.diagnostics import Diagnosis as Diagnosis
    from omicvae.diagnostics import read_evidence as read_evidence
    from omicvae.model import CVAE as CVAE
    from omicvae.model import Rescue as Rescue
    from omicvae.model import rescue as rescue
    from omicvae.model.criticism import PosteriorPredictiveCheck as PosteriorPredictiveCheck
    from omicvae.model.stability import stability as stability
    from omicvae.objective import Objective as Objective
    from omicvae.readers import Comparison as Comparison
    from omicvae.readers import audit as audit
    from omicvae.readers import compare as compare
    from omicvae.readers import diagnose as diagnose
    from omicvae.readers import write_evidence as write_evidence
    from omicvae.readers import write_report as write_report

#: public name → (module, attribute or None for the module itself)
_PUBLIC = {
    "CVAE": ("omicvae.model", "CVAE"),
    "Comparison": ("omicvae.readers", "Comparison"),
    "Diagnosis": ("omicvae.diagnostics", "Diagnosis"),
    "HistoryDiagnosis": ("omicvae.curves", "HistoryDiagnosis"),
    "Objective": ("omicvae.objective", "Objective"),
    "PosteriorPredictiveCheck": ("omicvae.model.criticism", "PosteriorPredictiveCheck"),
    "Rescue": ("omicvae.model", "Rescue"),
    "Stability": ("omicvae.analysis", "Stability"),
    "audit": ("omicvae.readers", "audit"),
    "compare": ("omicvae.readers", "compare"),
    "datasets": ("omicvae.datasets", None),
    "diagnose": ("omicvae.readers", "diagnose"),
    "diagnose_history": ("omicvae.curves", "diagnose_history"),
    "errors": ("omicvae._core.errors", None),
    "metrics": ("omicvae.metrics", None),
    "pl": ("omicvae.plotting", None),
    "read_evidence": ("omicvae.diagnostics", "read_evidence"),
    "rescue": ("omicvae.model", "rescue"),
    "stability": ("omicvae.model.stability", "stability"),
    "tl": ("omicvae.tl", None),
    "write_evidence": ("omicvae.readers", "write_evidence"),
    "write_report": ("omicvae.readers", "write_report"),
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'omicvae' has no attribute {name!r}; it has {', '.join(_PUBLIC)}.")
    module, attribute = _PUBLIC[name]
    with warnings.catch_warnings():
        # tqdm, which others load, misses notebook widgets that nothing here needs
        warnings.filterwarnings("ignore", message="IProgress not found")
        loaded = import_module(module)
    return loaded if attribute is None else getattr(loaded, attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
