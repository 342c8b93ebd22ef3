"""Speed of a ``CVAE`` beside the scvi-tools model for the same data: one network, one split, one clock."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from anndata import AnnData
from sklearn.preprocessing import normalize

from omicvae.model.cvae import CVAE
from omicvae.training.clock import EpochClock, timed
from omicvae.training.run import quiet_lightning

BATCH_KEY, TRAIN_SIZE = "batch", 0.9


@dataclass(frozen=True, slots=True)
class Run:
    """One model trained once, on either side; covariates enter the decoder only, dropout of the encoder is 0.1.

    ``likelihood`` is a name in ``COMPARISONS``, ``accelerator`` is ``"cpu"`` or ``"gpu"``; the first of all ``epochs``
    warms up and does not count; ``precision`` is omicvae's: scvi-tools runs in float32, its default.
    """

    likelihood: str = "nb"
    n_hidden: int = 128
    n_layers: int = 1
    n_latent: int = 10
    batch_size: int = 128
    epochs: int = 4
    accelerator: str = "cpu"
    precision: str = "auto"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The peer of a likelihood: a class in ``scvi.model``, and what its constructor takes beside the sizes.

    ``values`` turns counts into the data that both sides get; ``differs`` says what the sides do not share,
    empty where they fit the same model; ``depths`` is what the peer calls the number of layers.
    """

    peer: str
    arguments: dict[str, Any]
    values: Callable[[sp.csr_matrix], sp.csr_matrix] = lambda x_NG: x_NG
    differs: str = ""
    depths: tuple[str, ...] = ("n_layers",)


COMPARISONS = {
    "nb": _Comparison("SCVI", {"gene_likelihood": "nb"}),
    "zinb": _Comparison("SCVI", {"gene_likelihood": "zinb"}),
    "poisson": _Comparison("SCVI", {"gene_likelihood": "poisson"}),
    "gaussian": _Comparison(
        "SCVI",
        {"gene_likelihood": "normal", "log_variational": False},
        # not by scanpy, whose numba kernels change the number of threads that torch uses
        lambda x_NG: (1e4 * normalize(x_NG, norm="l1")).log1p(),
        "SCVI's normal has the mean row sum × softmax, one SD per gene and its input as given; omicvae's has an "
        "unbounded mean and standardised input",
    ),
    "bernoulli": _Comparison(
        "PEAKVI",
        {},
        lambda x_NG: x_NG.sign(),
        "PEAKVI encodes the cell's depth by a second network as wide as the first, has a factor per gene, LayerNorm "
        "and AdamW; omicvae's has neither network nor factor, BatchNorm and Adam",
        ("n_layers_encoder", "n_layers_decoder"),
    ),
}


def _build_omicvae(adata: AnnData, run: Run) -> tuple[Any, dict[str, Any]]:
    """Return a ``CVAE`` and the arguments of its ``train``."""
    CVAE.setup_anndata(adata, batch_key=BATCH_KEY)
    sizes: dict[str, Any] = {"n_hidden": run.n_hidden, "n_layers": run.n_layers}
    model = CVAE(adata, run.likelihood, run.n_latent, encode_covariates=False, seed=run.seed, **sizes)
    return model, {"progress_bar": False, "precision": run.precision}


def _build_scvi(adata: AnnData, run: Run) -> tuple[Any, dict[str, Any]]:
    """Return the peer and the arguments of its ``train``; sets scvi-tools' global seed."""
    import scvi

    scvi.settings.seed = run.seed
    comparison = COMPARISONS[run.likelihood]
    depth = dict.fromkeys(comparison.depths, run.n_layers)
    peer = getattr(scvi.model, comparison.peer)
    peer.setup_anndata(adata, batch_key=BATCH_KEY)
    model = peer(adata, n_hidden=run.n_hidden, n_latent=run.n_latent, **depth, **comparison.arguments)
    return model, {"enable_progress_bar": False}


SIDES = {"omicvae": _build_omicvae, "scvi": _build_scvi}


def measure(side: str, adata: AnnData, run: Run) -> dict[str, Any]:
    """Train and embed once, and return seconds and cells per second.

    ``adata`` has counts, CSR, and ``obs["batch"]``, and is left as it is; ``side`` is a key of ``SIDES``.

    Returns
    -------
    ``train_cells_per_second``: training cells over the median epoch, the first epoch and all validation left out.
    ``latent_cells_per_second``: all cells over the median of calls two to six of ``get_latent_representation()``.
    The rest is what they are made of.
    """
    adata = adata.copy()
    adata.X = COMPARISONS[run.likelihood].values(adata.X)
    clock = EpochClock()
    # warnings and notes of the host libraries, for these calls alone; their errors are not hidden
    with warnings.catch_warnings(action="ignore"), quiet_lightning():
        (model, arguments), construct = timed(SIDES[side], adata, run)
        _, train = timed(
            model.train,
            max_epochs=run.epochs,
            batch_size=run.batch_size,
            train_size=TRAIN_SIZE,
            early_stopping=False,
            accelerator=run.accelerator,
            callbacks=[clock],
            **arguments,
        )
        calls = [timed(model.get_latent_representation) for _ in range(6)]
    if not np.isfinite(calls[0][0]).all():
        raise FloatingPointError(f"{side} trained to a latent that is not finite.")
    n_train, counted = len(model.train_indices), clock.seconds[1:] or clock.seconds
    latent_seconds = [seconds for _, seconds in calls]
    return {
        "train_cells_per_second": n_train / median(counted),
        "latent_cells_per_second": adata.n_obs / median(latent_seconds[1:]),
        "epoch_seconds": clock.seconds,
        "train_seconds": train,
        "construct_seconds": construct,
        "latent_seconds": latent_seconds,
        "n_train": n_train,
        "threads": torch.get_num_threads(),
        "step": model.fits[-1].step if isinstance(model, CVAE) else "",
    }
