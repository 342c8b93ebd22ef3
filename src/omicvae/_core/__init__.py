"""What every layer shares: value types, errors, AnnData keys, argument checks."""

from omicvae._core.arguments import check_fields, choose, flag, integral, named_fields, plain, real
from omicvae._core.errors import (
    DataError,
    NotSupportedError,
    OmicVAEError,
    SavingError,
    SettingError,
    TrainingError,
)
from omicvae._core.types import (
    WITHOUT_DATA,
    Batch,
    Bfloat16Copies,
    FeatureMoments,
    HeadOutput,
    LatentPosterior,
    SparseRows,
)

__all__ = [
    "WITHOUT_DATA",
    "Batch",
    "Bfloat16Copies",
    "DataError",
    "FeatureMoments",
    "HeadOutput",
    "LatentPosterior",
    "NotSupportedError",
    "OmicVAEError",
    "SavingError",
    "SettingError",
    "SparseRows",
    "TrainingError",
    "check_fields",
    "choose",
    "flag",
    "integral",
    "named_fields",
    "plain",
    "real",
]
