"""The engine of every verdict: an ordered table of rules, of which the first that holds is the verdict.

It knows nothing of what is judged: a fit with its measurements, or curves alone with their statistics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

#: What is judged, and what a remedy is.
Statistics = TypeVar("Statistics")
RemedyType = TypeVar("RemedyType")

#: How grave a verdict is, for colours: nothing to mend, to be looked at, to be mended.
Tone = Literal["good", "warning", "bad"]


def no_remedies(statistics: Any) -> tuple[Any, ...]:
    """Offer nothing, where nothing is to be mended."""
    return ()


@dataclass(frozen=True, slots=True)
class Rule(Generic[Statistics, RemedyType]):
    """All that there is to say about one verdict.

    Attributes
    ----------
    name
        The verdict.
    condition
        Whether it holds.
    headline
        Its sentence.
    remedies
        What to try, best first.
    implies
        Names of verdicts that follow from this one anyway and would only confuse beside it.
    sound
        Whether there is nothing to mend, so that a search for a better fit ends here.
    tone
        How grave it is.
    alone
        Whether it is a verdict only where no rule before it holds, and never a finding beside another.
    """

    name: str
    condition: Callable[[Statistics], bool]
    headline: Callable[[Statistics], str]
    remedies: Callable[[Statistics], tuple[RemedyType, ...]] = no_remedies
    implies: tuple[str, ...] = ()
    sound: bool = False
    tone: Tone = "bad"
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Judgement(Generic[Statistics, RemedyType]):
    """The rule that is the verdict, and those that hold beside it and do not follow from it."""

    rule: Rule[Statistics, RemedyType]
    findings: tuple[Rule[Statistics, RemedyType], ...]


def judge(rules: Sequence[Rule[Statistics, RemedyType]], statistics: Statistics) -> Judgement[Statistics, RemedyType]:
    """Apply a table: the first rule that holds is the verdict, the others are findings unless it implies them.

    The last rule of a table must always hold and be one that stands ``alone``, such as "healthy".
    """
    first, *others = (rule for rule in rules if rule.condition(statistics))
    return Judgement(first, tuple(rule for rule in others if not rule.alone and rule.name not in first.implies))
