"""Statistics of what a fitted model says of cells: arrays in, frozen results out."""

from omicvae.analysis.counterfactual import CounterfactualJudgement, ObservedGroups, PredictedGroup, nearer
from omicvae.analysis.intervals import DrawInterval, mean_and_sd
from omicvae.analysis.reconstruction import Reconstruction
from omicvae.analysis.stability import Stability

__all__ = [
    "CounterfactualJudgement",
    "DrawInterval",
    "ObservedGroups",
    "PredictedGroup",
    "Reconstruction",
    "Stability",
    "mean_and_sd",
    "nearer",
]
