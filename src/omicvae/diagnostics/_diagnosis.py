"""``diagnose``: from evidence to a verdict with reasons and remedies."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from omicvae.diagnostics._rows import evidence_table
from omicvae.diagnostics._text import as_html, as_text
from omicvae.diagnostics.curve_statistics import late_starts
from omicvae.diagnostics.evidence import FitEvidence
from omicvae.diagnostics.measurements import Measurements, measure
from omicvae.diagnostics.remedies import Remedy, remedies_for
from omicvae.diagnostics.verdict import (
    judge,
    probe_below_pca,
    probe_counts,
    probe_lost,
    training_went_astray,
)
from omicvae.metrics.labels import FloatArray


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Diagnosis:
    """What is the matter with a fitted model.

    Attributes
    ----------
    verdict
        ``"healthy"``, ``"diverged"``, ``"undertrained"``, ``"no_signal"``, ``"collapsed"``, ``"partial_collapse"``,
        ``"overfit"`` or ``"under_regularised"``.
    headline
        The verdict in a sentence.
    findings
        Names of further verdicts whose conditions hold as well.
    remarks
        Sentences that changed nothing: unused dimensions, labels that prove nothing, settings.
    evidence
        Columns ``check``, ``value``, ``threshold`` (text), ``passed`` (True, False, or None: shown, not
        judged) and ``meaning``.
    remedies
        Ranked; each is a mapping that ``model.train(objective=...)`` takes. For a healthy fit empty, but for an
        adversary where it tells a covariate.
    kl_per_dimension
        Mean KL of each latent dimension, nats per cell, shape (K,); NaN where the output was not finite.
    probes
        Scores of the classification check, a row per representation and classifier; empty where it was not
        made.
    umap
        Scores of the UMAP check; empty where it was not made.
    """

    verdict: str
    headline: str
    findings: tuple[str, ...]
    remarks: tuple[str, ...]
    evidence: pd.DataFrame
    remedies: tuple[Remedy, ...]
    kl_per_dimension: FloatArray
    probes: pd.DataFrame
    umap: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the evidence."""
        return self.evidence.copy()

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON takes; what is NaN or infinite becomes None."""
        return {
            "verdict": self.verdict,
            "headline": self.headline,
            "findings": list(self.findings),
            "remarks": list(self.remarks),
            "evidence": _records(self.evidence),
            "remedies": [remedy.to_dict() for remedy in self.remedies],
            "kl_per_dimension": [_plain(value) for value in self.kl_per_dimension],
            "probes": _records(self.probes),
            "umap": _records(self.umap),
        }

    def __str__(self) -> str:
        return as_text(self.headline, self.verdict, self.evidence, self.remedies, self._notes())

    def __repr__(self) -> str:
        return f"<Diagnosis: {self.verdict}>"

    def _repr_html_(self) -> str:
        return as_html(self.headline, self.verdict, self.evidence, self.remedies)

    def _notes(self) -> tuple[str, ...]:
        also = (f"also found: {', '.join(self.findings)}.",) if self.findings else ()
        return also + self.remarks


def diagnose(inputs: FitEvidence, *, seed: int = 0, umap: bool = True) -> Diagnosis:
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
    judgement = judge(measurements)
    usage, probes, embedding = measurements.usage, measurements.probes, measurements.umap
    return Diagnosis(
        verdict=judgement.verdict,
        headline=judgement.headline,
        findings=judgement.findings,
        remarks=(*_remarks(measurements), *late_starts(inputs.history)),
        evidence=evidence_table(measurements),
        remedies=remedies_for(judgement.verdict, judgement.findings, measurements),
        kl_per_dimension=np.full(inputs.kl_WK.shape[1], np.nan) if usage is None else usage.kl_K,
        probes=pd.DataFrame() if probes is None else probes.to_frame(),
        umap=pd.DataFrame() if embedding is None else embedding.to_frame(),
    )


def _remarks(m: Measurements) -> tuple[str, ...]:
    remarks = []
    if m.usage is not None and 0 < m.usage.n_active < m.usage.n_latent:
        unused = m.usage.n_latent - m.usage.n_active
        remarks.append(f"{unused} of {m.usage.n_latent} dimensions are unused; that alone is no illness.")
    if m.probes is not None and m.probes.conditioned:
        remarks.append(f"the model was conditioned on {m.probes.key}: probing it proves nothing.")
    elif m.probes is not None and not probe_counts(m):
        remarks.append(f"PCA reads {m.probes.key} no better than chance: probing it proves nothing.")
    if m.probes is not None and probe_below_pca(m) and not probe_lost(m):
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
    if training_went_astray(m):
        remarks.append("training went astray in some epochs; the weights judged are those that were kept.")
    return tuple(remarks)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
