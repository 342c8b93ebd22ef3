"""Training on Lightning: plan, step, callbacks, history, and passes over the cells.

Lightning is loaded with the first name that needs it: passes over cells and the null model do without.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from omicvae.training.budget import Budget, Optimisation, default_weight_decay, make_budget
from omicvae.training.checkpoint import Checkpoint, has_checkpoint, read_checkpoint
from omicvae.training.contrast import Contrast, contrast
from omicvae.training.evaluation import OWN, CellPasses, CellScores, evaluating, map_cells, score_cells
from omicvae.training.history import history_frame
from omicvae.training.learning_rate import LEARNING_RATES, OneCycle
from omicvae.training.null_model import covariate_design, null_log_likelihood, reference_scores, unexplained_structure
from omicvae.training.seeds import derive_seed, generator_for
from omicvae.training.surroundings import own_surroundings

if TYPE_CHECKING:
    from omicvae.training.callbacks import CheckpointWriter
    from omicvae.training.plan import Split, TrainingPlan
    from omicvae.training.run import PRECISIONS, FitResult, fit, hardware
    from omicvae.training.settings import TRAIN_SIZE, RunSettings, check_trainer_arguments

#: name → file, of those that import Lightning
_ON_LIGHTNING = {
    "CheckpointWriter": "callbacks",
    **dict.fromkeys(("Split", "TrainingPlan"), "plan"),
    **dict.fromkeys(("PRECISIONS", "FitResult", "fit", "hardware"), "run"),
    **dict.fromkeys(("TRAIN_SIZE", "RunSettings", "check_trainer_arguments"), "settings"),
}

__all__ = [
    "LEARNING_RATES",
    "OWN",
    "PRECISIONS",
    "TRAIN_SIZE",
    "Budget",
    "CellPasses",
    "CellScores",
    "Checkpoint",
    "CheckpointWriter",
    "Contrast",
    "FitResult",
    "OneCycle",
    "Optimisation",
    "RunSettings",
    "Split",
    "TrainingPlan",
    "check_trainer_arguments",
    "contrast",
    "covariate_design",
    "default_weight_decay",
    "derive_seed",
    "evaluating",
    "fit",
    "generator_for",
    "hardware",
    "has_checkpoint",
    "history_frame",
    "make_budget",
    "map_cells",
    "null_log_likelihood",
    "own_surroundings",
    "read_checkpoint",
    "reference_scores",
    "score_cells",
    "unexplained_structure",
]


def __getattr__(name: str) -> Any:
    if name not in _ON_LIGHTNING:
        raise AttributeError(f"module 'omicvae.training' has no attribute {name!r}.")
    return getattr(import_module(f"omicvae.training.{_ON_LIGHTNING[name]}"), name)
