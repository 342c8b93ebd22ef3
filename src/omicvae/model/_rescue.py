"""``rescue``: try remedies on new models of the same cells until one is sound."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Self

import pandas as pd

from omicvae._core import SettingError, integral
from omicvae._core.errors import TrainingError
from omicvae.diagnostics import Diagnosis, Remedy
from omicvae.model._diagnosis import DiagnosisMixin

log = logging.getLogger("omicvae")

#: Terms of the objective that a remedy leaves as they are: they are what the user wants, not what went wrong.
KEPT_TERMS = ("adversary", "discriminator", "total_correlation")


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One fit of a rescue.

    Attributes
    ----------
    remedy
        What was tried; None for the fit as it was given.
    diagnosis
        What was found.
    elbo
        β = 1 bound of the validation cells, nats per cell; −inf for a fit that diverged.
    history
        Its curves.
    seconds
        Training and diagnosis.
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


def _untried(attempts: Sequence[Attempt], tried: Set[str]) -> Iterator[Remedy]:
    """Remedies of the best fit so far, then of the next best, each on top of what had made that fit."""
    for attempt in sorted(attempts, key=lambda attempt: attempt.rank, reverse=True):
        lengthened = attempt.remedy is not None and "max_epochs" in attempt.remedy.arguments
        for remedy in attempt.diagnosis.remedies:
            if lengthened and "max_epochs" in remedy.arguments:
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


class RescueMixin(DiagnosisMixin):
    """Makes and compares new models of the same cells, split and yardsticks."""

    attempts: tuple[Attempt, ...] = ()

    def _rescued(
        self,
        *,
        labels_key: str | None = None,
        max_attempts: int = 6,
        max_seconds: float | None = None,
        failure: str | None = None,
        arguments: Mapping[str, Any],
    ) -> Rescue:
        """Try remedies until a fit is sound or the budget is spent, and choose the best of all fits."""
        max_attempts = integral("max_attempts", max_attempts, minimum=1)
        self._require_trained("rescue()")
        if self._knows_split and not len(self.validation_indices):
            raise SettingError(
                "rescue() compares fits on validation cells, and train_size=1.0 left none. Train anew: "
                "model.train(fresh=True, train_size=0.9)."
            )
        started = time.perf_counter()
        diagnosis = self.diagnose(labels_key, umap=False)
        first = self._attempt(None, diagnosis, time.perf_counter() - started, failure or "")
        attempts, models, tried = [first], [self], set[str]()
        while not attempts[-1].sound and len(attempts) <= max_attempts:
            remedy = next(_untried(attempts, tried), None)
            if remedy is None or (max_seconds is not None and time.perf_counter() - started >= max_seconds):
                break
            tried.add(_key(remedy))
            model, attempt = self._tried(remedy, labels_key, arguments)
            log.info(
                "rescue, attempt %d: %s (ELBO %.6g): %s",
                *(len(attempts), attempt.diagnosis.verdict, attempt.elbo, remedy.line),
            )
            attempts.append(attempt)
            models.append(model)
        chosen = max(range(len(attempts)), key=lambda i: attempts[i].rank)
        outcome = Rescue(models[chosen], tuple(attempts), chosen)
        outcome.model.attempts = outcome.attempts
        if not outcome.healed:
            log.warning(
                "rescue: none of %d attempts was sound; the best is %s. See attempts for what was tried.",
                *(len(attempts) - 1, outcome.diagnosis.verdict),
            )
        return outcome

    def _tried(self, remedy: Remedy, labels_key: str | None, arguments: Mapping[str, Any]) -> tuple[Self, Attempt]:
        started = time.perf_counter()
        model: Any = self._twin(remedy.model)
        own = {name: value for name, value in remedy.arguments.items() if name != "fresh"}  # a twin is new
        kept = {name: self.objective[name] for name in KEPT_TERMS if self.objective.get(name)}
        remedy = replace(remedy, settings={**kept, **remedy})
        failure = ""
        try:
            model.train(objective=remedy, **{**arguments, **own})
        except TrainingError as error:  # the model has its best weights
            failure = str(error)
        diagnosis = model.diagnose(labels_key, umap=False)
        return model, model._attempt(remedy, diagnosis, time.perf_counter() - started, failure)

    def _attempt(self, remedy: Remedy | None, diagnosis: Diagnosis, seconds: float, failure: str = "") -> Attempt:
        elbo = float("-inf")
        if diagnosis.verdict != "diverged":
            elbo = float(self.get_elbo(indices=self.validation_indices.tolist()))
        return Attempt(remedy, diagnosis, elbo, self.history, seconds, failure)

    def _twin(self, changes: Mapping[str, Any]) -> Self:
        """Make an untrained model of the same cells and split, with other settings of the network."""
        twin = type(self).__new__(type(self))
        architecture = replace(self.config.architecture, **changes)
        twin._assemble(replace(self.config, architecture=architecture), self.schema)
        twin._attach(self._own_adata(), self._cells(None))
        twin._background = self._background
        twin.train_indices, twin.validation_indices = self.train_indices, self.validation_indices
        twin._knows_split = True
        return twin

    def _become(self, other: "RescueMixin") -> None:
        """Take over configuration, network and training of another model of the same cells."""
        for name in (*("config", "schema", "module", "fits", "objective"), *("_store", "_moments", "attempts")):
            setattr(self, name, getattr(other, name))


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
    remedies change, every attempt is a run of default length, rate and stopping, with the further terms of the
    objective (adversary, discriminator, total correlation) as they were.

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
    outcome: Rescue = model._rescued(
        labels_key=labels_key, max_attempts=max_attempts, max_seconds=max_seconds, arguments=train_arguments
    )
    return outcome
