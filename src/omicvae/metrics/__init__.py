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

__all__ = [
    "CLASSIFIERS",
    "PermutedInterval",
    "ProbeScore",
    "compare_probes",
    "kmeans_classes",
    "neighbourhood_purity",
    "permuted_interval",
    "probe",
    "purity_by_chance",
    "silhouette",
]
