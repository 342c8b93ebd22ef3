"""Two groups compared across replicates: the test, and the same test with replicates assigned to groups at random."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from omicvae._core import DataError
from omicvae.analysis.moderated import ModeratedT, moderated_t
from omicvae.analysis.pseudobulk import UnitSums, common_shift, commonest, enough_counts
from omicvae.analysis.relabelling import relabelled
from omicvae.metrics.labels import FloatArray


@dataclass(frozen=True, slots=True)
class ReplicateTest:
    """Effects across replicates; NaN for genes with too little to test.

    Attributes
    ----------
    effect_G, lower_G, upper_G
        Group less reference with its 95 % confidence limits.
    p_G, q_G
        Moderated t-test, and its Benjamini-Hochberg adjustment over the tested genes.
    through_states_G
        Part of the difference as found that goes with different latent states of the cells: the difference as found is
        the one at equal states plus this.
    null_hits_R
        Genes at the same FDR in each run with permuted labels.
    states_beyond
        In how many of these runs the groups' states differ less than under the true labels.
    equal_states
        Whether the test is at equal states, or of the states as they are found.
    both
        Hits that are hits in the other of these two ways too.
    n_replicates
        In the group and in the reference; the number of pairs twice where ``paired``.
    left_out
        Replicates of one group only where others are in both.
    """

    effect_G: FloatArray
    lower_G: FloatArray
    upper_G: FloatArray
    p_G: FloatArray
    q_G: FloatArray
    through_states_G: FloatArray
    null_hits_R: NDArray[np.int64]
    states_beyond: int
    equal_states: bool
    both: int
    n_replicates: tuple[int, int]
    paired: bool
    left_out: int

    def hits(self, fdr: float) -> int:
        """Return the number of genes with q ≤ ``fdr``."""
        return int((self.q_G <= fdr).sum())


@dataclass(frozen=True, slots=True)
class _Design:
    """What becomes of the values of units: differences within pairs, or the units as they are."""

    combine_VU: FloatArray
    column_V: FloatArray
    paired: bool

    def matrix(self, column_V: FloatArray) -> FloatArray:
        return column_V[:, None] if self.paired else np.stack([np.ones(len(column_V)), column_V], axis=1)

    def contrast(self, values_VG: FloatArray, column_V: FloatArray) -> FloatArray:
        return np.asarray(np.linalg.lstsq(self.matrix(column_V), values_VG, rcond=None)[0][-1], np.float64)


def compare_replicates(
    units: UnitSums,
    group_U: NDArray[np.bool_],
    replicate_U: NDArray[np.int64],
    expected_UG: FloatArray,
    *,
    equal_states: bool,
    shifted: bool,
    fdr: float,
    n_permutations: int,
    rng: np.random.Generator,
) -> ReplicateTest:
    """Test each gene's difference between two groups of units; replicates in both groups are paired.

    Parameters
    ----------
    units
        Sums over the cells of each replicate in each group.
    group_U, replicate_U
        Whether a unit is of the group rather than the reference, and whose it is.
    expected_UG
        What the states of a unit's cells make expect, on the scale of ``units.scaled()``.
    equal_states
        Subtract it, so that groups are compared as if their cells were in the same states.
    shifted
        Whether units may differ by a factor common to all genes, which is taken out.

    Raises
    ------
    DataError
        On fewer than two replicates a group, or no gene to test.
    """
    design, n_replicates, left_out = _design_of(group_U, replicate_U)
    tested_G = units.testable_G
    if not tested_G.any():
        raise DataError("No gene has enough values to test: at least 10 counts over all replicates, and some variance.")
    variance_UG, estimate_UG = units.variance_UG[:, tested_G], units.scaled()[:, tested_G]
    level_G, counted_G = estimate_UG.mean(0), enough_counts(1 / variance_UG)

    def level(values_UG: FloatArray) -> FloatArray:
        return values_UG - common_shift(values_UG, 1 / variance_UG)[:, None] if shifted else values_UG

    found_UG, equal_UG = level(estimate_UG), level(estimate_UG - expected_UG[:, tested_G])
    variance_VG = np.abs(design.combine_VU) @ variance_UG
    states_VG, others = design.combine_VU @ (found_UG - equal_UG), relabelled(design.column_V, n_permutations, rng)
    size, *sizes = [(design.contrast(states_VG, column_V) ** 2).sum() for column_V in (design.column_V, *others)]
    beyond = sum(bool(other < size) for other in sizes)

    def test(column_V: FloatArray, equal: bool = equal_states) -> tuple[ModeratedT, FloatArray]:
        values_VG = design.combine_VU @ (equal_UG if equal else found_UG)
        result = moderated_t(values_VG, variance_VG, design.matrix(column_V), level_G)
        if shifted:
            result = replace(result, effect_G=result.effect_G - commonest(result.effect_G, result.error_G, counted_G))
        return result, false_discovery_control(result.p_G)

    result, q_G = test(design.column_V)
    other, other_q_G = test(design.column_V, not equal_states)
    through_G = (other.effect_G - result.effect_G) * (1 if equal_states else -1)

    def all_genes(values_T: FloatArray) -> FloatArray:
        values_G = np.full(len(tested_G), np.nan)
        values_G[tested_G] = values_T
        return values_G

    lower_T, upper_T = result.interval()
    return ReplicateTest(
        effect_G=all_genes(result.effect_G),
        lower_G=all_genes(lower_T),
        upper_G=all_genes(upper_T),
        p_G=all_genes(result.p_G),
        q_G=all_genes(q_G),
        through_states_G=all_genes(through_G),
        null_hits_R=np.array([(test(column_V)[1] <= fdr).sum() for column_V in others], np.int64),
        states_beyond=beyond,
        equal_states=equal_states,
        both=int(((q_G <= fdr) & (other_q_G <= fdr)).sum()),
        n_replicates=n_replicates,
        paired=design.paired,
        left_out=left_out,
    )


def _design_of(group_U: NDArray[np.bool_], replicate_U: NDArray[np.int64]) -> tuple[_Design, tuple[int, int], int]:
    """Pairs where there are replicates in both groups, else all units; the replicates of each group, those left out."""
    both = np.intersect1d(replicate_U[group_U], replicate_U[~group_U])
    n_all = len(np.unique(replicate_U))
    if len(both):
        combine_VU = (replicate_U == both[:, None]) * np.where(group_U, 1.0, -1.0)
        n_replicates = len(both), len(both)
    else:
        combine_VU = np.eye(len(group_U))
        n_replicates = int(group_U.sum()), int((~group_U).sum())
    if min(n_replicates) < 2:
        pairs = f"{len(both)} of them with cells in both groups" if len(both) else f"{n_replicates} in the groups"
        raise DataError(
            f"{n_all} replicates, {pairs}: at least two in each group, or two in both, are needed to know how much "
            "replicates differ. If a single one is in both groups, leave it out by within=. Without replicate_key "
            "effects come with no claim about other replicates."
        )
    column_V = np.ones(len(both)) if len(both) else group_U.astype(np.float64)
    return _Design(combine_VU, column_V, bool(len(both))), n_replicates, n_all - len(both) if len(both) else 0
