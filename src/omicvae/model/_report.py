"""``report``: collect what a report shows, and write it."""

from pathlib import Path
from typing import Any

import pandas as pd

from omicvae._core import SettingError
from omicvae._core.files import write_text
from omicvae.data.schema import obs_column
from omicvae.diagnostics import Diagnosis
from omicvae.model._diagnosis import DiagnosisMixin, stand_in_labels
from omicvae.report import CellMaps, ModelFacts, render


class ReportMixin(DiagnosisMixin):
    """``report``."""

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
        labels_key
            Column of ``obs`` to classify and to colour by; None takes the ``labels_key`` of set-up. Without labels,
            k-means classes of the data stand in, marked as such.
        seed
            As ``diagnose`` takes it; None for the model's.
        umap
            Whether to make the UMAP check and to draw the cells, which takes longest.

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
        self._require_own_cells("report()")
        if diagnosis is None:
            diagnosis = self.diagnose(labels_key, seed=seed, umap=umap)
        elif not isinstance(diagnosis, Diagnosis):
            raise SettingError(f"diagnosis takes what model.diagnose() returned, got {type(diagnosis).__name__}.")
        maps = self._maps(labels_key or probed_labels(diagnosis), seed) if umap else None
        target = Path(path)
        write_text(render(diagnosis, self.history, self._facts(), maps), target)
        return target

    def _maps(self, labels_key: str | None, seed: int | None) -> CellMaps | None:
        """Map the model's own cells: a draw, the means and PCA, as the diagnosis has them."""
        store, adata = self._cells(None), self._own_adata()
        seed = self._diagnosis_seed(seed)
        mean_NK, _, draw_NK, reference_NK = self._views(store, seed)
        if labels_key is None:
            labels = pd.Series(stand_in_labels(reference_NK, seed), name="k-means class")
        else:
            labels = obs_column(adata, labels_key)
        covariates = [key for key in self.schema.keys.categorical_keys if key != labels_key]
        return CellMaps.of(
            {"one posterior draw": draw_NK, "means": mean_NK, "PCA": reference_NK},
            labels=labels,
            labels_are_kmeans=labels_key is None,
            covariate=obs_column(adata, covariates[0]) if covariates else None,
            seed=seed,
        )

    def _facts(self) -> ModelFacts:
        schema, last = self.schema, self.fits[-1]
        endings = {"stopped early": last.stopped_early, "interrupted": last.interrupted, "failed": bool(last.failure)}
        genes: list[Any] = self.module.likelihood.constant_genes.tolist()
        return ModelFacts(
            n_cells=schema.n_cells,
            n_genes=len(schema.gene_names),
            n_train=len(self.train_indices),
            n_validation=len(self.validation_indices),
            categorical=tuple((levels.key, len(levels.levels)) for levels in schema.categorical),
            setup=schema.keys.to_dict(),
            model=self.config.to_dict(),
            objective=self.objective,
            n_epochs=len(self.history),
            planned_epochs=last.planned_epochs,
            best_epoch=last.best_epoch,
            n_runs=len(self.fits),
            ending=", ".join(name for name, happened in endings.items() if happened),
            constant_genes=tuple(schema.gene_names[g] for g in genes),
        )


def probed_labels(diagnosis: Diagnosis) -> str | None:
    """Name of the labels that a diagnosis classified, None where they were k-means classes or there were none."""
    probes = diagnosis.probes
    return None if probes.empty or probes["fallback"].any() else str(probes["labels"].iloc[0])
