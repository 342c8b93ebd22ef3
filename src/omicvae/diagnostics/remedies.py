"""What to try, best first: settings that can be run as they are."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from omicvae.diagnostics.measurements import Measurements


@dataclass(frozen=True, slots=True, eq=False)
class Remedy(Mapping[str, Any]):
    """Objective settings that may help; a mapping, so that ``model.train(objective=remedy)`` takes it.

    Attributes
    ----------
    settings
        Fields of the objective: what the mapping holds.
    why
        Why this should help, one sentence.
    arguments
        Further arguments of ``train``, such as ``max_epochs``.
    """

    settings: Mapping[str, Any]
    why: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        return self.settings[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.settings)

    def __len__(self) -> int:
        return len(self.settings)

    @property
    def line(self) -> str:
        """The call that runs it."""
        arguments = [f"{name}={value!r}" for name, value in self.arguments.items()]
        arguments.append(f"objective={dict(self.settings)!r}")
        return f"model.train({', '.join(arguments)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: objective, arguments, why, line."""
        return {
            "objective": dict(self.settings),
            "arguments": dict(self.arguments),
            "why": self.why,
            "line": self.line,
        }


RAMP = {"beta": 1.0, "schedule": "linear", "warmup": 0.3, "reduction": "sum"}


def _collapsed(m: Measurements) -> tuple[Remedy, ...]:
    return (
        Remedy(
            RAMP,
            "β = 1 on sums over genes and dimensions, with the KL ramped in, lets the decoder learn to use z "
            "before z "
            "has to pay for itself.",
        ),
        Remedy(
            {**RAMP, "free_bits": 0.1},
            "Free bits (Kingma et al. 2016) leave the first 0.1 nats of each dimension unpunished, so that "
            "no "
            "dimension is pressed to nothing.",
        ),
        Remedy(
            {"beta": 1.0, "schedule": "cyclical", "n_cycles": 4, "reduction": "sum"},
            "A cyclical schedule (Fu et al. 2019) reopens the latent several times, each time from a better decoder.",
        ),
    )


def _partial(m: Measurements) -> tuple[Remedy, ...]:
    first, free_bits, cyclical = _collapsed(m)
    weaker = Remedy(
        {**RAMP, "beta": 0.5},
        "If β was 1 already: half of it buys information in the draw at the price of a posterior further "
        "from the prior.",
    )
    return first, free_bits, weaker, cyclical


def _longer(m: Measurements) -> dict[str, int]:
    epochs = max(m.curves.n_epochs, m.planned_epochs or 0)
    return {"max_epochs": max(2 * epochs, 20)}


def _undertrained(m: Measurements) -> tuple[Remedy, ...]:
    settings = RAMP if m.curves.settled is False else {"beta": 1.0, "schedule": "constant", "reduction": "sum"}
    return (
        Remedy(settings, "Twice the epochs let the bound come to rest.", _longer(m)),
        Remedy(RAMP, "The same with a fresh ramp, should the longer run stay flat.", _longer(m)),
    )


def _diverged(m: Measurements) -> tuple[Remedy, ...]:
    return (
        Remedy(
            {**RAMP, "warmup": 0.5},
            "A lower learning rate and a longer ramp keep the first steps small. If the model's own output "
            "is not "
            "finite, start from a fresh model.",
            {"learning_rate": 1e-3},
        ),
    )


def _overfit(m: Measurements) -> tuple[Remedy, ...]:
    shorter = max(5, int(m.curves.n_epochs / 2))
    return (
        Remedy(
            {**RAMP, "beta": 2.0},
            "A KL twice as dear keeps only what carries over. Start from a fresh model: memorised weights "
            "stay. Fewer "
            "dimensions (n_latent) and more dropout (dropout_rate) act the same way.",
        ),
        Remedy(
            RAMP,
            "A shorter run memorises less; again from a fresh model.",
            {"max_epochs": shorter},
        ),
    )


REMEDIES: Mapping[str, Callable[[Measurements], tuple[Remedy, ...]]] = {
    "diverged": _diverged,
    "undertrained": _undertrained,
    "collapsed": _collapsed,
    "partial_collapse": _partial,
    "overfit": _overfit,
    "healthy": lambda m: (),
}


def remedies_for(verdict: str, measurements: Measurements) -> tuple[Remedy, ...]:
    """Ranked remedies for a verdict; none for a healthy fit."""
    return REMEDIES[verdict](measurements)
