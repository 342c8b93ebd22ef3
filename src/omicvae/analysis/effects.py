"""What differs between two groups of cells, gene by gene, and what may be claimed of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omicvae.analysis.replicates import ReplicateTest
from omicvae.metrics.labels import FloatArray

_SHOWN = 5
_EQUAL = (
    "What the cells' states make expect is subtracted, noise where they differ by chance (column through_states); what "
    "the group does to z, or z mistakes for it, is not in these effects, and states='as_found' tests the sum"
)
_AS_FOUND = (
    "This is a test of pseudobulk, in which the model takes no part; states='equal' subtracts what states make expect"
)
_NO_REPLICATES = (
    "No replicate was named: cells of one donor are no independent samples of a population, so there are no p-values, "
    "no FDR and no claim about other donors (pseudo-replication; Squair et al. 2021). The intervals hold for these "
    "cells under this fit: they are of draws of z alone. Name donors, patients or samples as replicate_key."
)


@dataclass(frozen=True, slots=True)
class Compared:
    """Which cells are compared.

    Attributes
    ----------
    groupby, group, reference
        Column, and its two levels.
    n_cells
        Of both together.
    replicate_key
        Column of the replicates, if any.
    """

    groupby: str
    group: object
    reference: object
    n_cells: int
    replicate_key: str | None = None


@dataclass(frozen=True, slots=True)
class Effects:
    """Effects of a group against a reference; made by ``CVAE.effects``.

    Attributes
    ----------
    genes
        Names, G.
    compared
        Groups and cells.
    unit
        Of effects and limits: ``"natural log fold change"``, ``"data units"`` or ``"difference of logits"``.
    mean_G
        Mean value of a cell in data units; with replicates that of their means.
    effect_G, lower_G, upper_G
        With replicates: difference between them and its 95 % confidence limits, NaN for genes with too little to test.
        Without: what the model says, with 95 % posterior limits.
    model_effect_G
        decode(z, group) − decode(z, reference), averaged over cells and posterior draws, where the column is a
        covariate of the model and replicates are named; else None.
    observed_effect_G
        Without replicates: observed difference of all cells of the groups; None for two values of a number.
    equal_states
        Whether groups are compared at equal latent states.
    test
        The test across replicates; None without.
    fdr
        At which hits are counted.
    """

    genes: tuple[str, ...]
    compared: Compared
    unit: str
    mean_G: FloatArray
    effect_G: FloatArray
    lower_G: FloatArray
    upper_G: FloatArray
    equal_states: bool
    fdr: float
    model_effect_G: FloatArray | None = None
    observed_effect_G: FloatArray | None = None
    test: ReplicateTest | None = None

    @property
    def n_hits(self) -> int | None:
        """Genes with q ≤ ``fdr``; None without replicates."""
        return None if self.test is None else self.test.hits(self.fdr)

    @property
    def null_hits(self) -> NDArray[np.int64] | None:
        """Genes found in each run with permuted labels of the replicates; None without replicates."""
        return None if self.test is None else self.test.null_hits_R

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each gene: smallest p first, or largest effect first without replicates."""
        columns: dict[str, object] = {
            "effect": self.effect_G,
            "lower": self.lower_G,
            "upper": self.upper_G,
            "mean": self.mean_G,
        }
        if self.model_effect_G is not None:
            columns["model_effect"] = self.model_effect_G
        if self.observed_effect_G is not None:
            columns["observed_effect"] = self.observed_effect_G
        test = self.test
        if test is not None:
            columns |= {"p": test.p_G, "q": test.q_G, "through_states": test.through_states_G}
            columns |= {"n_group": test.n_replicates[0], "n_reference": test.n_replicates[1]}
        frame = pd.DataFrame(columns, index=pd.Index(self.genes, name="gene")).assign(unit=self.unit)
        if test is not None:
            return frame.sort_values("p", kind="stable")
        return frame.sort_values("effect", key=lambda effect: -effect.abs(), kind="stable")

    def __str__(self) -> str:
        """Return what was compared, the hits beside those of permuted labels, the largest effects and the limits."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        c, test = self.compared, self.test
        yield (
            f"Effects of {c.groupby} = {c.group!r} against {c.reference!r}, {self.unit}, at "
            f"{'equal latent states' if self.equal_states else 'the states as they are found'}; "
            f"{c.n_cells} cells."
        )
        if test is None:
            yield _NO_REPLICATES
        else:
            yield from self._tested(test)
        top = self.to_frame().head(_SHOWN)
        rows = zip(top.index, top["effect"], top["lower"], top["upper"], strict=True)
        yield "first genes: " + "; ".join(f"{g} {e:+.2f} ({low:.2f} to {high:.2f})" for g, e, low, high in rows)

    def _tested(self, test: ReplicateTest) -> Iterator[str]:
        n_group, n_reference = test.n_replicates
        key, null_R = self.compared.replicate_key, test.null_hits_R
        yield (
            f"{n_group} replicates ({key}), each in both groups."
            if test.paired
            else f"{n_group} against {n_reference} replicates ({key})."
        )
        if test.left_out:
            yield f"Left out: {test.left_out} replicates with cells in one group only."
        hits, tested = test.hits(self.fdr), int(np.isfinite(test.p_G).sum())
        yield f"hits {hits} of {tested} genes at FDR {self.fdr:g}; {_null_run(null_R)}."
        if len(null_R) and np.median(null_R) > max(1.0, self.fdr * hits):
            yield "Permuted labels find too many genes for the FDR to hold here: do not rely on the hits."
        way = _EQUAL if test.equal_states else _AS_FOUND
        beyond = f"The groups' states differ more than under {test.states_beyond} of {len(null_R)} permuted labels. "
        yield f"{beyond if len(null_R) else ''}{way}. {test.both} of the hits hold in both ways."


def _null_run(null_R: NDArray[np.int64]) -> str:
    if not len(null_R):
        return "no labels were permuted, so there is nothing to hold them against"
    runs = "1 run" if len(null_R) == 1 else f"{len(null_R)} runs"
    return f"under permuted labels median {np.median(null_R):g} (max {null_R.max()}, {runs})"
