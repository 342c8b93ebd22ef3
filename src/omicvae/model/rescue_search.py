"""``rescue``: try remedies on new models of the same cells until one is sound."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import pandas as pd
from anndata import AnnData

from omicvae._core import SettingError, check_fields, flag, integral, real
from omicvae._core.errors import TrainingError
from omicvae.data import obs_column
from omicvae.diagnostics import Diagnosis, Remedy
from omicvae.model.host import adopt
from omicvae.model.own_settings import own_settings
from omicvae.training import Split

log = logging.getLogger("omicvae")


@dataclass(frozen=True, slots=True)
class Limits:
    """How a rescue judges, and when it ends; its arguments document them.

    Raises
    ------
    SettingError
        On an impossible setting.
    """

    labels_key: str | None = None
    max_attempts: int = 6
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        check_fields(self, integral, "max_attempts", minimum=1)
        check_fields(self, real, "max_seconds", minimum=0)

    @classmethod
    def of(cls, given: bool | Mapping[str, Any]) -> Self | None:
        """Take what ``train(rescue=...)`` is given; None for no rescue."""
        if not isinstance(given, Mapping):
            return cls() if flag("rescue", given) else None
        names = [field.name for field in fields(cls)]
        if not set(given) <= set(names):
            raise SettingError(f"rescue takes True or a mapping with {', '.join(names)}, got {sorted(given)}.")
        return cls(**given)

    def check(self, adata: AnnData, split: Split) -> None:
        """Raise where the data have no such labels, or no cells validate."""
        if not len(split.validation):
            raise SettingError(
                "A rescue compares fits on validation cells, and train_size=1.0 leaves none. Leave some, as with 0.9 "
                "(after a first run: model.train(fresh=True, train_size=0.9))."
            )
        if self.labels_key is not None:
            obs_column(adata, self.labels_key)


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One fit of a rescue.

    Attributes
    ----------
    remedy, diagnosis
        What was tried (None for the fit as it was given), and what was found.
    elbo
        β = 1 bound of the validation cells, nats per cell; −inf for a fit that diverged.
    history, seconds
        Its curves; what training and diagnosis took.
    failure
        Why training failed, else empty.
    """

    remedy: Remedy | None
    diagnosis: Diagnosis
    elbo: float
    history: pd.DataFrame
    seconds: float
    failure: str = ""

    @property
    def sound(self) -> bool:
        """Whether there is nothing to mend."""
        return self.diagnosis.sound

    @property
    def rank(self) -> tuple[bool, float]:
        """What the best has most of: soundness first, then the bound."""
        return self.sound, self.elbo


@dataclass(frozen=True, slots=True, eq=False)
class Rescue:
    """The outcome: ``model`` with its ``diagnosis``, and every attempt, that as given first."""

    model: Any
    attempts: tuple[Attempt, ...]
    chosen: int

    @property
    def diagnosis(self) -> Diagnosis:
        """Diagnosis of the chosen model."""
        return self.attempts[self.chosen].diagnosis

    @property
    def healed(self) -> bool:
        """Whether the chosen model is sound."""
        return self.attempts[self.chosen].sound

    def to_frame(self) -> pd.DataFrame:
        """One row per attempt: remedy, verdict, elbo_validation (nats per cell), seconds, failure, chosen."""
        rows = [
            {
                "remedy": "as given" if attempt.remedy is None else attempt.remedy.line,
                "verdict": attempt.diagnosis.verdict,
                "elbo_validation": attempt.elbo,
                "seconds": attempt.seconds,
                "failure": attempt.failure,
                "chosen": i == self.chosen,
            }
            for i, attempt in enumerate(self.attempts)
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return f"<Rescue: {self.attempts[0].diagnosis.verdict} → {self.diagnosis.verdict}, {len(self.attempts)} fits>"


def _untried(attempts: Sequence[Attempt], tried: Set[str], n_epochs: int) -> Iterator[Remedy]:
    """Remedies of the best fit so far, then of the next best, each on top of what had made that fit."""
    for attempt in sorted(attempts, key=lambda attempt: attempt.rank, reverse=True):
        lengthened = attempt.remedy is not None and attempt.remedy.arguments.get("max_epochs", 0) > n_epochs
        for remedy in attempt.diagnosis.remedies:
            if remedy.goes_on or "resume_from" in remedy.arguments:
                continue  # every attempt is a new model
            if lengthened and remedy.arguments.get("max_epochs", 0) > n_epochs:
                continue  # twice the length is enough
            on_top = remedy if attempt.remedy is None else _on_top(attempt.remedy, remedy)
            if _key(on_top) not in tried:
                yield on_top


def _key(remedy: Remedy) -> str:
    """Say what the remedy does, whatever the order of its settings; every attempt has new weights."""
    arguments = {name: value for name, value in remedy.arguments.items() if name != "fresh"}
    return repr([sorted(part.items()) for part in (remedy.model, arguments, remedy.settings)])


def _on_top(first: Remedy, second: Remedy) -> Remedy:
    """Return the second remedy for a model that the first one changed."""
    model = {**first.model, **second.model}
    arguments = {**first.arguments, **second.arguments}
    if model:
        arguments.pop("fresh", None)  # it is a new one
    return replace(second, model=model, arguments=arguments)


def try_remedy(model: Any, remedy: Remedy, labels_key: str | None, arguments: Mapping[str, Any]) -> tuple[Any, Attempt]:
    """Fit a new model of the same cells and split as the remedy says."""
    started = time.perf_counter()
    twin = adopt(object.__new__(type(model)), model.state.twin(remedy.model))
    own, run = dict(remedy.arguments), own_settings(model.state).arguments
    own.pop("fresh", None)  # a twin is new
    changed = {name: value for name, value in own.items() if name not in run or run[name] != value}
    with suppress(TrainingError):  # the model has its best weights, and its fit says why
        twin.train(objective=remedy, **{**own, **arguments, **changed})
    return twin, _judge(twin, remedy, labels_key, started)


def _judge(model: Any, remedy: Remedy | None, labels_key: str | None, started: float) -> Attempt:
    """Diagnose a fit that was begun at ``started``."""
    diagnosis, elbo = model.diagnose(labels_key, umap=False), float("-inf")
    seconds = time.perf_counter() - started
    if diagnosis.verdict != "diverged":
        rows = model.state.require_split("rescue()").validation
        elbo = float(model.get_elbo(indices=rows.tolist()))
    return Attempt(remedy, diagnosis, elbo, model.state.history, seconds, model.state.fits[-1].failure or "")


def rescue(
    model: Any,
    *,
    labels_key: str | None = None,
    max_attempts: int = 6,
    max_seconds: float | None = None,
    **train_arguments: Any,
) -> Rescue:
    """Mend what can be mended of a fit: try the remedies of its diagnosis, and choose the best fit.

    Every attempt is a new model of the same cells with the same training and validation cells; ``model`` itself is
    left as it is. The first sound one (healthy, or nothing to encode) ends the search. Until then the next to be tried
    is the first remedy for the best fit so far that was not tried yet, on top of the network, length and rate that made
    that fit. Among all fits, the given one included, soundness decides and then the ELBO of the validation cells: the
    result is never less sound than what was given, and as sound only with a bound that is no lower. Other than what
    remedies change, every attempt is a run of default length, rate and stopping, with all other settings as they were,
    the further terms of the objective (adversary, discriminator, total correlation) among them.

    Parameters
    ----------
    model
        A trained :class:`CVAE` with its data.
    labels_key
        Labels for the diagnosis, as in ``diagnose``.
    max_attempts
        Most fits to try.
    max_seconds
        No attempt begins later than this; None for no such limit.
    train_arguments
        For ``train`` of every attempt, such as ``progress_bar=False``; what a remedy sets wins.

    Returns
    -------
    Rescue
        ``model`` (the best), ``diagnosis``, ``healed``, ``attempts`` and ``to_frame()``.

    Raises
    ------
    NotSupportedError
        If the model is not trained or has no data.
    SettingError
        If there are no validation cells to compare fits on.
    """
    limits, state = Limits(labels_key, max_attempts, max_seconds), model.state
    with state.one_look():
        limits.check(state.own_adata(), state.require_split("rescue()"))
        return _search(model, limits, train_arguments)


def _search(model: Any, limits: Limits, train_arguments: Mapping[str, Any]) -> Rescue:
    """Try remedies until one is sound, or a limit is reached."""
    labels_key, started = limits.labels_key, time.perf_counter()
    attempts, models, tried = [_judge(model, None, labels_key, started)], [model], set[str]()
    n_epochs = max(fit.planned_epochs for fit in model.state.fits)
    while not attempts[-1].sound and len(attempts) <= limits.max_attempts:
        remedy = next(_untried(attempts, tried, n_epochs), None)
        if remedy is None or (limits.max_seconds is not None and time.perf_counter() - started >= limits.max_seconds):
            break
        tried.add(_key(remedy))
        other, attempt = try_remedy(model, remedy, labels_key, train_arguments)
        log.info(
            "rescue, attempt %d: %s (ELBO %.6g): %s",
            *(len(attempts), attempt.diagnosis.verdict, attempt.elbo, remedy.line),
        )
        attempts.append(attempt)
        models.append(other)
    chosen = max(range(len(attempts)), key=lambda i: attempts[i].rank)
    outcome = Rescue(models[chosen], tuple(attempts), chosen)
    outcome.model.attempts = outcome.attempts
    if not outcome.healed:
        log.warning(
            "rescue: none of %d attempts was sound; the best is %s. See attempts for what was tried.",
            *(len(attempts) - 1, outcome.diagnosis.verdict),
        )
    return outcome
