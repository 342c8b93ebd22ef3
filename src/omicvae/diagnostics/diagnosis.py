"""``diagnose``: from what a fit computes to a verdict with reasons and remedies."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from omicvae.diagnostics.base_diagnosis import BaseDiagnosis, plain, plain_records
from omicvae.diagnostics.curve_statistics import late_starts
from omicvae.diagnostics.evidence_table import evidence_table
from omicvae.diagnostics.inputs import DiagnosisInputs
from omicvae.diagnostics.measurements import Measurements, measure
from omicvae.diagnostics.remedies import ranked_remedies
from omicvae.diagnostics.rules import judge
from omicvae.diagnostics.verdict import RULES
from omicvae.metrics.labels import FloatArray


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Diagnosis(BaseDiagnosis):
    """What is the matter with a fitted model.

    The verdict is ``"healthy"``, ``"diverged"``, ``"undertrained"``, ``"no_signal"``, ``"collapsed"``,
    ``"partial_collapse"``, ``"overfit"`` or ``"under_regularised"``. For a healthy fit there are no remedies, but for
    an adversary where it tells a covariate.

    Attributes
    ----------
    kl_per_dimension
        Mean KL of each latent dimension, nats per cell, shape (K,); NaN where the output was not finite.
    probes
        Scores of the classification check, a row per representation and classifier; empty where it was not
        made.
    umap
        Scores of the UMAP check; empty where it was not made.
    """

    kl_per_dimension: FloatArray
    probes: pd.DataFrame
    umap: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON takes; what is NaN or infinite becomes None."""
        return {
            **BaseDiagnosis.to_dict(self),
            "kl_per_dimension": [plain(value) for value in self.kl_per_dimension],
            "probes": plain_records(self.probes),
            "umap": plain_records(self.umap),
        }


def diagnose(inputs: DiagnosisInputs, *, seed: int = 0, umap: bool = True) -> Diagnosis:
    """Judge one fit from what it does; settings take no part.

    Parameters
    ----------
    inputs
        Arrays and curves of the fit.
    seed
        Seed of folds, permutations, subsamples and UMAP: the same seed gives the same diagnosis.
    umap
        Whether to make the UMAP check, which changes no verdict.
    """
    measurements = measure(inputs, seed=seed, umap=umap)
    judgement = judge(RULES, measurements)
    usage, probes, embedding = measurements.usage, measurements.probes, measurements.umap
    return Diagnosis(
        verdict=judgement.rule.name,
        headline=judgement.rule.headline(measurements),
        findings=tuple(rule.name for rule in judgement.findings),
        remarks=(*_remarks(measurements), *late_starts(inputs.history)),
        evidence=evidence_table(measurements.rows()),
        remedies=ranked_remedies(judgement, measurements),
        sound=judgement.rule.sound,
        tone=judgement.rule.tone,
        kl_per_dimension=np.full(inputs.kl_WK.shape[1], np.nan) if usage is None else usage.kl_K,
        probes=pd.DataFrame() if probes is None else probes.to_frame(),
        umap=pd.DataFrame() if embedding is None else embedding.to_frame(),
    )


def _remarks(m: Measurements) -> tuple[str, ...]:
    remarks = []
    if m.usage is not None and 0 < m.usage.n_active < m.usage.n_latent:
        unused = m.usage.n_latent - m.usage.n_active
        remarks.append(f"{unused} of {m.usage.n_latent} dimensions are unused; that alone is no fault.")
    if m.probes is not None and m.probes.conditioned:
        remarks.append(f"the model was conditioned on {m.probes.key}: probing it proves nothing.")
    elif m.probes is not None and not m.probes.counts:
        remarks.append(f"PCA reads {m.probes.key} no better than chance: probing it proves nothing.")
    if m.probes is not None and m.below_pca and not m.information_lost:
        remarks.append(
            f"a draw tells {m.probes.key} well below PCA; under this decoder narrower posteriors would lose, so it is "
            "no collapse, but another network or longer training may tell more."
        )
    if m.probes is not None and m.probes.draw.left_out:
        remarks.append(f"classes with too few cells for the folds, left out: {', '.join(m.probes.draw.left_out)}.")
    if m.probes is None and not m.non_finite:
        remarks.append("no labels with two classes of 5 cells or more: the latent was not probed.")
    if m.curves.n_epochs == 0:
        remarks.append("there is no training history: the curves were not judged.")
    if m.training_failed:
        remarks.append("training failed in some epochs; the weights judged are those that were kept.")
    return tuple(remarks)
