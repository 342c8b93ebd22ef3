"""Query mapping: new cells on a trained reference, whose weights stay as they are."""

import logging
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import Tensor

from omicvae._core import Batch, DataError, NotSupportedError, SettingError
from omicvae.analysis import MappedCells, NeighbourLabels, QueryMapping, coverage
from omicvae.data import CellStore, Identity, check_support, matrix_place, obs_column
from omicvae.data.minified import require_data
from omicvae.model.config import extend
from omicvae.model.host import adopt
from omicvae.model.setup_record import check_anndata, own_memory
from omicvae.model.state import HasState, ModelState
from omicvae.training import CellPasses, own_surroundings

log = logging.getLogger("omicvae")


class MappingMixin(HasState):
    """``load_query_data`` and ``map_query``."""

    @classmethod
    @own_surroundings()
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
        reference = reference_model
        if isinstance(reference_model, str | Path):
            reference = cls.load(reference_model)  # type: ignore[attr-defined]  # SavingMixin
        if not isinstance(reference, cls):
            raise SettingError(f"reference_model must be a CVAE or the folder of one, got {reference_model!r}.")
        known: ModelState = reference.state
        known.require_trained("load_query_data()")
        if known.schema.extended:
            raise NotSupportedError(
                "reference_model is a model of mapped cells. Map to its reference instead, with the cells of both "
                "queries in one AnnData."
            )
        own_memory(adata)
        require_data(adata, "load_query_data()")
        schema = known.schema.extended_by(adata)
        store = CellStore.build(adata, schema, missing_genes=missing_genes)
        check_support(store.summary, known.module.likelihood.support, matrix_place(schema.keys.layer))
        state = ModelState(known.config, schema)
        state.module = extend(deepcopy(known.module), schema)
        state.fits, state.objective = list(known.fits), dict(known.objective)
        state.attach(adata, store, Identity.of(adata, schema.keys))
        model: Self = adopt(cls.__new__(cls), state)
        return model

    def map_query(
        self,
        adata: AnnData,
        labels_key: str | None = None,
        *,
        query_model: Any = None,
        training: Mapping[str, Any] | None = None,
        missing_genes: str = "error",
        batch_size: int | None = None,
        seed: int | None = None,
    ) -> QueryMapping:
        """Map new cells to this model's own, the reference: latents, labels with their confidence, and a verdict.

        Labels are those of the nearest reference cells, with a confidence that is calibrated on reference cells held
        out batch by batch. The coverage says of every cell how probable it is that the reference has none of its kind;
        of types that the reference lacks it finds a part, often a small one (figures in ``docs/query.md``).

        Parameters
        ----------
        adata
            Query cells with the columns of ``obs`` that the model conditions on; genes and levels are matched by name.
        labels_key
            Column of the reference's ``obs`` with labels, some of which may be missing; None takes that of set-up.
        query_model
            What ``load_query_data(adata, model)`` returned, trained. None makes and trains one where ``adata`` has
            levels that the reference does not know.
        training
            Arguments of ``train`` for that.
        missing_genes
            ``"error"``, or ``"zero"`` to fill a limited share of missing genes with zeros. The reference is then looked
            at without these genes too, and the evidence says what they cost.
        batch_size, seed
            As in ``get_latent_representation``; the seed chooses the cells that are held out, where there are many.

        Raises
        ------
        DataError
            If the cells do not fit the model.
        NotSupportedError
            If the model is not trained, has no cells of its own, or is itself a model of mapped cells.
        """
        state = self.state
        state.require_trained("map_query()")
        if state.schema.extended:
            raise NotSupportedError("map_query() is a method of the reference; pass it this model as query_model=.")
        check_anndata(adata)
        reference, labels_key = state.own_adata(), labels_key or self.schema.keys.labels_key
        for cells in (reference, adata):
            require_data(cells, "map_query()")
        labels = None if labels_key is None else obs_column(reference, labels_key)
        if labels is not None and labels.isna().all():
            raise DataError(f"No cell of the reference has a label: obs[{labels_key!r}] is missing everywhere.")
        query = self._of_query(adata, query_model, training, missing_genes)
        passes = query.passes("map_query()", adata, None, batch_size, missing_genes=missing_genes)
        known = state.passes("map_query()", None, None, batch_size)
        missing = [gene not in adata.var_names for gene in self.schema.gene_names]
        whole = _look(known)
        seen = whole
        if any(missing):
            without = reference[:, reference.var_names.isin(adata.var_names)]
            seen = _look(state.passes("map_query()", without, None, batch_size, missing_genes="zero"))
        found = _look(passes)
        covered, labels_N, confidence_N, accuracy = coverage(seen, found), None, None, None
        if labels is not None:
            named, seed = ~pd.isna(labels).to_numpy(), state.seed_for("latent", seed)
            votes = _labels_of(seen, labels, named, seed)
            accuracy = tuple(
                float(part.held_out_right.mean())
                for part in (_labels_of(whole, labels, named, seed) if any(missing) else votes, votes)
            )
            votes_NC = votes.probabilities(found.mean_NK)
            labels_N = np.asarray(votes.classes, dtype=object)[votes_NC.argmax(1)]
            confidence_N = votes.confidence(votes_NC) * (1 - covered.outside_N)
        genes = (sum(missing), self.schema.n_genes)
        return QueryMapping(
            adata.obs_names, found.mean_NK, found.sd_NK, covered, labels_N, confidence_N, *genes, accuracy
        )

    def _of_query(
        self, adata: AnnData, given: Any, training: Mapping[str, Any] | None, missing_genes: str
    ) -> ModelState:
        """Return the state that encodes the query: this model's own, where it knows all levels."""
        if given is not None:
            weights = given.module.state_dict() if isinstance(given, type(self)) else {}
            own = self.module.state_dict().items()
            if not all(name in weights and torch.equal(value, weights[name].to(value.device)) for name, value in own):
                raise SettingError(
                    "query_model is no query of this reference; make it by load_query_data(adata, model)."
                )
            state: ModelState = given.state
            return state
        added = self.schema.extended_by(adata).added
        if not added:
            return self.state
        model = self.load_query_data(adata, self, missing_genes=missing_genes)
        if self.config.architecture.encode_covariates:
            model.train(**{"progress_bar": False, **(training or {})})  # type: ignore[attr-defined]
        else:
            log.warning(
                "New levels of %s do not enter the encoder (encode_covariates=False): nothing can be trained that "
                "would move the latent, which is used as it is.",
                ", ".join(added),
            )
        state = model.state
        return state


def _labels_of(cells: MappedCells, labels: pd.Series, named: Any, seed: int) -> NeighbourLabels:
    """Let the labelled cells vote."""
    texts = labels[named].astype(str).to_numpy()
    return NeighbourLabels.fit(cells.mean_NK[named], texts, cells.groups_N[named], seed=seed)


def _look(passes: CellPasses) -> MappedCells:
    """Return posteriors of the cells, how well the model explains them at their means, and their batches."""
    mean_NK, sd_NK = passes.encode(lambda q, start: (q.mean_BK, q.sd_BK))
    likelihood, codes_ND = passes.module.likelihood, passes.store.codes_ND

    def misfit(heads: dict[str, Tensor], batch: Batch, start: int) -> Tensor:
        there = likelihood.distribution(batch, heads)
        square_BG, variance_BG = (batch.x_BG - there.mean).square(), there.variance
        # heavy tails and certainties have no variance to measure by
        usable = torch.isfinite(variance_BG) & (variance_BG > 0)
        return torch.where(usable, square_BG / torch.where(usable, variance_BG, 1.0), 0.0).mean(1)

    (misfit_N,) = passes.at(mean_NK, misfit)
    groups_N = codes_ND[:, 0] if codes_ND.shape[1] else np.zeros(len(mean_NK), np.int64)
    return MappedCells(mean_NK.astype(np.float64), sd_NK.astype(np.float64), misfit_N.astype(np.float64), groups_N)
