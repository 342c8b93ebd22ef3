"""Whatever can be judged: a model of omicvae or of scvi-tools, a file of evidence, a diagnosis that was made."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from omicvae._core import SettingError, integral
from omicvae.data import labels_of, obs_column
from omicvae.diagnostics import Diagnosis, DiagnosisInputs, read_evidence
from omicvae.diagnostics import diagnose as judge
from omicvae.readers.gather import gather
from omicvae.readers.scvi_tools import is_scvi_model, labels_set_up, read_model
from omicvae.readers.words import in_words_of

SOURCES = (
    "a trained model of omicvae or scvi-tools, an evidence file or what ov.read_evidence returned, or a diagnosis; for "
    "anything else give its encoder and its reconstruction to ov.audit(encode=..., nll=..., x=...)"
)


def diagnose(source: Any, labels_key: str | None = None, *, seed: int | None = None, umap: bool = True) -> Diagnosis:
    """Say whether the latent space of any fit is alive, whoever trained it.

    Parameters
    ----------
    source
        A trained ``CVAE``; a trained model of scvi-tools with its cells (``SCVI``, ``LinearSCVI``, ``SCANVI``,
        ``PEAKVI``, ``TOTALVI``, ``AUTOZI``); the path of an evidence file, or what ``ov.read_evidence`` returned.
    labels_key
        Column of the model's ``obs`` to read from the latent; None for the labels of its set-up. Evidence has its own.
    seed
        Of draws, folds and subsamples; None for that of the model or of the evidence.
    umap
        Whether to make the UMAP check, the slowest, which changes no verdict.

    Returns
    -------
    Diagnosis
        With remedies in the words of the library that trained the fit.

    Raises
    ------
    NotSupportedError
        For a model that is not trained, has no data, or none that can be read; the message says what can.
    """
    if hasattr(source, "diagnosis_inputs"):  # it knows its own run
        return source.diagnose(labels_key, seed=seed, umap=umap)
    inputs = inputs_of(source, labels_key, seed=seed)
    if labels_key not in (None, inputs.labels_key):
        raise SettingError(f"This evidence has the labels {inputs.labels_key!r}, and no {labels_key!r}.")
    diagnosis = judge(inputs, seed=seed, umap=umap)
    if not inputs.words:
        return diagnosis
    return replace(diagnosis, remedies=in_words_of(inputs.words, inputs.run, diagnosis.remedies))


def inputs_of(source: Any, labels_key: str | None = None, *, seed: int | None = None) -> DiagnosisInputs:
    """Return what the checks need of a source; as for :func:`diagnose`, and of a diagnosis what it was made from."""
    if isinstance(source, DiagnosisInputs):
        return source
    if isinstance(source, Diagnosis):
        return source.inputs
    if isinstance(source, str | Path):
        return read_evidence(source)
    if hasattr(source, "diagnosis_inputs"):
        inputs: DiagnosisInputs = source.diagnosis_inputs(labels_key, seed=seed)
        return inputs
    if is_scvi_model(source):
        fit, (own, unlabelled) = read_model(source), labels_set_up(source)
        key = labels_key or own
        column = None if key is None else obs_column(source.adata, key)
        if column is not None and key == own and unlabelled is not None:  # a name for having none
            column = column.where(column != unlabelled)
        labels_N = None if column is None else labels_of(column)
        seed = 0 if seed is None else integral("seed", seed, minimum=0)
        return gather(fit, labels_N=labels_N, labels_key=key, seed=seed)
    raise SettingError(f"A {type(source).__name__} cannot be diagnosed. What can is {SOURCES}.")
