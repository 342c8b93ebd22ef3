"""Statistics of what a fitted model says of cells: arrays in, frozen results out."""

from omicvae.analysis.counterfactual import CounterfactualJudgement, ObservedGroups, PredictedGroup, nearer
from omicvae.analysis.coverage import Coverage, MappedCells, coverage
from omicvae.analysis.effects import Compared, Effects
from omicvae.analysis.intervals import DrawInterval, mean_and_sd
from omicvae.analysis.moderated import ModeratedT, moderated_t
from omicvae.analysis.neighbour_labels import NeighbourLabels, calibration_error
from omicvae.analysis.pseudobulk import EFFECT_UNITS, UnitSums, common_shift
from omicvae.analysis.query_mapping import QueryMapping
from omicvae.analysis.reconstruction import Reconstruction
from omicvae.analysis.relabelling import relabelled
from omicvae.analysis.replicates import ReplicateTest, compare_replicates
from omicvae.analysis.stability import Stability

__all__ = [
    "EFFECT_UNITS",
    "Compared",
    "CounterfactualJudgement",
    "Coverage",
    "DrawInterval",
    "Effects",
    "MappedCells",
    "ModeratedT",
    "NeighbourLabels",
    "ObservedGroups",
    "PredictedGroup",
    "QueryMapping",
    "Reconstruction",
    "ReplicateTest",
    "Stability",
    "UnitSums",
    "calibration_error",
    "common_shift",
    "compare_replicates",
    "coverage",
    "mean_and_sd",
    "moderated_t",
    "nearer",
    "relabelled",
]
