"""What the data say without a latent: yardsticks of the diagnosis, computed once for a data set and a split."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omicvae.data import CellStore
from omicvae.diagnostics import Structure
from omicvae.metrics.linear import pca_scores
from omicvae.model._build import ModelConfig, build_null
from omicvae.training import map_cells, null_log_likelihood
from omicvae.training.null_model import unexplained_structure

#: training cells that the gap to validation cells is measured on
SEEN_CELLS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class _NullFit:
    """The best decoder without z.

    Attributes
    ----------
    nll_W
        −log p(x | c) of the judged cells, nats.
    seen, seen_nll_T
        At most 1000 of the training cells, and the same of them.
    structure
        What it leaves unexplained; None for few cells.
    """

    nll_W: NDArray[np.float64]
    seen: NDArray[np.int64]
    seen_nll_T: NDArray[np.float64]
    structure: Structure | None


@dataclass(slots=True)
class Background:
    """Results by what they depend on, so that a second diagnosis, or of another fit of the same cells, has them.

    It may be shared by models of the same cells.
    """

    known: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def null(
        self,
        config: ModelConfig,
        store: CellStore,
        train: NDArray[np.int64],
        judged: NDArray[np.int64],
        device: torch.device,
    ) -> _NullFit:
        """Fit the best decoder without z on ``train``; evaluate it on ``judged`` and on some of ``train``."""

        def make() -> _NullFit:
            null = build_null(config, store.schema)
            seen = np.sort(np.random.default_rng(config.seed).permutation(train)[:SEEN_CELLS])
            loglik_W = null_log_likelihood(null, store, train, judged, seed=config.seed, device=device)
            (seen_T,) = map_cells(null, store, seen, lambda batch, start: null(batch), device=device)
            return _NullFit(-loglik_W, seen, -seen_T, unexplained_structure(null, store, config.seed))

        likelihood = (config.likelihood, config.dispersion, config.seed)
        return self._once(("null", *likelihood, train.tobytes(), judged.tobytes()), make)

    def reference(self, store: CellStore, n_components: int, support: str, seed: int) -> NDArray[np.float32]:
        """PCA of log-normalised counts, standardised real values or 0/1 data: the yardstick of the probes, (N, K)."""
        return self._once(
            ("reference", n_components, support, seed),
            lambda: pca_scores(store.log_normalised(support=support), n_components, seed=seed),
        )

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]
