"""The training objective: KL weight over time, regularised KL, ELBO. Pure functions of what the module returns."""

from omicvae.objective._objective import Objective, PlannedObjective
from omicvae.objective.elbo import elbo_terms
from omicvae.objective.kl import FREE_BITS_MODES
from omicvae.objective.schedules import SCHEDULES, Schedule

__all__ = [
    "FREE_BITS_MODES",
    "SCHEDULES",
    "Objective",
    "PlannedObjective",
    "Schedule",
    "elbo_terms",
]
