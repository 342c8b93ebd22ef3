"""What the cells of a replicate in a group say of each gene together: an estimate and its sampling variance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from omicvae.metrics.labels import FloatArray

#: what an effect on the scale of :meth:`UnitSums.scaled` is, by support
EFFECT_UNITS = {"counts": "natural log fold change", "real": "data units", "binary": "difference of logits"}
#: values that are not zero which a gene needs over all units, and zeros where values are 0/1
_LEAST_VALUES = 10
#: share of the genes at either end that say nothing of a unit's size, and the mean count of those that do
_TRIMMED, _LEAST_COUNT, _LEAST_GENES = 0.3, 1.0, 20
#: standard errors from the commonest effect that make a gene one that differs, and rounds to find it
_FAR, _ROUNDS = 3.0, 20


@dataclass(frozen=True, slots=True)
class UnitSums:
    """Sums over the cells of U units.

    Attributes
    ----------
    support
        ``"counts"``, ``"real"`` or ``"binary"``.
    sums_UG, squares_UG
        Of the values and of their squares.
    cells_U
        Number of cells, at least 1.
    exposure_U
        Counts: sum of libraries ℓ or size factors s; else the number of cells.
    """

    support: str
    sums_UG: FloatArray
    squares_UG: FloatArray
    cells_U: FloatArray
    exposure_U: FloatArray

    @property
    def mean_G(self) -> FloatArray:
        """Mean value of a cell, units alike."""
        mean_G: FloatArray = (self.sums_UG / self.cells_U[:, None]).mean(0)
        return mean_G

    @property
    def _within_G(self) -> FloatArray:
        """Variance between cells of a unit, pooled."""
        squares_G = (self.squares_UG - self.sums_UG**2 / self.cells_U[:, None]).sum(0)
        return np.maximum(squares_G, 0) / max(1.0, self.cells_U.sum() - len(self.cells_U))

    @property
    def testable_G(self) -> NDArray[np.bool_]:
        """Genes with enough values that are not zero, and with some variance where values are real."""
        if self.support == "real":
            return self._within_G > 1e-12 * np.maximum(1, self.mean_G**2)
        total_G = self.sums_UG.sum(0)
        enough_G = total_G >= _LEAST_VALUES
        return enough_G & (self.cells_U.sum() - total_G >= _LEAST_VALUES) if self.support == "binary" else enough_G

    def scaled(self, sums_UG: FloatArray | None = None) -> FloatArray:
        """Estimates (U, G): log of the rate, the mean, or the logit of the share; of other sums where given."""
        sums_UG, exposure_U1 = self.sums_UG if sums_UG is None else sums_UG, self.exposure_U[:, None]
        if self.support == "real":
            return sums_UG / exposure_U1
        if self.support == "binary":
            return np.asarray(logit((sums_UG + 0.5) / (exposure_U1 + 1)))
        added_U1 = 0.5 * exposure_U1 / exposure_U1.mean()  # in proportion, so that units without counts are alike
        return np.log((sums_UG + added_U1) / exposure_U1)

    @property
    def variance_UG(self) -> FloatArray:
        """Sampling variance of :meth:`scaled` where no gene differs between units; so weights favour no side."""
        share_G = self.sums_UG.sum(0) / self.exposure_U.sum()
        if self.support == "real":
            return self._within_G / self.cells_U[:, None]
        if self.support == "binary":
            share_G = share_G * (1 - share_G)
        return 1 / (self.exposure_U[:, None] * share_G + 0.5)


def enough_counts(mean_count_UG: FloatArray) -> NDArray[np.bool_]:
    """Genes that say something of a unit's size, (G,); none where they are too few."""
    enough_G = mean_count_UG.min(0) > _LEAST_COUNT
    return enough_G & (enough_G.sum() >= _LEAST_GENES)


def common_shift(estimate_UG: FloatArray, mean_count_UG: FloatArray) -> FloatArray:
    """Return how far all log rates of a unit lie from the others', (U,): the trimmed mean over genes.

    A few strong genes change the shares of all others (Robinson & Oshlack 2010, Genome Biol. 11:R25); most genes are
    taken not to differ. Zeros where too few genes have counts.
    """
    enough_G = enough_counts(mean_count_UG)
    if not enough_G.any():
        return np.zeros(len(estimate_UG))
    centred_UG = (estimate_UG - estimate_UG.mean(0))[:, enough_G]
    weight_UG = 1 / (1 / mean_count_UG[:, enough_G] + 0.05)
    low_U1, high_U1 = np.quantile(centred_UG, [_TRIMMED, 1 - _TRIMMED], axis=1, keepdims=True)
    weight_UG = weight_UG * ((centred_UG >= low_U1) & (centred_UG <= high_U1))
    shift_U: FloatArray = (weight_UG * centred_UG).sum(1) / weight_UG.sum(1)
    return shift_U - shift_U.mean()


def commonest(effect_G: FloatArray, error_G: FloatArray, counted_G: NDArray[np.bool_]) -> float:
    """Return where the effects of most genes lie: their precision-weighted mean without those far from it.

    What :func:`common_shift` leaves where many genes differ in one direction, for trimming does not know them.
    """
    if not counted_G.any():
        return 0.0
    effect_G, error_G = effect_G[counted_G], error_G[counted_G]
    centre = float(np.median(effect_G))
    for _ in range(_ROUNDS):
        weight_G = (np.abs(effect_G - centre) <= _FAR * error_G) / error_G**2
        if not weight_G.any():
            break
        centre = float((weight_G * effect_G).sum() / weight_G.sum())
    return centre
