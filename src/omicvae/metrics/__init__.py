"""Metrics: pure functions of arrays with a documented range and direction."""

from omicvae.metrics.classification import (
    CLASSIFIERS,
    PermutedInterval,
    ProbeScore,
    compare_probes,
    permuted_interval,
    probe,
)
from omicvae.metrics.clustering import kmeans_classes
from omicvae.metrics.embedding import neighbourhood_purity, purity_by_chance, silhouette
from omicvae.metrics.fixed_factor import FixedFactorScore, beta_vae_score, factor_vae_score
from omicvae.metrics.gaps import GapScore, mig, sap
from omicvae.metrics.importances import DCIScore, dci

__all__ = [
    "CLASSIFIERS",
    "DCIScore",
    "FixedFactorScore",
    "GapScore",
    "PermutedInterval",
    "ProbeScore",
    "beta_vae_score",
    "compare_probes",
    "dci",
    "factor_vae_score",
    "kmeans_classes",
    "mig",
    "neighbourhood_purity",
    "permuted_interval",
    "probe",
    "purity_by_chance",
    "sap",
    "silhouette",
]
