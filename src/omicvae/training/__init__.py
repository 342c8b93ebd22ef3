"""Training on Lightning: plan, step, callbacks, history, and passes over the cells."""

from omicvae.training.budget import Budget, Optimisation, default_weight_decay, make_budget
from omicvae.training.callbacks import CheckpointWriter
from omicvae.training.checkpoint import Checkpoint, has_checkpoint, read_checkpoint
from omicvae.training.contrast import Contrast, contrast
from omicvae.training.evaluation import OWN, CellPasses, CellScores, evaluating, map_cells, score_cells
from omicvae.training.fit import PRECISIONS, FitResult, fit, hardware
from omicvae.training.history import history_frame
from omicvae.training.learning_rate import LEARNING_RATES, OneCycle
from omicvae.training.null_model import covariate_design, null_log_likelihood, unexplained_structure
from omicvae.training.plan import Split, TrainingPlan
from omicvae.training.seeds import derive_seed, generator_for
from omicvae.training.settings import TRAIN_SIZE, RunSettings, check_trainer_arguments
from omicvae.training.surroundings import own_surroundings

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
    "score_cells",
    "unexplained_structure",
]
