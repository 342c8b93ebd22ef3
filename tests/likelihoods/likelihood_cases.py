"""One row per likelihood: what the contract test needs to know beyond the interface."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.stats as st
import torch
from torch import Tensor

from omicvae._core import Batch, FeatureMoments
from omicvae.likelihoods import LIKELIHOODS, Likelihood

B, G = 6, 5


@dataclass(frozen=True, slots=True)
class Case:
    """How to draw data, the log-probability by scipy, and a grid that covers nearly all of the support."""

    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    oracle: Callable[[Likelihood, Batch, dict[str, Tensor]], np.ndarray]
    support: Callable[[], tuple[np.ndarray, float]]
    extreme: tuple[float, ...]


def numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def mean_of_counts(model: Likelihood, batch: Batch, heads: dict[str, Tensor]) -> np.ndarray:
    raw, factor = numpy(heads["scale"]), numpy(batch.library_B1)
    rate = np.exp(raw) if model.size_factor else np.exp(raw - np.logaddexp.reduce(raw, axis=1, keepdims=True))
    return factor * rate


def theta_of(model: Likelihood, batch: Batch, heads: dict[str, Tensor]) -> np.ndarray:
    counts = getattr(model, "counts", model)
    return np.exp(numpy(counts.log_dispersion(batch, heads))) * np.ones(batch.x_BG.shape)


def nb_oracle(model: Likelihood, batch: Batch, heads: dict[str, Tensor]) -> np.ndarray:
    mu, theta = mean_of_counts(model, batch, heads), theta_of(model, batch, heads)
    return st.nbinom.logpmf(numpy(batch.x_BG), theta, theta / (theta + mu))


def zinb_oracle(model: Likelihood, batch: Batch, heads: dict[str, Tensor]) -> np.ndarray:
    base, logit = nb_oracle(model, batch, heads), numpy(heads["zero_logit"])
    log_pi, log_rest = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
    return np.where(numpy(batch.x_BG) == 0, np.logaddexp(log_pi, log_rest + base), log_rest + base)


def poisson_oracle(model: Likelihood, batch: Batch, heads: dict[str, Tensor]) -> np.ndarray:
    return st.poisson.logpmf(numpy(batch.x_BG), mean_of_counts(model, batch, heads))


def gaussian_oracle(model: Likelihood, batch: Batch, heads: dict[str, Tensor]) -> np.ndarray:
    raw = {"gene": lambda: numpy(model.log_variance.raw), "fixed": lambda: np.zeros(G)}
    log_variance = 10 * np.tanh(raw.get(model.dispersion, lambda: numpy(heads["log_variance"]))() / 10)
    scale, location = numpy(model.scale_G), numpy(model.location_G)
    sd = scale * np.exp(0.5 * log_variance)
    return st.norm.logpdf(numpy(batch.x_BG), location + scale * numpy(heads["mean"]), sd)


def student_t_oracle(model: Likelihood, batch: Batch, heads: dict[str, Tensor]) -> np.ndarray:
    log_scale, log_degrees = (5 * np.tanh(numpy(own.raw) / 5) for own in (model.log_scale, model.log_degrees))
    scale, location = numpy(model.scale_G), numpy(model.location_G) + numpy(model.scale_G) * numpy(heads["mean"])
    return st.t.logpdf(numpy(batch.x_BG), 2 + np.exp(log_degrees), location, scale * np.exp(log_scale))


def bernoulli_oracle(model: Likelihood, batch: Batch, heads: dict[str, Tensor]) -> np.ndarray:
    return st.bernoulli.logpmf(numpy(batch.x_BG), 1 / (1 + np.exp(-numpy(heads["logit"]))))


def draw_counts(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Counts with mostly zeros; see ``mostly_positive`` for the other way."""
    return rng.poisson(rng.gamma(1.0, 8.0, shape)) * (rng.random(shape) < 0.35)


def whole_numbers() -> tuple[np.ndarray, float]:
    return np.arange(4000.0), 1.0


COUNTS = {"draw": draw_counts, "support": whole_numbers, "extreme": (0.0, 1.0, 1e7)}
REALS = {
    "draw": lambda rng, shape: rng.normal(3.0, 2.0, shape),
    "support": lambda: (np.arange(-300, 300, 0.01), 0.01),
    "extreme": (0.0, -1e4, 1e4),
}
CASES: dict[str, Case] = {
    "nb": Case(oracle=nb_oracle, **COUNTS),
    "zinb": Case(oracle=zinb_oracle, **COUNTS),
    "poisson": Case(oracle=poisson_oracle, **COUNTS),
    "gaussian": Case(oracle=gaussian_oracle, **REALS),
    "student_t": Case(oracle=student_t_oracle, **REALS),
    "bernoulli": Case(
        draw=lambda rng, shape: rng.integers(0, 2, shape),
        oracle=bernoulli_oracle,
        support=lambda: (np.array([0.0, 1.0]), 1.0),
        extreme=(0.0, 1.0),
    ),
}

# every likelihood, with every dispersion and both kinds of mean
VARIANTS = [
    (name, dispersion, size_factor)
    for name, likelihood in LIKELIHOODS.items()
    for dispersion in likelihood.dispersions or (None,)
    for size_factor in ((False, True) if likelihood.support == "counts" else (False,))
]


def make_batch(name: str, *, dtype: torch.dtype = torch.float64, size_factor: bool = False, n_genes: int = G) -> Batch:
    rng = np.random.default_rng(1)
    x = torch.tensor(CASES[name].draw(rng, (B, n_genes)), dtype=dtype)
    factor = torch.tensor(rng.uniform(0.5, 2.0, (B, 1)) if size_factor else rng.uniform(10, 60, (B, 1)))
    codes = torch.tensor([[0], [1], [2], [0], [1], [2]])
    return Batch(x, factor.to(dtype), codes, torch.zeros(B, 0, dtype=dtype))


def replace(batch: Batch, **changes: Tensor) -> Batch:
    """Return the batch with other tensors in the place of some."""
    names = ("x_BG", "library_B1", "categories_BD", "continuous_BV")
    return Batch(*(changes.get(name, getattr(batch, name)) for name in names))


def mostly_positive(batch: Batch) -> Batch:
    """Fill all zeros but the first gene's with ones."""
    x = batch.x_BG.clone()
    x[:, 1:] += x[:, 1:] == 0
    return replace(batch, x_BG=x)


def moments_of(x: Tensor, factor_B1: Tensor) -> FeatureMoments:
    x, factor_B1 = x.double(), factor_B1.double()
    rate = x.sum(0) / factor_B1.sum()
    theta = torch.linspace(0.5, 8.0, x.shape[1], dtype=torch.float64)
    return FeatureMoments(x.mean(0), x.var(0, correction=0), rate, theta)


def make(
    name: str,
    dispersion: str | None,
    size_factor: bool,
    *,
    dtype: torch.dtype = torch.float64,
    n_genes: int = G,
) -> tuple[Likelihood, Batch, dict[str, Tensor]]:
    """Build an initialised likelihood, data, and heads around their starting point."""
    batch = make_batch(name, dtype=dtype, size_factor=size_factor, n_genes=n_genes)
    model = LIKELIHOODS[name](n_genes, dispersion=dispersion, n_batches=3, size_factor=size_factor).to(dtype)
    biases = model.initialise(moments_of(batch.x_BG, batch.library_B1))
    generator = torch.Generator().manual_seed(2)
    heads = {
        head: (biases[head].to(dtype) + 0.5 * torch.randn(B, n_genes, generator=generator, dtype=dtype))
        for head in model.heads
    }
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    return model, batch, {head: value.requires_grad_() for head, value in heads.items()}
