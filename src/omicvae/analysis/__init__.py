"""Statistics of what a fitted model says of cells: arrays in, frozen results out."""

from omicvae.analysis.effects import Compared, Effects
from omicvae.analysis.moderated import ModeratedT, moderated_t
from omicvae.analysis.pseudobulk import EFFECT_UNITS, UnitSums, common_shift
from omicvae.analysis.relabelling import relabelled
from omicvae.analysis.replicates import ReplicateTest, compare_replicates

__all__ = [
    "EFFECT_UNITS",
    "Compared",
    "Effects",
    "ModeratedT",
    "ReplicateTest",
    "UnitSums",
    "common_shift",
    "compare_replicates",
    "moderated_t",
    "relabelled",
]
