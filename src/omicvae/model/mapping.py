"""Query mapping: new cells on a trained reference, whose weights stay as they are."""

from copy import deepcopy
from pathlib import Path
from typing import Any, Self

from anndata import AnnData

from omicvae._core import NotSupportedError, SettingError
from omicvae.data import CellStore, Identity, check_support, matrix_place
from omicvae.model.config import extend
from omicvae.model.host import adopt
from omicvae.model.setup_record import own_memory
from omicvae.model.state import HasState, ModelState


class MappingMixin(HasState):
    """``load_query_data`` and ``map_query``."""

    @classmethod
    def load_query_data(cls, adata: AnnData, reference_model: Any, *, missing_genes: str = "error") -> Self:
        """Return a model of new cells on a trained reference: architectural surgery (Lotfollahi et al. 2022).

        Levels of any categorical covariate that the reference does not know get weights of their own in every layer
        that covariates enter, in a conditional prior and in dispersions by batch; they start at the mean of the known
        levels. ``train()`` of the new model trains these weights alone. All else is frozen, running statistics
        included, so that what the model says of the reference's levels is bit-identical to the reference, before and
        after. The reference itself is left as it is.

        Parameters
        ----------
        adata
            Query cells with the reference's columns of ``obs``; genes and levels are matched by name.
        reference_model
            A trained ``CVAE``, or the folder of a saved one.
        missing_genes
            ``"error"``, or ``"zero"`` to fill a limited share of missing genes with zeros.

        Raises
        ------
        DataError
            If genes, columns or values do not fit the reference.
        NotSupportedError
            If it is not trained, or is itself a model of mapped cells.
        """
        reference = cls.load(reference_model) if isinstance(reference_model, str | Path) else reference_model
        if not isinstance(reference, cls):
            raise SettingError(f"reference_model must be a CVAE or the folder of a saved one, got {reference_model!r}.")
        known: ModelState = reference.state
        known.require_trained("load_query_data()")
        if known.schema.extended:
            raise NotSupportedError(
                "reference_model is a model of mapped cells. Map to its reference instead, with the cells of both "
                "queries in one AnnData."
            )
        own_memory(adata)
        schema = known.schema.extended_by(adata)
        store = CellStore.build(adata, schema, missing_genes=missing_genes)
        check_support(store.summary, known.module.likelihood.support, matrix_place(schema.keys.layer))
        state = ModelState(known.config, schema)
        state.module = extend(deepcopy(known.module), schema)
        state.fits, state.objective = list(known.fits), dict(known.objective)
        state.attach(adata, store, Identity.of(adata, schema.keys))
        model: Self = adopt(cls.__new__(cls), state)
        return model

