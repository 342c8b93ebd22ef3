"""Labels of cells by their nearest neighbours among labelled ones, with a confidence that is calibrated on these."""

from dataclasses import dataclass, replace

import numpy as np

from omicvae.metrics.labels import Array, FloatArray, IntArray
from omicvae.metrics.neighbours import N_NEIGHBOURS, nearest_of

#: votes are divided by this power of a label's share in the reference: a rare type has fewer cells near any place
RARITY = 0.25
#: reference cells by which the confidence is calibrated, at most
MAX_HELD_OUT = 5000
#: width of the bins of the expected calibration error
N_BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourLabels:
    """A vote of the nearest labelled cells, whose confidence is calibrated on cells that were held out.

    p(c | z) ∝ Σ_m [y_m = c] exp(−|z − z_m|² / 2 h²) / s_c^¼ over the 15 nearest reference cells m (Euclidean in
    posterior means), with the distance h to the fifth of them and the share s_c of a label. The confidence is the share
    of right labels among held-out reference cells with such a largest p, by isotonic regression (Zadrozny & Elkan
    2002). Cells are held out batch by batch, or, where the reference has one batch, cell by cell. It holds
    for types that the reference has: a cell of another type gets too much.

    Attributes
    ----------
    classes
        Names of the labels, C.
    z_MK, codes_M, groups_M
        Reference cells with a label, its code, and their batch.
    curve
        Largest p of held-out cells, and the confidence there.
    held_out
        Rows of the held-out cells.
    held_out_votes
        p(c | z) of these, (H, C).
    """

    classes: tuple[str, ...]
    z_MK: FloatArray
    codes_M: IntArray
    groups_M: IntArray
    curve: tuple[FloatArray, FloatArray]
    held_out: IntArray
    held_out_votes: FloatArray

    @classmethod
    def fit(cls, z_MK: Array, labels_M: Array, groups_M: Array, *, seed: int = 0) -> "NeighbourLabels":
        """Take latents, labels (texts) and batches of the labelled reference cells; hold some out and calibrate."""
        from sklearn.isotonic import IsotonicRegression

        z_MK = np.asarray(z_MK, np.float64)
        classes, codes_M = np.unique(labels_M, return_inverse=True)
        _, groups_M = np.unique(groups_M, return_inverse=True)
        held_out = np.sort(np.random.default_rng(seed).permutation(len(z_MK))[:MAX_HELD_OUT])
        nothing = np.empty((0, len(classes)))
        raw = cls(tuple(map(str, classes)), z_MK, codes_M, groups_M, (nothing, nothing), held_out, nothing)
        votes_HC = raw._votes_of_others()
        right_H = votes_HC.argmax(1) == codes_M[held_out]
        curve = IsotonicRegression(y_min=0.0, y_max=1.0).fit(votes_HC.max(1), right_H)
        return replace(raw, curve=(curve.X_thresholds_, curve.y_thresholds_), held_out_votes=votes_HC)

    def probabilities(self, z_NK: Array) -> FloatArray:
        """p(c | z) of cells, (N, C)."""
        return _votes(self.z_MK, self.codes_M, np.asarray(z_NK, np.float64), len(self.classes))

    def confidence(self, votes_NC: FloatArray) -> FloatArray:
        """Probability that the label of the largest p is right, (N,)."""
        return np.asarray(np.interp(votes_NC.max(1), *self.curve))

    @property
    def held_out_right(self) -> Array:
        """Whether a held-out cell got its label, (H,)."""
        return np.asarray(self.held_out_votes.argmax(1) == self.codes_M[self.held_out])

    def _votes_of_others(self) -> FloatArray:
        """Votes on the held-out cells by those of other batches, or, within one batch, by all but the cell itself."""
        n, votes_HC = len(self.classes), np.empty((len(self.held_out), len(self.classes)))
        if self.groups_M.max() == 0:
            alone = len(self.z_MK) == 1
            return _votes(self.z_MK, self.codes_M, self.z_MK[self.held_out], n, first=0 if alone else 1)
        for group in np.unique(self.groups_M[self.held_out]):
            others, own = self.groups_M != group, self.groups_M[self.held_out] == group
            votes_HC[own] = _votes(self.z_MK[others], self.codes_M[others], self.z_MK[self.held_out[own]], n)
        return votes_HC


def _votes(z_MK: FloatArray, codes_M: IntArray, z_NK: FloatArray, n: int, *, first: int = 0) -> FloatArray:
    """Shares of the votes by label, (N, C); ``first`` 1 leaves the nearest cell out, which is the cell itself."""
    index_Nk, distance_Nk = (found[:, first:] for found in nearest_of(z_MK, z_NK, N_NEIGHBOURS + first))
    width_N1 = distance_Nk[:, [max(0, distance_Nk.shape[1] // 3 - 1)]]
    weight_Nk = np.exp(-0.5 * (distance_Nk / np.maximum(width_N1, 1e-12)) ** 2)
    votes_NC = np.zeros((len(z_NK), n))
    np.add.at(votes_NC, (np.arange(len(z_NK))[:, None], codes_M[index_Nk]), weight_Nk)
    votes_NC /= np.maximum(np.bincount(codes_M, minlength=n), 1) ** RARITY
    return np.asarray(votes_NC / votes_NC.sum(1, keepdims=True))


def calibration_error(confidence_N: Array, right_N: Array) -> float:
    """Return Σ_b n_b / N · |mean confidence − share that is right| over ten equal bins b (Guo et al. 2017).

    The expected calibration error.

    Range: 0 (calibrated) to 1.
    """
    confidence_N, right_N = np.asarray(confidence_N, np.float64), np.asarray(right_N, np.float64)
    bin_N = np.minimum((confidence_N * N_BINS).astype(int), N_BINS - 1)
    gaps_B = np.bincount(bin_N, confidence_N - right_N, minlength=N_BINS)
    return float(np.abs(gaps_B).sum() / len(confidence_N))
