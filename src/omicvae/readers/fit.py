"""The seam: what a reader says of a fit, whoever trained it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omicvae.metrics.labels import Array, IntArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Fit:
    """A fitted VAE as functions of arrays; a reader makes one, and :func:`gather` asks it.

    N cells, K latent dimensions, W cells that are asked about. All is in nats per cell, and z is what q(z | x, c) is a
    Gaussian of.

    Attributes
    ----------
    origin
        What trained it, such as ``"scvi-tools SCVI"``.
    encode
        Gives posterior mean and SD of all cells, each (N, K).
    nll
        z (W, K), row numbers (W,) → −log p(x | z, c) with each cell's own x, covariates and library, (W,).
    train, validation
        Row numbers; without validation cells training cells are judged.
    kl
        z (W, K), row numbers → KL of each cell and dimension, (W, K), where p(z | c) is no Gaussian.
    prior
        Mean and SD of p(z | c), each (N, K); None for N(0, I).
    matrix
        Data as the likelihood sees them, cells × features; None where they were not given.
    likelihood
        Of the decoder without z: a name of ``LIKELIHOODS`` or ``"mse"``; None where it is not known.
    precision
        Of ``"mse"``: what half of the sum of squared errors is multiplied by.
    size_factors_N
        What the decoder multiplies means of counts by; None for the cells' totals.
    null_nll
        Row numbers → −log p(x | c) of a decoder without z, where the fit brings one.
    besides_N
        Nats of every cell that ``nll`` holds besides −log p(x | z, c), which a decoder without z would pay as well.
    categorical, continuous
        Covariates that the decoder is given, by name, each with a value a cell.
    conditioned
        Names of labels that the model was given.
    history, history_in_nats
        Curves as :func:`omicvae.readers.curves.history_of` gives them; may be empty. Whether they are known to be in
        nats per cell, or shall be held against what is measured.
    cell_names_N
        Names of the cells; None where they have none.
    remarks
        Sentences that a reader of the diagnosis should know.
    words, run
        In whose words remedies are said, a key of :data:`omicvae.readers.words.WORDS`, and what that needs to know.
    """

    origin: str
    encode: Callable[[], tuple[Array, Array]]
    nll: Callable[[Array, IntArray], Array]
    train: IntArray
    validation: IntArray
    kl: Callable[[Array, IntArray], Array] | None = None
    prior: tuple[Array, Array] | None = None
    matrix: Any = None
    likelihood: str | None = None
    precision: float = 1.0
    size_factors_N: NDArray[np.float64] | None = None
    null_nll: Callable[[IntArray], Array] | None = None
    besides_N: Array | None = None
    categorical: Mapping[str, Array] = field(default_factory=dict)
    continuous: Mapping[str, Array] = field(default_factory=dict)
    conditioned: tuple[str, ...] = ()
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    history_in_nats: bool = False
    cell_names_N: Array | None = None
    remarks: tuple[str, ...] = ()
    words: str
    run: Mapping[str, Any]
