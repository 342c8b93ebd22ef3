"""Differential expression: effects of a covariate or of any grouping of cells, with replicates as the unit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray
from torch import Tensor

from omicvae._core import LatentPosterior, SettingError, choose, integral, real
from omicvae.analysis import EFFECT_UNITS, Compared, Effects, UnitSums, compare_replicates
from omicvae.data import Transform
from omicvae.model.compared_cells import compared_cells
from omicvae.model.state import HasState
from omicvae.training import OWN, CellPasses
from omicvae.training.evaluation import Draws

#: cells whose observed values are summed at once
_CHUNK = 4096
#: standard deviations around a mean that hold 95 % of a normal distribution
_NORMAL_95 = 1.96
_SMALLEST_RATE = 1e-30


class EffectsMixin(HasState):
    """Effects of covariates and groups, gene by gene."""

    def effects(
        self,
        groupby: str,
        replicate_key: str | None = None,
        *,
        groups: Sequence[Any] | None = None,
        within: Mapping[str, Any] | None = None,
        states: str | None = None,
        adata: AnnData | None = None,
        n_samples: int = 25,
        n_permutations: int = 100,
        fdr: float = 0.05,
        batch_size: int | None = None,
        seed: int | None = None,
    ) -> Effects:
        """Compare two groups of cells gene by gene, across replicates where these are named.

        With ``replicate_key`` the unit is a replicate r, not a cell. Its estimate e_rg is of what was observed: the log
        of Σ x / Σ ℓ over its cells (counts; with a factor common to most genes taken out, unless there are size
        factors), their mean (real values), or the logit of their mean (0/1). At equal states, what the latent states of
        the cells make expect is subtracted, e_rg − f(mean of decode(z_n, c₀)), with c₀ the commonest covariates, the
        same for all cells: this takes away noise between replicates that are mixed of different states. A moderated
        t-test across replicates follows (:func:`omicvae.analysis.moderated_t`), paired where replicates are in both
        groups, and the same with the groups' labels permuted among replicates.

        Without, effects are what the model says: for a covariate of the model the mean over cells of
        decode(z, group) − decode(z, reference), with z ~ q(z | x, c), on the log scale for counts, in data units for
        real values and as logits for 0/1; for another column the difference of the decoded means of the two groups.

        Parameters
        ----------
        groupby
            Covariate of the model, or another column of ``obs``.
        replicate_key
            Column of ``obs`` that names donor, patient or sample.
        groups
            Group and reference, two levels; of a numeric covariate two values. None where the column has two levels,
            of which the first in order is the reference.
        within
            Cells to take part: ``{column: level or list of levels}``, such as a cell type.
        states
            ``"as_found"`` (None too): compare what was observed, as pseudobulk tests do. ``"equal"``: compare at equal
            latent states; only for a model that was fitted without the group's cells, because one that has seen the
            effect takes it for a state, loses it, and finds false ones.
        adata
            Other cells; None for the model's own.
        n_samples
            Posterior draws of each cell for what the model says.
        n_permutations
            Runs with permuted labels, at most; all distinct ones where there are fewer.
        fdr
            False discovery rate at which hits are counted (Benjamini & Hochberg 1995).
        seed
            Of draws and permutations; None for the model's.

        Raises
        ------
        SettingError, DataError
            On unknown columns or levels, a group without cells, or fewer than two replicates a group.

        References
        ----------
        Squair et al. 2021, Nat. Commun. 12:5692 (replicates); Smyth 2004 (moderated t).
        """
        self.state.require_trained("effects()")
        n_samples, fdr = integral("n_samples", n_samples, minimum=2), real("fdr", fdr, minimum=0.0, maximum=1.0)
        n_permutations = integral("n_permutations", n_permutations, minimum=0)
        known = groupby in [*self.schema.keys.categorical_keys, *self.schema.keys.continuous_covariate_keys]
        if states is not None:
            choose("states", states, ("equal", "as_found"))
            if replicate_key is None:
                raise SettingError("states= chooses what is tested across replicates: name a replicate_key.")
        source = self.state.own_adata() if adata is None else adata
        cells = compared_cells(source, self._numeric(groupby), groupby, replicate_key, groups, within)
        passes = self.state.passes("effects()", adata, cells.rows.tolist(), batch_size)
        targets = None
        if known:
            targets = [Transform.of(self.schema, {groupby: level}, "groups") for level in cells.levels]
        says = _Says(passes, self.state.seed_for("latent", seed), n_samples)
        support = self.module.likelihood.support
        common: dict[str, Any] = {
            "genes": self.schema.gene_names,
            "compared": Compared(groupby, *cells.levels, len(cells.rows), replicate_key),
            "unit": EFFECT_UNITS[support],
            "fdr": fdr,
        }
        if replicate_key is None:
            units = _unit_sums(passes, cells.group_N.astype(np.int64), support)
            observed_G = None if self._numeric(groupby) else units.scaled()[1] - units.scaled()[0]
            effect_SG = says.counterfactual(targets) if targets else says.difference(cells.group_N)
            mean_G, half_G = effect_SG.mean(0), _NORMAL_95 * effect_SG.std(0, ddof=1)
            limits = {"effect_G": mean_G, "lower_G": mean_G - half_G, "upper_G": mean_G + half_G}
            return Effects(**common, **limits, mean_G=units.mean_G, observed_effect_G=observed_G, equal_states=known)
        unit_N, group_U, replicate_U = cells.units()
        units = _unit_sums(passes, unit_N, support)
        test = compare_replicates(
            units,
            group_U,
            replicate_U,
            says.expected(units, unit_N, self._one_place(passes)),
            equal_states=states == "equal",
            shifted=support == "counts" and self.schema.keys.size_factor_key is None,
            fdr=fdr,
            n_permutations=n_permutations,
            rng=np.random.default_rng(self.state.seed_for("differences", seed)),
        )
        limits = {"effect_G": test.effect_G, "lower_G": test.lower_G, "upper_G": test.upper_G}
        says_G = says.counterfactual(targets).mean(0) if targets else None
        return Effects(
            **common, **limits, mean_G=units.mean_G, equal_states=test.equal_states, model_effect_G=says_G, test=test
        )

    def _numeric(self, key: str) -> bool:
        return key in self.schema.keys.continuous_covariate_keys

    def _one_place(self, passes: CellPasses) -> Transform:
        """Set all covariates: the commonest level of each among these cells, and the training mean of numbers."""
        codes_ND = passes.store.codes_ND[passes.rows]
        codes = {d: int(np.bincount(codes_ND[:, d]).argmax()) for d in range(codes_ND.shape[1])}
        return Transform(codes, dict.fromkeys(range(len(self.schema.continuous)), 0.0))


class _SumsByUnit:
    """Takes the rows of cells as an array would, and keeps their sums by unit."""

    def __init__(self, unit_N: NDArray[np.int64], n_genes: int) -> None:
        self.sums_UG = np.zeros((int(unit_N.max()) + 1, n_genes))
        self._unit_N = unit_N

    def __setitem__(self, cells: slice, values_BG: Any) -> None:
        members_UB = (np.arange(len(self.sums_UG))[:, None] == self._unit_N[cells]).astype(np.float64)
        self.sums_UG += members_UB @ values_BG.astype(np.float64)


def _unit_sums(passes: CellPasses, unit_N: NDArray[np.int64], support: str) -> UnitSums:
    """Sum what was observed."""
    store, rows = passes.store, passes.rows
    sums, squares = (_SumsByUnit(unit_N, store.n_genes) for _ in range(2))
    for start in range(0, len(rows), _CHUNK):
        cells = slice(start, start + _CHUNK)
        values = store.csr(rows[cells]).astype(np.float64)
        sums[cells], squares[cells] = values, values.power(2)
    cells_U = np.bincount(unit_N).astype(np.float64)
    exposure_U = np.bincount(unit_N, store.library_N[rows]).astype(np.float64) if support == "counts" else cells_U
    return UnitSums(support, sums.sums_UG, squares.sums_UG, cells_U, exposure_U)


@dataclass(frozen=True, slots=True)
class _Says:
    """What the model says of the cells of ``passes``, by units."""

    passes: CellPasses
    seed: int
    n_samples: int

    def _sums(
        self,
        z_NK: NDArray[np.float32],
        unit_N: NDArray[np.int64],
        target: Transform,
        read: Callable[[Tensor, Tensor], Tensor],
    ) -> NDArray[np.float64]:
        """Sum ``read(what is expected of each cell, its library)`` over units."""
        normalized, out = self.passes.module.likelihood.normalized, _SumsByUnit(unit_N, self.passes.store.n_genes)
        self.passes.at(z_NK, lambda heads, batch, _: read(normalized(heads), batch.library_B1), target, out=out)
        return out.sums_UG

    def _scaled(self) -> Callable[[Tensor], Tensor]:
        """Return the scale of effects: log, identity or logit."""
        scales: dict[str, Callable[[Tensor], Tensor]] = {
            "counts": lambda rate: rate.clamp_min(_SMALLEST_RATE).log(),
            "real": lambda mean: mean,
            "binary": lambda p: torch.logit(p, eps=1e-6),
        }
        return scales[self.passes.module.likelihood.support]

    def expected(self, units: UnitSums, unit_N: NDArray[np.int64], target: Transform) -> NDArray[np.float64]:
        """Return what posterior means make expect of each unit's estimates, all at one place of the covariates."""
        z_NK = self.passes.encode(lambda q, start: q.mean_BK)[0]
        weighted = units.support == "counts"
        sums_UG = self._sums(z_NK, unit_N, target, lambda value, library: value * library if weighted else value)
        return units.scaled(sums_UG)

    def _draws(self) -> Iterator[NDArray[np.float32]]:
        draw = self.passes.draws(self.seed)
        for s in range(self.n_samples):
            yield self.passes.encode(partial(_numbered, draw, s))[0]

    def counterfactual(self, targets: Sequence[Transform]) -> NDArray[np.float64]:
        """decode(z, group) − decode(z, reference), averaged over cells, (S, G)."""
        scaled, n = self._scaled(), len(self.passes.rows)
        together = np.zeros(n, np.int64)

        def level(z_NK: NDArray[np.float32], target: Transform) -> NDArray[np.float64]:
            return self._sums(z_NK, together, target, lambda value, _: scaled(value))[0] / n

        return np.stack([level(z_NK, targets[0]) - level(z_NK, targets[1]) for z_NK in self._draws()])

    def difference(self, group_N: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Difference of the decoded means of the two groups, each cell with its own covariates, (S, G)."""
        unit_N, scaled = group_N.astype(np.int64), self._scaled()
        size_U1 = np.bincount(unit_N)[:, None]
        effects = []
        for z_NK in self._draws():
            means = torch.from_numpy(self._sums(z_NK, unit_N, OWN, lambda value, _: value) / size_U1)
            low, high = scaled(means).numpy()
            effects.append(high - low)
        return np.stack(effects)


def _numbered(draw: Draws, number: int, q: LatentPosterior, start: int) -> Tensor:
    return draw(q, start, number)
