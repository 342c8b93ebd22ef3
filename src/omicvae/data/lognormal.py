"""Recognise scanpy's log-normalised counts."""

import numpy as np
import scipy.sparse as sp

#: Relative spread of the cells' sums of expm1 that still counts as equal.
_SPREAD = 1e-2
#: Cells whose entries are looked at one by one.
_SAMPLED_ROWS = 256


class LogNormalisedCheck:
    """Collects, chunk by chunk, whether values x look like log1p(counts · factor of the cell).

    Either sign is enough, over non-negative values:

    - Σ_g expm1(x_ng) is the same in every cell (``normalize_total`` and ``log1p`` on all genes);
    - within a cell, expm1(x_ng) are whole multiples of the smallest one, which is then one count (still
      visible after a choice of genes, which destroys the first sign). Looked at in at most 256 cells.
    """

    def __init__(self) -> None:
        self._possible = True
        self._low, self._high, self._n_cells = np.inf, 0.0, 0
        self._n_sampled = self._n_multiples = 0

    def update(self, chunk: sp.csr_matrix) -> None:
        """Take note of the next rows."""
        # exp(60) is far beyond any library: such values are on no log scale
        if not self._possible or not chunk.nnz:
            return
        if chunk.data.min() < 0 or chunk.data.max() > 60:
            self._possible = False
            return
        linear = np.expm1(chunk.data.astype(np.float64))
        filled = np.flatnonzero(np.diff(chunk.indptr))
        sums = np.add.reduceat(linear, chunk.indptr[filled])
        self._low, self._high = min(self._low, sums.min()), max(self._high, sums.max())
        self._n_cells += len(filled)
        for row in filled[: max(0, _SAMPLED_ROWS - self._n_sampled)]:
            multiples = _whole_multiples(linear[chunk.indptr[row] : chunk.indptr[row + 1]])
            if multiples is not None:
                self._n_sampled += 1
                self._n_multiples += multiples

    @property
    def verdict(self) -> bool:
        """Whether the values seen so far look log-normalised; one or two cells prove nothing."""
        equal_sums = self._high - self._low <= _SPREAD * self._high
        multiples = self._n_sampled >= 3 and self._n_multiples > 0.5 * self._n_sampled
        return self._possible and self._n_cells >= 3 and (equal_sums or multiples)


def _whole_multiples(values: np.ndarray) -> bool | None:
    """Whether small multiples of the minimum are whole; None where too few entries differ from it to tell."""
    ratios = values / values.min()
    ratios = ratios[(ratios > 1.1) & (ratios < 10)]
    if len(ratios) < 3:
        return None
    return bool((np.abs(ratios - np.rint(ratios)) <= 0.01 * ratios).all())
