"""The training objective: KL weight over time, regularised KL, further terms. Pure functions and settings."""

from omicvae.objective.adversarial import (
    Adversary,
    Discriminator,
    LatentAdversary,
    Phase,
    adaptive_weight,
    confusion_loss,
    hinge_loss,
)
from omicvae.objective.kl import FREE_BITS_MODES, KLControl, regularised_kl
from omicvae.objective.objective import Objective, ScheduledObjective
from omicvae.objective.schedules import SCHEDULES, Cyclical, Ramp, Schedule
from omicvae.objective.total_correlation import total_correlation

__all__ = [
    "FREE_BITS_MODES",
    "SCHEDULES",
    "Adversary",
    "Cyclical",
    "Discriminator",
    "KLControl",
    "LatentAdversary",
    "Objective",
    "Phase",
    "Ramp",
    "Schedule",
    "ScheduledObjective",
    "adaptive_weight",
    "confusion_loss",
    "hinge_loss",
    "regularised_kl",
    "total_correlation",
]
