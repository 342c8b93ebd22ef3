"""``counterfactual``: cells as they would be under other covariates, beside what simple baselines say."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from omicvae._core import DataError, NotSupportedError, SettingError, integral, keys, plain, real
from omicvae.analysis import CounterfactualJudgement, ObservedGroups, PredictedGroup
from omicvae.analysis.counterfactual import mean_of
from omicvae.data import CellStore, Transform, obs_column
from omicvae.data.minified import require_data
from omicvae.likelihoods import Likelihood
from omicvae.metrics import probe
from omicvae.model.provenance import record
from omicvae.model.state import HasState
from omicvae.training import CellPasses, Contrast, contrast

logger = logging.getLogger("omicvae")

#: the group of all cells where no column names groups
ALL_CELLS = "all cells"
#: cells in each state that a group needs for z to be probed
PROBED = 20


class CounterfactualMixin(HasState):
    """``counterfactual``."""

    def counterfactual(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        to: Mapping[str, Any] | None = None,
        *,
        groupby: str | None = None,
        n_samples: int = 25,
        interval: float = 0.95,
        batch_size: int | None = None,
        unseen: str | Mapping[str, str] = "error",
        missing_genes: str = "error",
        seed: int | None = None,
    ) -> AnnData:
        """Cells as they would be in another state c′: decode(z, c′) and decode(z, c) at the same draws z ~ q(z | x, c).

        The change is decode(z, c′) − decode(z, c), never decode(z, c′) − x, which would count what the model misses of
        x as an effect. For counts everything is in u(x) = log1p(10⁴ x / Σx), the unit of scanpy's log-normalised data,
        or log1p(x / s) with size factors; else in data units.

        Parameters
        ----------
        adata, indices
            Cells, as in ``get_latent_representation``. Those of ``adata`` that are not chosen serve the baselines too.
        to
            ``{covariate: level or number}``: c′ is each cell's own c with these changed.
        groupby
            Column of ``obs`` (cell type, patient) whose groups are averaged and judged; None: all cells are one group.
        n_samples
            Draws of z of each cell, with a sample x̂ at c and at c′ each; at least 2.
        interval
            Level of the intervals.
        unseen, missing_genes
            As in ``get_latent_representation``.
        seed
            Of the draws; None for the model's.

        Returns
        -------
        The chosen cells × genes. ``X``: the change, mean over draws. Layers: ``own`` and ``target``, u(decode(z, c))
        and u(decode(z, c′)), means over draws; ``lower`` and ``upper``, normal interval of the change over draws of z;
        ``mean`` and ``variance`` of u(x̂), x̂ ~ p(x | z, c′): how cells scatter, counting noise too. Seven dense float32
        arrays: choose cells by ``indices`` where memory is short.

        ``uns["omicvae"]["counterfactual"]``: ``summary``, a text that says whether the model beats no change and the
        mean shift of the other groups, and where that cannot be judged; its tables ``groups`` and ``genes``, of the
        cells that are not in the target state yet: predicted means (observed mean plus change), Benjamini–Hochberg q;
        ``told_by_z``, how well z tells the state. See :mod:`omicvae.analysis.counterfactual`.

        Raises
        ------
        SettingError, DataError
            On covariates or levels that the model does not know, or where all chosen cells are in that state already.
        NotSupportedError
            If covariates do not enter the decoder: c′ would change nothing.
        """
        n_samples = integral("n_samples", n_samples, minimum=2)
        z = _quantile(interval)
        target = self._target(to)
        require_data(self.state.adata if adata is None else adata, "counterfactual()")
        matching: dict[str, Any] = {"unseen": unseen, "missing_genes": missing_genes}
        passes = self.state.passes("counterfactual()", adata, indices, batch_size, **matching)
        own, rows = self.state.adata if adata is None else adata, passes.rows
        assert own is not None  # passes() found them
        groups = _Groups.of(passes.store, rows, target, _labels(own, groupby))
        noise = self.state.seed_for("latent", seed)
        found = contrast(passes, target, groups.chosen_M, len(groups.names), seed=noise, n_samples=n_samples)
        unit_NG = passes.store.log_normalised(self.module.likelihood.support)
        judgement = CounterfactualJudgement(
            to=", ".join(f"{key}={plain(value)!r}" for key, value in (to or {}).items()),
            unit=_unit(self.module.likelihood),
            predicted=groups.predicted(found, unit_NG[rows]),
            observed=groups.observed(unit_NG),
            trained=self._trained(target, groupby),
            leak=_leak(passes, groups, noise),
        )
        summary = str(judgement)
        logger.info("%s", summary)
        cells = found.cells
        half_NG = z * cells.pop("sd")
        change_NG = cells.pop("change")
        result = AnnData(
            change_NG,
            obs=own.obs.iloc[rows].copy(),
            var=pd.DataFrame(index=list(self.schema.gene_names)),
            layers={**cells, "lower": change_NG - half_NG, "upper": change_NG + half_NG},
        )
        settings = {"to": to, "groupby": groupby, "n_samples": n_samples, "interval": interval, "seed": seed}
        said = {"settings": record(self.state, **settings), "summary": summary, "told_by_z": judgement.leak}
        tables = {"groups": judgement.to_frame(), "genes": judgement.genes_to_frame(self.schema.gene_names, z)}
        result.uns[keys.UNS] = {keys.COUNTERFACTUAL: {**said, **tables}}
        return result

    def _target(self, to: Mapping[str, Any] | None) -> Transform:
        """Read ``to``; refuse where it can change nothing."""
        target = Transform.of(self.schema, to, "to")
        if not target.codes and not target.values:
            known = [*self.schema.keys.categorical_keys, *self.schema.keys.continuous_covariate_keys]
            raise SettingError(
                f"counterfactual() needs the state to go to, to={{covariate: level}}. The model's covariates: "
                f"{', '.join(map(repr, known)) or 'none; pass them to setup_anndata() and train again'}."
            )
        if not self.config.architecture.decode_covariates:
            raise NotSupportedError(
                "counterfactual() needs covariates in the decoder, and this model has decode_covariates=False: "
                "decode(z, c′) is decode(z, c). Train CVAE(adata, decode_covariates=True)."
            )
        return target

    def _trained(self, target: Transform, groupby: str | None) -> frozenset[str] | None:
        """Return the groups with cells of the training in the target state; None where they are not known."""
        own, store, others = self.state.adata, self.state.store, self.state.split is None or self.schema.extended
        if own is None or store is None or others or (groupby is not None and groupby not in own.obs):
            return None
        there_N = _in_state(store, target)
        return frozenset(name for name in _labels(own, groupby)[there_N] if name is not None)


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Groups of chosen cells, and of all cells of the data by state.

    Attributes
    ----------
    names
        Groups with chosen cells that are not in the target state.
    chosen_M
        Group of each chosen cell, −1 for one without a group or in the target state already.
    labels_N, own_N, target_N
        Label of each cell of the data; whether it is in a state that chosen cells start from, and in the target state.
    """

    names: list[str]
    chosen_M: NDArray[np.int64]
    labels_N: NDArray[np.object_]
    own_N: NDArray[np.bool_]
    target_N: NDArray[np.bool_]

    @classmethod
    def of(
        cls, store: CellStore, rows: NDArray[np.int64], target: Transform, labels_N: NDArray[np.object_]
    ) -> "_Groups":
        """Find out which chosen cells are to be moved, and which cells of the data are in the same states."""
        target_N = _in_state(store, target)
        known_N = np.array([label is not None for label in labels_N])
        moving = rows[known_N[rows] & ~target_N[rows]]
        if not len(moving):
            raise DataError(
                f"All {len(rows)} chosen cells are in that state already, or have no group. Choose others by indices, "
                "or another state."
            )
        columns = list(target.codes)
        starts = {tuple(codes) for codes in store.codes_ND[moving][:, columns]}
        own_N = ~target_N & np.array([tuple(codes) in starts for codes in store.codes_ND[:, columns]])
        names = sorted(set(labels_N[moving]))
        code = {name: number for number, name in enumerate(names)}
        chosen_M = [-1 if target_N[row] else code.get(labels_N[row], -1) for row in rows]
        return cls(names, np.array(chosen_M), labels_N, own_N, target_N)

    def predicted(self, found: Contrast, unit_MG: Any) -> dict[str, PredictedGroup]:
        """Return what was found for each group; ``unit_MG`` are the chosen cells as observed."""
        members = {name: np.flatnonzero(self.chosen_M == k) for k, name in enumerate(self.names)}
        return {
            name: PredictedGroup(
                n=len(members[name]),
                own_mean_G=mean_of(unit_MG[members[name]]),
                change_G=found.mean_KG[k] - found.own_mean_KG[k],
                own_variance_G=found.own_variance_KG[k],
                variance_G=found.variance_KG[k],
            )
            for k, name in enumerate(self.names)
        }

    def members(self, state_N: NDArray[np.bool_]) -> dict[str, NDArray[np.int64]]:
        """Return rows of the data in a state, by group."""
        rows = np.flatnonzero(state_N)
        names = sorted({label for label in self.labels_N[rows] if label is not None})
        return {name: rows[self.labels_N[rows] == name] for name in names}

    def observed(self, unit_NG: Any) -> ObservedGroups:
        """Return all cells of the data that are in one of the states."""
        states = (self.members(state_N) for state_N in (self.own_N, self.target_N))
        return ObservedGroups(*({name: unit_NG[rows] for name, rows in members.items()} for members in states))


def _labels(adata: AnnData, groupby: str | None) -> NDArray[np.object_]:
    """Group of each cell as text, None where it is missing."""
    if groupby is None:
        return np.full(adata.n_obs, ALL_CELLS, dtype=object)
    column = obs_column(adata, groupby)
    return np.array([None if missing else str(v) for v, missing in zip(column, column.isna(), strict=True)], object)


def _in_state(store: CellStore, target: Transform) -> NDArray[np.bool_]:
    """Return which cells have the covariates of ``target`` already, (N,)."""
    there_N = np.ones(store.n_cells, dtype=bool)
    for d, code in target.codes.items():
        there_N &= store.codes_ND[:, d] == code
    for v, value in target.values.items():
        there_N &= np.isclose(store.standardised_NV[:, v], value, rtol=1e-5, atol=1e-6)
    return there_N


def _leak(passes: CellPasses, groups: _Groups, seed: int) -> float:
    """Balanced accuracy of telling the state from a draw of z, mean over groups by their cells; NaN without any."""
    own, target = groups.members(groups.own_N), groups.members(groups.target_N)
    both = [(own[name], target[name]) for name in own if name in target]
    probed = [np.concatenate(rows) for rows in both if min(map(len, rows)) >= PROBED]
    if not probed:
        return float("nan")
    everyone = CellPasses(passes.module, passes.store, batch_size=passes.batch_size)
    draw = everyone.draws(seed)
    z_NK = everyone.encode(lambda q, start: draw(q, start, 0))[0]
    scores = [probe(z_NK[rows], groups.target_N[rows]).balanced_accuracy for rows in probed]
    return float(np.average(scores, weights=[len(rows) for rows in probed]))


def _quantile(interval: float) -> float:
    """Return the standard normal quantile of a two-sided interval."""
    from scipy.stats import norm

    interval = real("interval", interval)
    if not 0 < interval < 1:
        raise SettingError(f"interval must lie between 0 and 1, got {interval:g}; 0.95 is usual.")
    return float(norm.ppf(0.5 + interval / 2))


def _unit(likelihood: Likelihood) -> str:
    if likelihood.support != "counts":
        return "data units"
    return "log1p(x / size factor)" if likelihood.size_factor else "log1p of counts per 10,000"
