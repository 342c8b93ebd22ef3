"""scvi-tools' posterior predictive checks, for data as they come: sparse or dense, of any number type."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from scvi.criticism import PosteriorPredictiveCheck as OfScvi

from omicvae.data import get_matrix, iter_rows
from omicvae.model.setup_record import check_anndata

#: what scvi-tools calls the data among the samples, its table of calibration errors, and the one model that it looks at
_RAW, _CALIBRATION, _ITS_MODEL = "Raw", "calibration", "model1"


class PosteriorPredictiveCheck(OfScvi):
    """Posterior predictive checks of ``scvi.criticism`` for models of omicvae and of scvi-tools, side by side.

    Everything is as there, but for two faults of scvi-tools 1.4: sparse data of a floating type are taken, and
    ``calibration_error`` judges each model, whatever it is called.

    Parameters
    ----------
    adata
        The models' cells.
    models_dict
        Name → model.
    count_layer_key
        Layer with the data; None for ``adata.X``.
    n_samples
        Posterior predictive samples of each cell.
    indices
        Rows of ``adata``; None for all.
    """

    samples_dataset: Any

    def __init__(
        self,
        adata: AnnData,
        models_dict: Mapping[str, Any],
        count_layer_key: str | None = None,
        n_samples: int = 10,
        indices: Sequence[int] | None = None,
    ) -> None:
        check_anndata(adata)
        readable = AnnData(_readable(get_matrix(adata, count_layer_key)), obs=adata.obs, var=adata.var[[]])
        super().__init__(readable, dict(models_dict), None, n_samples, indices)

    def calibration_error(self, confidence_intervals: "list[float] | None" = None) -> None:
        """Squared difference of level and coverage of the samples' intervals, summed over levels, for each model."""
        samples, errors = self.samples_dataset, {}
        try:
            for name in self.models:
                self.samples_dataset = samples[[_RAW, name]].rename({name: _ITS_MODEL})
                super().calibration_error(confidence_intervals)
                errors[name] = self.metrics[_CALIBRATION][_ITS_MODEL]
        finally:
            self.samples_dataset = samples
        self.metrics[_CALIBRATION] = pd.DataFrame(errors)


def _readable(matrix: Any) -> Any:
    """Return the matrix in a form that scvi-tools takes: whole numbers as such, sparse; others dense."""
    rows = sp.vstack(list(iter_rows(matrix)), format="csr")
    whole = rows.astype(np.int64)
    return whole if (whole.data == rows.data).all() else rows.toarray()
