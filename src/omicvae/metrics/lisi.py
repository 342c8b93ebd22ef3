"""Local inverse Simpson index: how many batches, or labels, there are around a cell."""

import numpy as np

from omicvae._core.arguments import real
from omicvae._core.errors import DataError
from omicvae.metrics.labels import Array, FloatArray, labelled_cells
from omicvae.metrics.neighbours import nearest

PERPLEXITY = 30.0
# Halving the range of log β this often leaves 40 / 2^50: below float64's own error.
_HALVINGS = 50
# β in units of one over a cell's mean distance: from all neighbours alike to the nearest alone
_LOG_BETA = 20.0
_CELLS_AT_A_TIME = 4096


def lisi(embedding_ND: Array, labels_N: Array, *, perplexity: float = PERPLEXITY) -> FloatArray:
    """Local inverse Simpson index of each cell (Korsunsky et al. 2019).

    LISI_n = 1 / Σ_c (Σ_{m near n} p_nm [label_m = c])², over the 3 × perplexity nearest neighbours (Euclidean, the
    cell itself excluded), with p_nm ∝ exp(−β_n d_nm) and β_n such that the entropy of p_n is log(perplexity).
    ``perplexity`` is the number of neighbours in effect; there must be more labelled cells, and two labels.

    Range: 1 (one label around the cell) to C (all C labels with equal weight); NaN for cells that take no part.
    """
    perplexity = real("perplexity", perplexity, minimum=1.0)
    cells = labelled_cells(labels_N)
    n_cells, n_classes = len(cells.index_M), len(cells.classes)
    if n_classes < 2:
        raise DataError(f"LISI counts labels and needs at least 2 of them, got {n_classes}.")
    if n_cells - 1 < perplexity:
        raise DataError(f"A perplexity of {perplexity:g} needs more labelled cells than that, got {n_cells}; lower it.")
    index_Mk, distance_Mk = nearest(embedding_ND, cells, int(np.ceil(3 * perplexity)))
    lisi_N = np.full(cells.n_all, np.nan)
    for start in range(0, n_cells, _CELLS_AT_A_TIME):
        part = slice(start, start + _CELLS_AT_A_TIME)
        weight_Bk, codes_Bk = _weights(distance_Mk[part], perplexity), cells.codes_M[index_Mk[part]]
        simpson_B = sum(np.where(codes_Bk == code, weight_Bk, 0.0).sum(1) ** 2 for code in range(n_classes))
        lisi_N[cells.index_M[part]] = 1 / simpson_B
    return lisi_N


def ilisi(embedding_ND: Array, batches_N: Array, *, perplexity: float = PERPLEXITY) -> float:
    """Integration LISI in scib's scale (Korsunsky et al. 2019; Luecken et al. 2022).

    (median_n LISI_n − 1) / (B − 1) with LISI of B batches, see :func:`lisi`.

    Range: 0 (neighbours are of one batch) to 1 (all batches alike around a cell), higher is better mixed. Perfect
    mixing gives less than 1: about (1 / s − 1) / (B − 1), s = Σ_b p_b² + (1 − Σ_b p_b²) / perplexity, with shares p_b
    of the batches, because sizes are unequal and neighbours few.
    """
    median = float(np.nanmedian(lisi(embedding_ND, batches_N, perplexity=perplexity)))
    return (median - 1) / (len(labelled_cells(batches_N).classes) - 1)


def clisi(embedding_ND: Array, labels_N: Array, *, perplexity: float = PERPLEXITY) -> float:
    """Label LISI in scib's scale (Korsunsky et al. 2019; Luecken et al. 2022).

    (C − median_n LISI_n) / (C − 1) with LISI of C labels, see :func:`lisi`: one minus what :func:`ilisi` gives.

    Range: 0 (all labels alike around a cell) to 1 (neighbours bear one label), higher is better separated. With many
    labels values lie close to 1.
    """
    return 1 - ilisi(embedding_ND, labels_N, perplexity=perplexity)


def _weights(distance_Bk: FloatArray, perplexity: float) -> FloatArray:
    """Weigh neighbours by p ∝ exp(−β d) with entropy log(perplexity), β by bisection.

    Where even β → ∞ leaves more entropy than that (ties at the smallest distance), the tied share the weight.
    """
    # shifting changes no weight; dividing makes one range of β serve every row
    gap_Bk = distance_Bk - distance_Bk.min(1, keepdims=True)
    scale_B1 = gap_Bk.mean(1, keepdims=True)
    gap_Bk = np.divide(gap_Bk, scale_B1, out=np.zeros_like(gap_Bk), where=scale_B1 > 0)
    low_B1, high_B1 = np.full_like(scale_B1, -_LOG_BETA), np.full_like(scale_B1, _LOG_BETA)
    for _ in range(_HALVINGS):
        middle_B1 = (low_B1 + high_B1) / 2
        beta_B1 = np.exp(middle_B1)
        weight_Bk = np.exp(-beta_B1 * gap_Bk)
        total_B1 = weight_Bk.sum(1, keepdims=True)
        entropy_B1 = np.log(total_B1) + beta_B1 * (gap_Bk * weight_Bk).sum(1, keepdims=True) / total_B1
        too_flat_B1 = entropy_B1 > np.log(perplexity)
        low_B1, high_B1 = np.where(too_flat_B1, middle_B1, low_B1), np.where(too_flat_B1, high_B1, middle_B1)
    weight_Bk = np.exp(-np.exp((low_B1 + high_B1) / 2) * gap_Bk)
    return np.asarray(weight_Bk / weight_Bk.sum(1, keepdims=True), dtype=np.float64)
