"""What the data say without a latent: yardsticks of the diagnosis, computed once for a data set and a split."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omicvae._core import DataError
from omicvae.data import CellStore
from omicvae.diagnostics import Structure, structure
from omicvae.model._build import ModelConfig, build_null
from omicvae.module import CovariateModel
from omicvae.training import derive_seed, evaluating, map_cells, null_log_likelihood, private_generators

#: of the structure check: cells × genes of a simulation, the fewest and most cells, most genes, simulations
ENTRIES = 2**23
FEWEST_CELLS, MOST_CELLS = 200, 2000
MOST_GENES = 1000
N_SIMULATIONS = 5
#: training cells that the gap to validation cells is measured on
SEEN_CELLS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Null:
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
    ) -> Null:
        """Fit the best decoder without z on ``train``; evaluate it on ``judged`` and on some of ``train``."""

        def make() -> Null:
            null = build_null(config, store.schema)
            seen = np.sort(np.random.default_rng(config.seed).permutation(train)[:SEEN_CELLS])
            loglik_W = null_log_likelihood(null, store, train, judged, seed=config.seed, device=device)
            (seen_T,) = map_cells(null, store, seen, lambda batch, start: null(batch), device=device)
            return Null(-loglik_W, seen, -seen_T, unexplained_structure(null, store, config.seed))

        likelihood = (config.likelihood, config.dispersion, config.seed)
        return self._once(("null", *likelihood, train.tobytes(), judged.tobytes()), make)

    def reference(self, store: CellStore, n_components: int, support: str, seed: int) -> NDArray[np.float32]:
        """PCA scores with so many components: the yardstick of the probes, (N, K)."""
        return self._once(
            ("reference", n_components, support, seed), lambda: pca_scores(store, n_components, support, seed)
        )

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]


def unexplained_structure(null: CovariateModel, store: CellStore, seed: int) -> Structure | None:
    """Compare cells with simulations from the fitted ``null`` at the same covariates and depths; None for few cells.

    On a random part of the cells and the most variable genes; categorical and continuous covariates are taken out,
    and log depth.
    """
    rng = np.random.default_rng(derive_seed(seed, "structure"))
    most = int(np.clip(ENTRIES // store.n_genes, FEWEST_CELLS, MOST_CELLS))
    rows = np.sort(rng.permutation(store.n_cells)[:most])
    batch = store.batch(rows, device=next(null.parameters()).device)
    likelihood = null.likelihood
    x_NG = likelihood.features(batch.x_BG, batch.library_B1).cpu().numpy()
    design_NC = covariate_design(store, rows)
    if likelihood.support == "counts":
        design_NC = np.hstack([design_NC, np.log(store.library_N[rows])[:, None]])
    if len(rows) <= design_NC.shape[1] + 2 or store.n_genes < 2:
        return None
    genes = np.sort(np.argsort(-x_NG.var(axis=0), kind="stable")[:MOST_GENES])

    def simulations() -> Iterator[NDArray[np.float32]]:
        if likelihood.support == "real":  # no depth couples genes: shuffled ones have the right noise, whatever it is
            left_NG = without(x_NG[:, genes], design_NC)
            for _ in range(N_SIMULATIONS):
                yield shuffled_genes(left_NG, store.codes_ND[rows], rng)
            return
        sized = store.schema.keys.size_factor_key is not None
        with evaluating(null), private_generators():
            torch.manual_seed(derive_seed(seed, "structure", 1))
            distribution = null.distribution(batch)
            for _ in range(N_SIMULATIONS):
                sample_BG = distribution.sample()
                # like the cells, by their own totals: where one gene gains, all others lose
                library_B1 = batch.library_B1 if sized else sample_BG.sum(1, keepdim=True).clamp_min(1)
                yield likelihood.features(sample_BG, library_B1)[:, genes].cpu().numpy()

    return structure(x_NG[:, genes], simulations(), design_NC)


def covariate_design(store: CellStore, rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float64]:
    """One-hot levels and the first three powers of continuous covariates side by side, (N, C).

    Where joint levels of the categorical covariates have ten cells each on average, they stand there instead: the
    decoder knows their interactions.
    """
    codes_ND = store.codes_ND[rows]
    columns = [codes_ND[:, d] for d in range(codes_ND.shape[1])]
    if len(columns) > 1:
        joint_N = np.unique(codes_ND, axis=0, return_inverse=True)[1].ravel()
        columns = [joint_N] if 10 * (joint_N.max() + 1) <= len(joint_N) else columns
    one_hot = [np.eye(int(codes_N.max()) + 1)[codes_N] for codes_N in columns]
    continuous_NV = np.asarray(store.continuous_NV[rows], dtype=np.float64)
    return np.hstack([*one_hot, *(continuous_NV**power for power in (1, 2, 3))])


def without(features_NG: NDArray[np.floating[Any]], design_NC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Residuals of the features after a linear fit on the design and a constant."""
    design_NC = np.hstack([np.ones((len(features_NG), 1)), design_NC])
    return features_NG - design_NC @ np.linalg.lstsq(design_NC, features_NG, rcond=None)[0]


def shuffled_genes(
    values_NG: NDArray[np.float64], codes_ND: NDArray[np.integer[Any]], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Shuffle every gene over the cells of each joint level of the categorical covariates."""
    shuffled_NG = values_NG.astype(np.float32)
    joint_N = (
        np.unique(codes_ND, axis=0, return_inverse=True)[1].ravel() if codes_ND.shape[1] else np.zeros(len(codes_ND))
    )
    for code in np.unique(joint_N):
        members = np.flatnonzero(joint_N == code)
        shuffled_NG[members] = rng.permuted(shuffled_NG[members], axis=0)
    return shuffled_NG


def unexplained(features_NK: NDArray[np.float32], store: CellStore) -> NDArray[np.float64]:
    """Residuals of the features after a linear fit on all covariates: what is left for a latent to encode."""
    return without(features_NK, covariate_design(store))


def pca_scores(store: CellStore, n_components: int, support: str, seed: int) -> NDArray[np.float32]:
    """PCA of log-normalised counts, standardised real values or 0/1 data, (N, K)."""
    from sklearn.decomposition import PCA

    x_NG = store.log_normalised(support=support)
    if isinstance(x_NG, np.ndarray):
        sd_G = x_NG.std(0)
        x_NG = (x_NG - x_NG.mean(0)) / np.where(sd_G > 0, sd_G, 1.0)
    limit = min(n_components, min(x_NG.shape) - 1)
    if limit < 1:
        raise DataError(f"A diagnosis needs at least 2 cells and 2 genes, got {x_NG.shape[0]} × {x_NG.shape[1]}.")
    solver = "randomized" if isinstance(x_NG, np.ndarray) else "arpack"
    return PCA(limit, svd_solver=solver, random_state=seed).fit_transform(x_NG).astype(np.float32)
