"""Which likelihood a function is of, told from how it changes with single values of x.

Second differences in one value, −log p(k) + 2 log p(k + 1) − log p(k + 2), do not depend on what is expected: they are
log((k + 2) / (k + 1)) of a Poisson, that less log((k + 1 + θ) / (k + θ)) of a negative binomial, 1/σ² of a Gaussian,
and 0 of 0/1 values. Extra zeros change those that hold a 0. An average over G features has a G-th of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from omicvae._core import DataError
from omicvae.metrics.labels import Array, FloatArray, IntArray

#: cells and features that are looked at
N_CELLS, N_FEATURES = 8, 12
#: values of a cell that are changed in one call
N_CHANGED = 256
#: as a share of a Poisson's: rounding in single precision, and what a library that is summed from x adds
SLACK = 0.05


@dataclass(frozen=True, slots=True)
class Recognised:
    """A likelihood; of squared errors what half of their sum is multiplied by, and the nats that are added to it."""

    likelihood: str
    precision: float = 1.0
    constant: float = 0.0


def recognised(
    nll: Callable[[Array, Array, IntArray], FloatArray], x_MG: Array, z_MK: Array, rows: IntArray
) -> Recognised | None:
    """Tell the likelihood as :func:`recognise` does, of functions that may refuse the values that it asks for."""
    try:
        return recognise(nll, x_MG, z_MK, rows)
    except DataError:
        raise
    except Exception:  # a user's function may raise anything; a broken one raises again where its answer is needed
        return Recognised("bernoulli") if np.isin(x_MG, (0, 1)).all() else None


def recognise(
    nll: Callable[[Array, Array, IntArray], FloatArray], x_MG: Array, z_MK: Array, rows: IntArray
) -> Recognised | None:
    """Tell the likelihood of ``nll(x, z, rows)`` at these cells; None where it is none that is known.

    Raises
    ------
    DataError
        Where it is an average over features, whose KL would weigh too much.
    """
    n_features = x_MG.shape[1]
    binary = bool(np.isin(x_MG, (0, 1)).all())
    counts = not binary and bool((x_MG >= 0).all() and (x_MG == np.rint(x_MG)).all())
    order = np.argsort(-x_MG.mean(axis=0), kind="stable")
    features = np.unique(np.concatenate([order[: N_FEATURES // 2], order[:: max(1, n_features * 2 // N_FEATURES)]]))
    # a Gaussian's are the same over any distance
    step = 1.0 if counts else 0.5 if binary else float(x_MG.std(axis=0).max()) or 1.0
    steps, seconds = np.arange(5 if counts else 3 if binary else 4), []
    for g in features:
        changed = []
        for number in steps:
            x = np.array(x_MG, dtype=np.float32)
            x[:, g] = number * step + (0 if counts or binary else x[:, g] - step)
            changed.append(nll(x, z_MK, rows))
        seconds.append(np.diff(np.stack(changed), n=2, axis=0) / step**2)
    second_SMF = np.stack(seconds, axis=-1)  # along values, cells, features
    if not np.isfinite(second_SMF).all():
        return None
    if squared := _squared_error(second_SMF, n_features):
        return replace(squared, constant=_constant(nll, x_MG[0], z_MK[0], rows[0], squared.precision, step))
    return _counts(second_SMF, n_features) if counts else _real(second_SMF, binary)


def _constant(
    nll: Callable[[Array, Array, IntArray], FloatArray], x_G: Array, z_K: Array, row: int, precision: float, step: float
) -> float:
    """Nats beside w/2 Σ (x − x̂)²: those of a Gaussian of variance 1/w, ½ G log(2π/w), or 0, whatever is nearer.

    What is expected, x̂_g, follows from the first difference in each value, w (step (x_g − x̂_g) + step²/2).
    """

    def at(x_BG: Array) -> FloatArray:
        return nll(x_BG, np.repeat(z_K[None], len(x_BG), axis=0), np.full(len(x_BG), row))

    n_features, squares = len(x_G), 0.0
    own = float(at(x_G[None])[0])
    for start in range(0, n_features, N_CHANGED):
        stop = min(start + N_CHANGED, n_features)
        x_BG = np.repeat(np.asarray(x_G, dtype=np.float32)[None], stop - start, axis=0)
        x_BG[np.arange(stop - start), np.arange(start, stop)] += step
        squares += float(np.square((at(x_BG) - own) / (precision * step) - step / 2).sum())
    gaussian = n_features / 2 * np.log(2 * np.pi / precision)
    return min((0.0, gaussian), key=lambda constant: abs(own - precision / 2 * squares - constant))


def _squared_error(second: FloatArray, n_features: int) -> Recognised | None:
    """Second differences all alike, whatever value, cell and feature."""
    precision = float(np.median(second))
    if precision <= 0 or np.abs(second / precision - 1).max() > SLACK:
        return None
    if n_features > 2 and any(abs(precision * n_features / factor - 1) < SLACK for factor in (1, 2)):
        raise DataError(_averaged(n_features))
    return Recognised("mse", round(precision, 2) if precision > 0.1 else precision)


def _real(second: FloatArray, binary: bool) -> Recognised | None:
    largest = np.abs(second).max()
    if binary and largest < SLACK * np.log(2):
        return Recognised("bernoulli")
    alike = np.ptp(second, axis=0) <= SLACK * np.abs(second).max(axis=0)
    return Recognised("gaussian") if not binary and (second > 0).all() and alike.mean() > 0.9 else None


def _counts(second: FloatArray, n_features: int) -> Recognised | None:
    poisson = np.log((np.arange(3) + 2) / (np.arange(3) + 1))[:, None, None]
    for scale in (1.0, float(n_features)):
        found = _counted(scale * second, poisson)
        if found and scale > 1:
            raise DataError(_averaged(n_features))
        if found:
            return found
    return _real(second, binary=False)


def _counted(second: FloatArray, poisson: FloatArray) -> Recognised | None:
    """Poisson, negative binomial, or that with extra zeros; the first difference holds a 0."""
    if np.abs(second / poisson - 1).max() < SLACK:
        return Recognised("poisson")
    # log((k + 1 + θ) / (k + θ)) at k = 1 gives θ, with which that at k = 2 must agree
    ratio = np.clip(np.exp(poisson[1] - second[1]), 1 + 1e-6, 2 - 1e-6)
    theta = 1 / (ratio - 1) - 1
    agree = np.abs(poisson[2] - np.log((3 + theta) / (2 + theta)) - second[2]) < SLACK * poisson[2]
    if (
        agree.mean() < 0.9
        or (second[1] > (1 + SLACK) * poisson[1]).any()
        or np.median(np.abs(second[1])) < SLACK * poisson[1].max()
    ):
        return None
    zero = poisson[0] - np.log((1 + theta) / np.maximum(theta, 1e-6)) - second[0]
    return Recognised("zinb" if np.median(zero) > SLACK * poisson[0].max() else "nb")


def _averaged(n_features: int) -> str:
    return (
        f"nll is an average over the {n_features} features: return their sum, nll.sum(1), as the KL is a sum over "
        "dimensions. Where a loss is trained on averages, its KL weighs too much, which collapses the latent space."
    )
