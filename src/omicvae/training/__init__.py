"""Training on Lightning: plan, step, callbacks, history, and passes over the cells."""

from omicvae.training.budget import Budget, OneCycle, plan_budget
from omicvae.training.evaluation import CellScores, evaluating, map_cells, score_cells
from omicvae.training.fit import PRECISIONS, FitResult, fit, hardware, private_generators
from omicvae.training.history import history_frame
from omicvae.training.null import null_log_likelihood
from omicvae.training.plan import Split
from omicvae.training.seeds import derive_seed

__all__ = [
    "PRECISIONS",
    "Budget",
    "CellScores",
    "FitResult",
    "OneCycle",
    "Split",
    "derive_seed",
    "evaluating",
    "fit",
    "hardware",
    "history_frame",
    "map_cells",
    "null_log_likelihood",
    "plan_budget",
    "private_generators",
    "score_cells",
]
