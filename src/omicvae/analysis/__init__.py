"""Statistics of what a fitted model says of cells: arrays in, frozen results out."""

from omicvae.analysis.counterfactual import CounterfactualJudgement, ObservedGroups, PredictedGroup, nearer

__all__ = ["CounterfactualJudgement", "ObservedGroups", "PredictedGroup", "nearer"]
