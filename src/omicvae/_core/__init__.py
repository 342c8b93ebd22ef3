"""What every layer shares: value types, errors, AnnData keys, argument checks."""

from omicvae._core.arguments import choose, integral, real
from omicvae._core.errors import (
    DataError,
    NotSupportedError,
    OmicVAEError,
    SavingError,
    SettingError,
    TrainingError,
)
from omicvae._core.types import Batch, FeatureMoments, Halves, HeadOutput, LatentPosterior, LossTerms, SparseRows

__all__ = [
    "Batch",
    "DataError",
    "FeatureMoments",
    "Halves",
    "HeadOutput",
    "LatentPosterior",
    "LossTerms",
    "NotSupportedError",
    "OmicVAEError",
    "SavingError",
    "SettingError",
    "SparseRows",
    "TrainingError",
    "choose",
    "integral",
    "real",
]
