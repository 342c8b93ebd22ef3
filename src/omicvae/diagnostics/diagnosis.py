"""``diagnose``: from what a fit computes to a verdict with reasons and remedies."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from omicvae.diagnostics.base_diagnosis import BaseDiagnosis
from omicvae.diagnostics.discriminator import late_starts
from omicvae.diagnostics.inputs import DiagnosisInputs
from omicvae.diagnostics.measurements import Measurements, measure
from omicvae.diagnostics.verdict import RULES
from omicvae.metrics.labels import Array, FloatArray


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Diagnosis(BaseDiagnosis):
    """What is the matter with a fitted model.

    The verdict is ``"healthy"``, ``"diverged"``, ``"unstable"``, ``"undertrained"``, ``"no_signal"``, ``"collapsed"``,
    ``"partial_collapse"``, ``"overfit"``, ``"under_regularised"``, or ``"undecided"`` where too little was given to
    tell. For a healthy fit there are no remedies, but for an adversary where it tells a covariate, and a weaker
    discriminator where that has won.

    Attributes
    ----------
    kl_per_dimension
        Mean KL of each latent dimension, nats per cell, shape (K,); NaN where the output was not finite.
    active_dimensions
        Which of them are active, shape (K,): those that the evidence counts and pictures colour.
    probes
        Scores of the classification check, a row per representation and classifier; empty where it was not
        made.
    umap
        Scores of the UMAP check; empty where it was not made.
    inputs
        What it was made from: for an evidence file, a comparison, a report.
    """

    kl_per_dimension: FloatArray
    active_dimensions: Array
    probes: pd.DataFrame
    umap: pd.DataFrame
    inputs: DiagnosisInputs


def diagnose(inputs: DiagnosisInputs, *, seed: int | None = None, umap: bool = True) -> Diagnosis:
    """Judge one fit from what it does; settings take no part.

    Parameters
    ----------
    inputs
        Arrays and curves of the fit.
    seed
        Seed of folds, permutations, subsamples and UMAP: the same seed gives the same diagnosis. None takes that of the
        inputs.
    umap
        Whether to make the UMAP check, which changes no verdict.
    """
    m = measure(inputs, seed=seed, umap=umap)
    return Diagnosis.of(
        RULES,
        m,
        m.rows(),
        curves=inputs.history,
        remarks=(*inputs.remarks, *remarks_on(m), *late_starts(inputs.history)),
        kl_per_dimension=m.usage.kl_K,
        active_dimensions=m.usage.active_K,
        probes=pd.DataFrame() if m.probes is None else m.probes.scores_table(),
        umap=pd.DataFrame() if m.umap is None else m.umap.scores,
        inputs=inputs,
    )


def remarks_on(m: Measurements) -> Iterator[str]:
    """Say what is to be known beside the verdict, and no fault."""
    used = m.use.cost.low > 0 and not (m.use.ignored or m.gain.negligible)
    if 0 < m.usage.n_active < m.usage.n_latent:
        unused = m.usage.n_latent - m.usage.n_active
        yield f"{unused} of {m.usage.n_latent} dimensions are unused; that alone is no fault."
    if m.probes is not None:
        if m.probes.conditioned:
            yield f"the model was conditioned on {m.probes.key}: probing it proves nothing."
        elif not m.probes.compared:
            yield f"without a PCA of the data to compare with, probing {m.probes.key} proves nothing."
        elif not m.probes.counts:
            yield f"PCA reads {m.probes.key} no better than chance: probing it proves nothing."
        if used and m.probes.below_pca and not (m.probes.information_lost or m.probes.at_chance):
            yield (
                f"a draw tells {m.probes.key} well below PCA; under this decoder narrower posteriors would lose, so "
                "it is no collapse, but another network or longer training may tell more."
            )
        if m.probes.draw.left_out:
            yield f"classes with too few cells for the folds, left out: {', '.join(m.probes.draw.left_out)}."
    elif not m.non_finite:
        yield "no labels with two classes of 5 cells or more: the latent was not probed."
    if m.curves.n_epochs == 0:
        yield "there is no training history: the curves were not judged."
    if m.training_failed:
        yield "training failed in some epochs; the weights judged are those that were kept."
