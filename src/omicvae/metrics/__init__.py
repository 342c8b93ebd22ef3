"""Metrics: pure functions of arrays with a documented range and direction.

What they share: ``embedding_ND``, ``features_ND`` and ``z_NK`` are N cells × dimensions; ``labels_N`` and ``batches_N``
one value a cell, and cells with None or NaN take no part, neither as a cell nor as a neighbour; with ``max_cells`` at
most about so many take part, thinned in proportion within classes, and ``seed`` chooses them. The line ``Range`` of
every docstring says what the worst and the best value mean, which is better, and what chance gives. Input that cannot
be used is a ``DataError`` that says why, an impossible setting a ``SettingError``.
"""

from omicvae.metrics.agreement import EffectAgreement, benjamini_hochberg, effect_agreement
from omicvae.metrics.calibration import Calibration, calibration, randomised_pit
from omicvae.metrics.change_agreement import ChangeAgreement, change_agreement
from omicvae.metrics.cka import linear_cka
from omicvae.metrics.classification import (
    CLASSIFIERS,
    PermutedInterval,
    ProbeScore,
    compare_probes,
    permuted_interval,
    probe,
)
from omicvae.metrics.clustering import kmeans_classes
from omicvae.metrics.dci import DCIScore, dci
from omicvae.metrics.factor_vae import FixedFactorScore, beta_vae_score, factor_vae_score
from omicvae.metrics.lisi import clisi, ilisi, lisi
from omicvae.metrics.mig_sap import GapScore, mig, sap
from omicvae.metrics.neighbours import graph_connectivity, neighbour_overlap, neighbourhood_purity, purity_by_chance
from omicvae.metrics.pcr import PCRComparison, pcr, pcr_comparison
from omicvae.metrics.silhouette import silhouette, silhouette_batch, silhouette_label

__all__ = [
    "CLASSIFIERS",
    "Calibration",
    "ChangeAgreement",
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
    "change_agreement",
    "clisi",
    "compare_probes",
    "dci",
    "effect_agreement",
    "factor_vae_score",
    "graph_connectivity",
    "ilisi",
    "kmeans_classes",
    "linear_cka",
    "lisi",
    "mig",
    "neighbour_overlap",
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
