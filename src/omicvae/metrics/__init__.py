"""Metrics: pure functions of arrays with a documented range and direction."""

from omicvae.metrics.agreement import EffectAgreement, benjamini_hochberg, effect_agreement
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
from omicvae.metrics.integration import PCRComparison, pcr, pcr_comparison, silhouette_batch, silhouette_label
from omicvae.metrics.neighbours import graph_connectivity
from omicvae.metrics.predictive import Calibration, calibration, randomised_pit
from omicvae.metrics.simpson import clisi, ilisi, lisi

__all__ = [
    "CLASSIFIERS",
    "Calibration",
    "DCIScore",
    "EffectAgreement",
    "FixedFactorScore",
    "GapScore",
    "PCRComparison",
    "PermutedInterval",
    "ProbeScore",
    "benjamini_hochberg",
    "beta_vae_score",
    "calibration",
    "clisi",
    "compare_probes",
    "dci",
    "effect_agreement",
    "factor_vae_score",
    "graph_connectivity",
    "ilisi",
    "kmeans_classes",
    "lisi",
    "mig",
    "neighbourhood_purity",
    "pcr",
    "pcr_comparison",
    "permuted_interval",
    "probe",
    "purity_by_chance",
    "randomised_pit",
    "sap",
    "silhouette",
    "silhouette_batch",
    "silhouette_label",
]
