"""The report of any fit, and its evidence as a file."""

from pathlib import Path
from typing import Any

from omicvae import diagnostics
from omicvae._core.files import write_text
from omicvae.diagnostics import Diagnosis
from omicvae.readers.sources import diagnose, inputs_of
from omicvae.report import CellMaps, EvidenceFacts, render


def write_report(
    source: Any,
    path: str | Path = "report.html",
    labels_key: str | None = None,
    *,
    seed: int | None = None,
    umap: bool = True,
) -> Path:
    """Write the diagnosis of any fit as one HTML file to send: verdict, facts, figures, evidence, remedies.

    Parameters
    ----------
    source
        As for ``ov.diagnose``, or a diagnosis that was made, shown as it is.
    path
        Where it goes; what stood there is replaced once the new file is complete.
    labels_key, seed, umap
        As for ``ov.diagnose``; labels also colour the maps of the cells, which ``umap=False`` leaves out.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    SavingError
        If the file cannot be written.
    """
    if hasattr(source, "diagnosis_inputs"):  # it knows more of itself
        written: Path = source.report(path, labels_key=labels_key, seed=seed, umap=umap)
        return written
    diagnosis = source if isinstance(source, Diagnosis) else diagnose(source, labels_key, seed=seed, umap=umap)
    maps = CellMaps.of_inputs(diagnosis.inputs) if umap else None
    write_text(render(diagnosis, diagnosis.inputs.history, EvidenceFacts(diagnosis.inputs), maps), Path(path))
    return Path(path)


def write_evidence(source: Any, path: str | Path, labels_key: str | None = None, *, seed: int | None = None) -> Path:
    """Write what any fit is judged by as one file, which ``ov.read_evidence`` and ``ov.diagnose`` take.

    Parameters
    ----------
    source, labels_key, seed
        As for ``ov.diagnose``, or a diagnosis that was made.
    path
        Of the file, in the form of safetensors.

    Raises
    ------
    SavingError
        If the file cannot be written.
    """
    return diagnostics.write_evidence(inputs_of(source, labels_key, seed=seed), path)
