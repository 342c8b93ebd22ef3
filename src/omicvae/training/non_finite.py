"""Which cells, genes or setting made steps fail: found by going through their minibatches once more."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from omicvae.data import CellStore
from omicvae.module import ConditionalVAE
from omicvae.training.evaluation import score_cells

# a cell whose loss is this many times the median has nothing in common with the others
OUTLYING = 1e6
SHOWN = 5


def explain_non_finite(
    module: ConditionalVAE, store: CellStore, rows: NDArray[np.int64], cell_names: Sequence[str], learning_rate: float
) -> str:
    """Say what the minibatches made of the cells ``rows`` failed on, in one or two sentences.

    Cells are to blame where their own loss, without dropout at the present weights, is not finite or outlies the
    median of the others a millionfold; then the gene with the largest value is named. Where most cells fail, or none
    does, it is the weights and so a setting.
    """
    rows = np.unique(rows)
    with np.errstate(invalid="ignore", over="ignore"):
        loss_W = np.abs(score_cells(module, store, rows, seed=0).reconstruction_N)
    finite_W = np.isfinite(loss_W)
    typical = np.median(loss_W[finite_W]) if finite_W.any() else np.inf
    bad_W = ~finite_W | (loss_W > OUTLYING * max(typical, 1.0))
    if not bad_W.any() or bad_W.mean() > 0.5:
        who = "no single cell" if not bad_W.any() else f"{int(bad_W.sum())} of their {len(rows)} cells"
        return (
            f"The weights or a setting are to blame, not the data: {who} has a loss out of line at the present "
            f"weights. Lower learning_rate (now {learning_rate:.3g}), set gradient_clip_norm, or lengthen the warm-up."
        )
    named = []
    for row in rows[bad_W][:SHOWN]:
        _, columns, values = store.gather(np.asarray([row]))
        size = np.abs(values.astype(np.float64))
        worst = int(np.argmax(np.where(np.isnan(size), np.inf, size))) if len(size) else None
        gene = "" if worst is None else f" ({store.schema.gene_names[columns[worst]]} = {values[worst]:g})"
        named.append(f"{cell_names[row]}{gene}")
    more = f" and {int(bad_W.sum()) - SHOWN} more" if bad_W.sum() > SHOWN else ""
    return f"To blame: cells {', '.join(named)}{more}. Check their values or remove them."
