"""The engine of every verdict: an ordered table of rules, of which the first that holds is the verdict.

It knows nothing of what is judged: a fit with its measurements, or curves alone with their statistics.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from omicvae.diagnostics.remedies import Remedy

#: What is judged.
Statistics = TypeVar("Statistics")

#: How grave a verdict is, for colours: nothing to mend, to be looked at, to be mended.
Tone = Literal["good", "warning", "bad"]


@dataclass(frozen=True, slots=True)
class Rule(Generic[Statistics]):
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
        What to try, best first; nothing where nothing is to be mended.
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
    remedies: Callable[[Statistics], tuple[Remedy, ...]] = lambda _: ()
    implies: tuple[str, ...] = ()
    sound: bool = False
    tone: Tone = "bad"
    alone: bool = False


def judge(rules: Sequence[Rule[Statistics]], statistics: Statistics) -> list[Rule[Statistics]]:
    """Apply a table: the first rule that holds is the verdict, the others are findings unless it implies them.

    The last rule of a table must always hold and be one that stands ``alone``, such as "healthy".
    """
    verdict, *others = (rule for rule in rules if rule.condition(statistics))
    return [verdict, *(rule for rule in others if not rule.alone and rule.name not in verdict.implies)]


def ranked_remedies(judged: Sequence[Rule[Statistics]], statistics: Statistics) -> tuple[Remedy, ...]:
    """Remedies of the verdict, then of what was found beside it, each once; none where nothing is to be mended."""
    own = judged[0].remedies(statistics)
    further = (remedy for rule in judged[1:] for remedy in rule.remedies(statistics)) if own else ()
    return each_once((*own, *further), lambda remedy: (remedy.line, remedy.kl_stays))


def each_once(remedies: Iterable[Remedy], key: Callable[[Remedy], Hashable]) -> tuple[Remedy, ...]:
    """Keep the first remedy of each key."""
    firsts: dict[Hashable, Remedy] = {}
    for remedy in remedies:
        firsts.setdefault(key(remedy), remedy)
    return tuple(firsts.values())
