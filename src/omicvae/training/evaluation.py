"""Passes over stored cells without gradients, in large batches straight from the store: the only loops over cells."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from omicvae._core import Batch, LatentPosterior, integral
from omicvae._core.noise import DrawingByCell, cell_noise, cell_streams
from omicvae.data import CellStore, Transform
from omicvae.module import ConditionalVAE
from omicvae.training.surroundings import own_surroundings

# numbers in an evaluation batch: large enough to fill the cores, small enough for their memory to be used again by the
# next one (at twice as many the C library hands it back to the system each time)
BATCH_ENTRIES = 2**20
#: leaves each cell its own covariates
OWN = Transform({}, {})
#: what a pass returns of the draws of a minibatch's cells, (B, S, G)
ReadDraws = Callable[[Tensor], Tensor | tuple[Tensor, ...]]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch ``module`` to evaluation without gradients and back to the mode it was in."""
    training = module.training
    module.eval()
    try:
        with own_surroundings(), torch.inference_mode():
            yield
    finally:
        module.train(training)


def map_cells(
    module: nn.Module,
    store: CellStore,
    indices: NDArray[np.int64] | None,
    function: Callable[[Batch, int], Tensor | tuple[Tensor, ...]],
    *,
    entries: int | None = None,
    batch_size: int | None = None,
    out: Any = None,
) -> list[Any]:
    """Apply ``function(batch, position)`` to the cells ``indices`` in order and join its outputs along cells.

    Minibatches come to the device that ``module`` is on.

    Parameters
    ----------
    function
        Gets a minibatch and the position of its first cell among ``indices``; returns tensors with a row per cell.
    entries
        Numbers that a cell takes in it; None for one a gene.
    out
        Array to write the first output into, or a tuple of them for as many: anything that takes slices of rows, such
        as an array on disk.
    """
    rows = np.arange(store.n_cells) if indices is None else np.asarray(indices)
    device = next(module.parameters()).device
    if batch_size is None:
        numbers = max(1, store.n_genes if entries is None else entries)
        size = int(np.clip(BATCH_ENTRIES // numbers, 16, 8192))
    else:
        size = integral("batch_size", batch_size, minimum=1)
    joined: list[Any] = []
    given = () if out is None else out if isinstance(out, tuple) else (out,)
    with evaluating(module):
        for start in range(0, len(rows), size):
            outputs = function(store.batch(rows[start : start + size], device=device), start)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            arrays = [output.cpu().numpy() for output in outputs]
            if not joined:
                made = (np.empty((len(rows), *array.shape[1:]), dtype=array.dtype) for array in arrays[len(given) :])
                joined = [*given, *made]
            for column, array in zip(joined, arrays, strict=True):
                column[start : start + len(array)] = array
    return joined


#: what draws z from q of a minibatch: the position of its first cell, the number of the draw
Draws = Callable[[LatentPosterior, int, int], Tensor]


def posterior_draws(store: CellStore, indices: NDArray[np.int64] | None, seed: int) -> Draws:
    """Return what draws from the posteriors of the cells ``indices``; a cell's noise is that of its row."""
    rows = np.arange(store.n_cells) if indices is None else np.asarray(indices)

    def draw(q: LatentPosterior, start: int, number: int) -> Tensor:
        n, n_latent = q.mean_BK.shape
        return q.at(torch.from_numpy(cell_noise(rows[start : start + n], n_latent, seed, number)).to(q.mean_BK))

    return draw


@dataclass(frozen=True, slots=True)
class CellScores:
    """Per-cell parts of the ELBO, in nats.

    Attributes
    ----------
    reconstruction_N
        −log p(x | z, c) for one draw z of the posterior, float64.
    kl_NK
        Raw KL per latent dimension, in closed form or at that draw.
    """

    reconstruction_N: NDArray[np.float64]
    kl_NK: NDArray[np.float32]

    @property
    def elbo_N(self) -> NDArray[np.float64]:
        """β = 1 evidence lower bound of each cell, nats; higher is better."""
        return -self.reconstruction_N - self.kl_NK.sum(1, dtype=np.float64)


def score_cells(
    module: ConditionalVAE,
    store: CellStore,
    indices: NDArray[np.int64] | None = None,
    *,
    seed: int,
    n_samples: int = 1,
    batch_size: int | None = None,
) -> CellScores:
    """Reconstruction and KL of the given cells; the same seed gives the same draws.

    With ``n_samples`` above 1 the reconstruction is the mean over as many draws, as is a KL that has no closed form.
    """
    draw = posterior_draws(store, indices, seed)

    def score(batch: Batch, start: int) -> tuple[Tensor, Tensor]:
        posterior = module.encode(batch)
        prior, draws = module.prior_at(batch), []
        kl_BK = torch.zeros_like(posterior.mean_BK)
        for n_before in range(n_samples):
            z_BK = draw(posterior, start, n_before)
            draws.append(module.reconstruction(z_BK, batch))
            kl_BK += (prior.kl(posterior, z_BK) - kl_BK) / (n_before + 1)  # leaves a closed form as it is, to the bit
        return torch.stack(draws).mean(0), kl_BK

    reconstruction_N, kl_NK = map_cells(module, store, indices, score, batch_size=batch_size)
    return CellScores(reconstruction_N, kl_NK)


@dataclass(frozen=True, slots=True)
class CellPasses:
    """What a network says of N cells of a store.

    Attributes
    ----------
    rows
        Row numbers of the cells; given as None for all.
    batch_size
        Cells in an evaluation batch; None for as many as fill the cores.
    """

    module: ConditionalVAE
    store: CellStore
    rows: NDArray[np.int64] = None  # type: ignore[assignment]
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.rows is None:
            object.__setattr__(self, "rows", np.arange(self.store.n_cells))

    def _map(self, function: Callable[[Batch, int], Tensor | tuple[Tensor, ...]], **settings: Any) -> list[Any]:
        """Apply ``function`` as :func:`map_cells` does."""
        return map_cells(self.module, self.store, self.rows, function, batch_size=self.batch_size, **settings)

    def draws(self, seed: int) -> Draws:
        """Return what draws from the posteriors of these cells."""
        return posterior_draws(self.store, self.rows, seed)

    def encode(self, read: Callable[[LatentPosterior, int], Tensor | tuple[Tensor, ...]]) -> list[Any]:
        """Return what ``read`` takes from q(z | x, c) and the first position, such as a mean or a draw; each (N, K)."""
        module, store, entries = self.module, self.store, None
        if module.device.type == "cpu":  # a non-zero is a gene and a value, and a layer keeps what it was given
            numbers = round(2 * (store.density * store.n_genes + module.architecture.n_hidden))
            entries = min(numbers, store.n_genes)
        return self._map(lambda batch, start: read(module.encode(batch), start), entries=entries)

    def prior_draws(self, seed: int, temperature: float = 1.0) -> NDArray[np.float32]:
        """Draw z ~ p(z | c), (N, K), with its SD times ``temperature``: of a mixture, that of the drawn component."""
        at, rows = self.module.prior_at, self.rows

        def draw(batch: Batch, start: int) -> Tensor:
            cells = rows[start : start + len(batch)]
            which = (cell_streams(cells, seed, 1) >> np.uint64(1)).astype(np.int64)
            mean_BK, sd_BK = at(batch).component(torch.from_numpy(which).to(batch.library_B1.device))
            noise_BK = torch.from_numpy(cell_noise(cells, mean_BK.shape[1], seed)).to(mean_BK)
            return mean_BK + temperature * sd_BK * noise_BK

        return np.asarray(self._map(draw, entries=self.module.architecture.n_latent)[0])

    def prior_moments(self) -> list[NDArray[np.float32]]:
        """Mean and SD of p(z | c), each (N, K)."""
        at = self.module.prior_at
        return self._map(lambda batch, start: tuple(v.expand(len(batch), -1) for v in at(batch).moments()))

    def reconstruction_errors(self, z_NK: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """−log p(x_n | z_n, c_n) under the given z, nats, (N,)."""
        likelihood = self.module.likelihood
        return self.at(z_NK, lambda heads, batch, start: -likelihood.cell_log_prob(batch, heads))[0]

    def at(
        self,
        z_NK: NDArray[np.floating[Any]],
        read: Callable[[dict[str, Tensor], Batch, int], Tensor | tuple[Tensor, ...]],
        target: Transform = OWN,
        **settings: Any,
    ) -> list[Any]:
        """Return what ``read(heads, batch, position)`` takes from the decoder's raw outputs at z_n and c_n.

        ``target`` as in :meth:`decode`; ``settings`` as :func:`map_cells` has them.
        """
        module, z = self.module, torch.from_numpy(np.ascontiguousarray(z_NK, dtype=np.float32)).to(self.module.device)

        def decoded(batch: Batch, start: int) -> Tensor | tuple[Tensor, ...]:
            there = target(batch)
            return read(module.decode(z[start : start + len(batch)], there), there, start)

        return self._map(decoded, **settings)

    def parameters(
        self, z_NK: NDArray[np.floating[Any]], genes: Sequence[int], target: Transform = OWN
    ) -> dict[str, NDArray[np.float32]]:
        """Parameters of p(x | z_n, c_n) by name, each (N, G); see ``Likelihood.parameters_at``."""
        likelihood = self.module.likelihood
        names: list[str] = []

        def read(heads: dict[str, Tensor], batch: Batch, start: int) -> tuple[Tensor, ...]:
            found = likelihood.parameters_at(batch, heads)
            names[:] = found
            return tuple(value.float().expand(len(batch), -1)[:, genes] for value in found.values())

        return dict(zip(names, self.at(z_NK, read, target), strict=True))

    def marginal_log_likelihood(self, *, seed: int, n_samples: int) -> NDArray[np.float64]:
        """Return log (1/S) Σ_s p(x | z_s, c) p(z_s | c) / q(z_s | x, c), nats, (N,) (Burda et al. 2016)."""
        module, draw = self.module, self.draws(seed)

        def marginal(batch: Batch, start: int) -> Tensor:
            q, prior = module.encode(batch), module.prior_at(batch)
            normal = torch.distributions.Normal(q.mean_BK, q.sd_BK)
            weights = []
            for s in range(n_samples):
                z_BK = draw(q, start, s)
                log_ratio_B = prior.log_prob(z_BK) - normal.log_prob(z_BK).sum(-1)
                weights.append(log_ratio_B - module.reconstruction(z_BK, batch))
            return torch.logsumexp(torch.stack(weights), 0) - np.log(n_samples)

        return self._map(marginal)[0]

    def decode(
        self,
        genes: Sequence[int],
        targets: Sequence[Transform] = (OWN,),
        *,
        seed: int,
        n_samples: int | None,
        scale: float = 1.0,
        average: bool = True,
        out: Any = None,
    ) -> Any:
        """Decode expression (N, G), averaged over targets and, if ``average``, over draws; else (N, S, G).

        Parameters
        ----------
        targets
            Covariates to decode with; by default each cell's own.
        n_samples
            Posterior draws S of each cell; None decodes the posterior mean.
        scale
            Factor of the likelihood's normalised mean: the library, for counts.
        out
            As for :func:`map_cells`.
        """
        settings: dict[str, Any] = {"seed": seed, "n_samples": n_samples, "scale": scale, "out": out}
        return self.read_expression(lambda draws: draws.mean(1) if average else draws, genes, targets, **settings)[0]

    def read_expression(
        self,
        read: ReadDraws,
        genes: Sequence[int],
        targets: Sequence[Transform] = (OWN,),
        *,
        seed: int,
        n_samples: int | None,
        scale: float = 1.0,
        out: Any = None,
    ) -> list[Any]:
        """Return what ``read`` makes of the draws of expression; arguments as in :meth:`decode`."""
        module, draw = self.module, self.draws(seed)

        def expression(batch: Batch, start: int) -> Tensor | tuple[Tensor, ...]:
            q = module.encode(batch)
            draws = [q.mean_BK] if n_samples is None else [draw(q, start, s) for s in range(n_samples)]
            values = []
            for z_BK in draws:
                heads = [module.decode(z_BK, target(batch)) for target in targets]
                decoded = [module.likelihood.normalized(raw)[:, genes] for raw in heads]
                values.append(torch.stack(decoded).mean(0) * scale)
            return read(torch.stack(values, dim=1))

        return self._map(expression, entries=self._entries(n_samples), out=out)

    def sample(
        self, genes: Sequence[int], target: Transform = OWN, *, seed: int, n_samples: int, out: Any = None
    ) -> Any:
        """Draw x̂ ~ p(x | z, c) with z ~ q(z | x, c) and each cell's own library; (N, G), or (N, G, S) of several."""

        def read(draws_BSG: Tensor) -> Tensor:
            return draws_BSG[:, 0] if n_samples == 1 else draws_BSG.transpose(1, 2)

        return self.read_samples(read, genes, target, seed=seed, n_samples=n_samples, out=out)[0]

    def read_samples(
        self,
        read: ReadDraws,
        genes: Sequence[int],
        target: Transform = OWN,
        *,
        seed: int,
        n_samples: int,
        out: Any = None,
    ) -> list[Any]:
        """Return what ``read`` makes of the draws x̂; arguments as in :meth:`sample`."""
        module, draw = self.module, self.draws(seed)

        def sample(batch: Batch, start: int) -> Tensor | tuple[Tensor, ...]:
            q, there = module.encode(batch), target(batch)
            draws = [
                self.observed(module.decode(draw(q, start, s), there), there, start, seed, s)[:, genes]
                for s in range(n_samples)
            ]
            return read(torch.stack(draws, dim=1))

        return self._map(sample, entries=self._entries(n_samples), out=out)

    def observed(self, heads: dict[str, Tensor], batch: Batch, start: int, seed: int, number: int = 0) -> Tensor:
        """Draw x̂ from the decoder's raw outputs for a minibatch, (B, G); a cell's noise is that of its row."""
        distribution = self.module.likelihood.distribution(batch, heads)
        with DrawingByCell(cell_streams(self.rows[start : start + len(batch)], seed, number), self.module.device):
            return distribution.sample()

    def _entries(self, n_samples: int | None) -> int:
        """Numbers that a cell takes with so many draws, in one minibatch."""
        return self.store.n_genes * (1 if n_samples is None else n_samples)
