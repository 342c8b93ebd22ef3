"""``diagnose`` and ``report``: hand over what the checks need, and what a report shows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from omicvae._core import SettingError
from omicvae._core.files import write_text
from omicvae.data import labels_of, obs_column
from omicvae.diagnostics import Diagnosis, DiagnosisInputs, diagnose
from omicvae.model.inputs import diagnosis_seed, gather_inputs
from omicvae.model.own_settings import for_this_run
from omicvae.model.state import HasState, ModelState, looks_once
from omicvae.report import CellMaps, ModelFacts, render
from omicvae.training import own_surroundings


class DiagnosisMixin(HasState):
    """Collects the evidence; ``omicvae.diagnostics`` judges it and ``omicvae.report`` shows it."""

    @own_surroundings()
    def diagnose(self, labels_key: str | None = None, *, seed: int | None = None, umap: bool = True) -> Diagnosis:
        """Say whether the latent space is alive, show the evidence, and offer remedies.

        Rates, bounds and the cost of a permuted z are measured on the validation cells (on the training cells if
        there are none), probes on all cells. The verdict comes from what the model does, never from its settings;
        the remedies are the run's own settings with the changes that may help.

        Parameters
        ----------
        labels_key
            Column of ``obs`` to classify from the latent; None takes the ``labels_key`` of set-up. Without labels,
            k-means classes of the data stand in, marked as such.
        seed
            Of draws, folds and subsamples; None for the model's.
        umap
            Whether to run the UMAP check, the slowest.

        Raises
        ------
        NotSupportedError
            If the model is not trained or has no data.
        """
        return for_this_run(self.state, diagnose(self.diagnosis_inputs(labels_key, seed=seed), umap=umap))

    @own_surroundings()
    def diagnosis_inputs(self, labels_key: str | None = None, *, seed: int | None = None) -> DiagnosisInputs:
        """Return what ``diagnose`` judges: arrays and curves, for ``ov.write_evidence`` and ``ov.compare``.

        Parameters and errors are those of ``diagnose``.
        """
        with self.state.one_look():
            return gather_inputs(
                self.state, labels_key or self.schema.keys.labels_key, diagnosis_seed(self.state, seed)
            )

    @looks_once
    def report(
        self,
        path: str | Path = "report.html",
        *,
        diagnosis: Diagnosis | None = None,
        labels_key: str | None = None,
        seed: int | None = None,
        umap: bool = True,
    ) -> Path:
        """Write the fit as one HTML file to send: verdict, facts, figures, evidence, remedies, exact settings.

        The file loads nothing from elsewhere and holds no cell but as a dot of the maps.

        Parameters
        ----------
        path
            Where it goes; what stood there is replaced once the new file is complete.
        diagnosis
            What ``diagnose`` returned, shown as it is; None makes it.
        labels_key, seed, umap
            As for ``diagnose``; the labels also colour the maps of the cells, which ``umap=False`` leaves out.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        NotSupportedError
            If the model is not trained, or has no data where they are needed.
        SavingError
            If the file cannot be written.
        """
        facts = _model_facts(self.state)
        if diagnosis is None:
            diagnosis = self.diagnose(labels_key, seed=seed, umap=umap)
        elif not isinstance(diagnosis, Diagnosis):
            raise SettingError(f"diagnosis takes what model.diagnose() returned, got {type(diagnosis).__name__}.")
        inputs = diagnosis.inputs
        if labels_key not in (None, inputs.labels_key):
            labels_N = labels_of(obs_column(self.state.own_adata(), labels_key))
            inputs = replace(inputs, labels_N=labels_N, labels_key=labels_key)
        maps = CellMaps.of_inputs(inputs) if umap else None
        write_text(render(diagnosis, self.history, facts, maps), Path(path))
        return Path(path)


def _model_facts(state: ModelState) -> ModelFacts:
    """Say in plain values what data and model are."""
    schema, split, last = state.schema, state.require_split("report()"), state.fits[-1]
    endings = {"stopped early": last.stopped_early, "interrupted": last.interrupted, "failed": bool(last.failure)}
    genes: list[Any] = state.module.likelihood.constant_genes.tolist()
    return ModelFacts(
        n_cells=schema.n_cells,
        n_genes=len(schema.gene_names),
        n_train=len(split.train),
        n_validation=len(split.validation),
        categorical=tuple((levels.key, len(levels.levels)) for levels in schema.categorical),
        setup=schema.keys.to_dict(),
        model=state.config.to_dict(),
        objective=state.objective,
        n_epochs=len(state.history),
        planned_epochs=last.planned_epochs,
        best_epoch=last.best_epoch,
        n_runs=len(state.fits),
        ending=", ".join(name for name, happened in endings.items() if happened),
        constant_genes=tuple(schema.gene_names[g] for g in genes),
        step=last.step,
    )
