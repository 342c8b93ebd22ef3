"""``stability``: the same model fitted with several seeds, and what the fits agree on."""

import inspect
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from omicvae._core import SettingError, TrainingError, integral
from omicvae._core.words import unknown_settings
from omicvae.analysis.stability import Fit, Stability, compare_fits
from omicvae.data import Transform, obs_column
from omicvae.diagnostics.probing import DRAW, PCA
from omicvae.model.cvae import CVAE
from omicvae.model.host import adopt
from omicvae.model.state import ModelState
from omicvae.training import OWN, CellPasses

#: cells that are compared, at most
MAX_CELLS = 3000
#: levels whose effects are compared, at most
MAX_LEVELS = 50
#: arguments of ``train`` that belong to one run
_OF_A_RUN = ("seed", "fresh", "checkpoint_dir", "resume_from", "rescue")


def stability(
    data: AnnData | CVAE,
    seeds: int | Sequence[int] = 5,
    *,
    labels_key: str | None = None,
    groupby: str | None = None,
    **settings: Any,
) -> Stability:
    """Fit a model with several seeds, and say what can be relied on: what the fits agree on.

    All fits have the same cells, and the same of them validate; weights, order of cells and noise are others. The
    cells are in memory once.

    Parameters
    ----------
    data
        AnnData, set up or not, as for ``CVAE``; or a trained ``CVAE``, which is one of the fits: the others repeat its
        settings and its calls of ``train``.
    seeds
        Number of fits (seeds 0, 1, …), or their seeds.
    labels_key
        Labels for the probe, as in ``diagnose``; None takes those of the set-up.
    groupby
        Whose effects on genes are compared. A covariate of the model: all cells decoded at each level (of a number: one
        SD above the mean and one below), less the mean of the other levels. Another column of ``obs``: the cells of
        each level decoded as they are, less the other levels; so too where covariates do not enter the decoder. None
        takes the first categorical covariate of 2 to 50 levels, and else the variance over cells that the latent gives
        each gene. Counts are compared in log (size factors or shares), others in data units.
    settings
        Of ``CVAE`` and of ``train``, by name; none with a model.

    Returns
    -------
    Stability
        Print it for what can be relied on; ``fits``, ``genes`` and ``to_frame()`` have the numbers.

    Raises
    ------
    SettingError
        On fewer than two seeds, seeds that repeat, or settings that neither ``CVAE`` nor ``train`` has.
    DataError
        Where there is no such column.

    References
    ----------
    Kornblith et al. (2019), Similarity of neural network representations revisited.
    """
    if isinstance(data, CVAE):
        if settings:
            raise SettingError(f"A model keeps its settings; leave out {', '.join(settings)}, or pass its AnnData.")
        data.state.require_split("stability()")
        data.state.require_own_weights("stability()")
        first, runs = data, [dict(fit.settings) for fit in data.fits]
        chosen = _seeds(seeds, data.config.seed)
    else:
        chosen = _seeds(seeds)
        own, run = sorted_settings("stability()", settings, but=_OF_A_RUN)
        first, runs = CVAE(data, seed=chosen[0], **own), [run]
    runs = [{name: value for name, value in run.items() if name not in _OF_A_RUN} for run in runs]
    with first.state.one_look():
        labels_key = labels_key or first.schema.keys.labels_key
        if labels_key is not None:
            obs_column(first.state.own_adata(), labels_key)
        _contrasts(first.state, groupby)  # what cannot be compared is refused before the fits
        if not first.fits:
            _train(first, runs)
        fits = [_measured(first, labels_key, groupby)]
        for seed in chosen[1:]:
            twin: CVAE = adopt(object.__new__(type(first)), first.state.twin({"seed": seed}))
            _train(twin, runs)
            fits.append(_measured(twin, labels_key, groupby))
        effect = _contrasts(first.state, groupby)
    genes, labels = first.schema.gene_names, labels_key or ""
    return compare_fits(fits, genes=genes, contrasts=effect.names, effect=effect.what, labels=labels)


def _seeds(given: int | Sequence[int], own: int | None = None) -> list[int]:
    """Return different seeds, that of a model first."""
    if np.ndim(given):
        seeds = [integral("a seed", seed, minimum=0) for seed in given]  # type: ignore[union-attr]
        seeds = seeds if own is None else [own, *(seed for seed in seeds if seed != own)]
    else:
        n = integral("seeds", given, minimum=1)
        rest = [seed for seed in range(n + 1) if seed != own]
        seeds = ([] if own is None else [own]) + rest
        seeds = seeds[:n]
    if len(seeds) < 2 or len(set(seeds)) < len(seeds):
        raise SettingError(f"seeds must be two or more different ones (or their number), got {given!r}.")
    return seeds


def sorted_settings(
    owner: str, settings: Mapping[str, Any], but: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell settings of the model from those of its training; ``but`` are those that ``owner`` does not take.

    Raises
    ------
    SettingError
        On settings that neither has.
    """
    of_model = [
        name for name in inspect.signature(CVAE.__init__).parameters if name not in ("self", "adata", "unknown")
    ]
    of_train = [name for name in inspect.signature(CVAE.train).parameters if name not in ("self", "trainer_arguments")]
    known = [name for name in (*of_model, *of_train) if name not in but]
    if unknown := set(settings) - set(known):
        raise unknown_settings(owner, sorted(unknown), known)
    own = {name: value for name, value in settings.items() if name in of_model}
    return own, {name: value for name, value in settings.items() if name not in of_model}


def _train(model: CVAE, runs: Sequence[Mapping[str, Any]]) -> None:
    for run in runs:
        with suppress(TrainingError):  # the model has its best weights, and its diagnosis says what happened
            model.train(**{"progress_bar": False, **run})


@dataclass(frozen=True, slots=True)
class _Contrasts:
    """What is compared: its name, and level → cells and covariates to decode at; one level for a variance."""

    what: str
    levels: Mapping[str, tuple[NDArray[np.int64], Transform]]

    @property
    def names(self) -> list[str]:
        """Names of the rows of :func:`_effects`."""
        levels = list(self.levels)
        if len(levels) == 2:
            return [f"{levels[1]} − {levels[0]}"]
        return [f"{level} − others" for level in levels] if len(levels) > 2 else levels


def _measured(model: CVAE, labels_key: str | None, groupby: str | None) -> Fit:
    """Take from a fit what is compared."""
    state, diagnosis = model.state, model.diagnose(labels_key, seed=0, umap=False)  # the same folds for all
    probes, scores = diagnosis.probes, {}
    if labels_key is not None and not probes.empty:
        scores = dict(probes.query("classifier == 'logistic'")[["representation", "balanced_accuracy"]].to_numpy())
    validation = state.require_split("stability()").validation
    return Fit(
        seed=state.config.seed,
        verdict=diagnosis.verdict,
        sound=diagnosis.sound,
        elbo=float(model.get_elbo(indices=validation.tolist())) if len(validation) else float("nan"),
        latent_NK=np.asarray(model.get_latent_representation(indices=_compared(state).tolist())),
        effects_LG=_effects(state, _contrasts(state, groupby).levels.values()),
        probe=float(scores.get(DRAW, np.nan)),
        probe_pca=float(scores.get(PCA, np.nan)),
    )


def _compared(state: ModelState) -> NDArray[np.int64]:
    """Rows of the cells that are compared, the same for all fits."""
    n_cells = state.cells().n_cells
    return np.sort(np.random.default_rng(0).permutation(n_cells)[:MAX_CELLS])


def _contrasts(state: ModelState, groupby: str | None) -> _Contrasts:
    """Find the levels that are compared."""
    rows, schema = _compared(state), state.schema
    if groupby is None:
        groupby = next((part.key for part in schema.categorical if 2 <= len(part.levels) <= MAX_LEVELS), None)
    if groupby is None:
        return _Contrasts("variance that the latent gives genes", {"variance": (rows, OWN)})
    named: dict[str, dict[str, Any]] = {
        **{levels.key: {str(level): level for level in levels.levels} for levels in schema.categorical},
        **{s.key: {f"{at:.4g}": at for at in (s.mean - s.sd, s.mean + s.sd)} for s in schema.continuous},
    }
    if groupby in named and state.config.architecture.decode_covariates:
        levels = {name: (rows, Transform.of(schema, {groupby: at})) for name, at in named[groupby].items()}
    else:
        column: pd.Series = obs_column(state.own_adata(), groupby).iloc[rows]
        known = column.dropna().astype(str)
        levels = {level: (rows[(column.astype(str) == level).to_numpy()], OWN) for level in sorted(set(known))}
    if not 2 <= len(levels) <= MAX_LEVELS:
        raise SettingError(
            f"groupby={groupby!r} has {len(levels)} levels among the cells that are compared; effects are differences "
            f"between 2 to {MAX_LEVELS}."
        )
    return _Contrasts(f"order of genes by effect of {groupby}", levels)


def _effects(state: ModelState, levels: Collection[tuple[NDArray[np.int64], Transform]]) -> NDArray[np.float64]:
    """Effects (L, G): the mean over cells as they are decoded at each level, less that of the others; or a variance."""
    genes, in_log = range(state.schema.n_genes), state.module.likelihood.support == "counts"

    def decoded(rows: NDArray[np.int64], target: Transform) -> NDArray[np.float64]:
        passes = CellPasses(state.module, state.cells(), rows)
        values_NG = passes.decode(genes, (target,), seed=0, n_samples=None).astype(np.float64)
        return np.log(np.maximum(values_NG, 1e-30)) if in_log else values_NG

    if len(levels) == 1:
        return np.stack([decoded(*level).var(0) for level in levels])
    means_LG = np.stack([decoded(*level).mean(0) for level in levels])
    effects_LG = means_LG - (means_LG.sum(0) - means_LG) / (len(levels) - 1)
    return effects_LG[1:] if len(levels) == 2 else effects_LG  # of two the one is the other with its sign turned
