"""What to try, best first: settings that can be run as they are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from omicvae.diagnostics.measurements import Measurements
from omicvae.diagnostics.rules import Judgement

#: Cells for each dimension: of fewer, a draw in half the dimensions tells more.
FEW_CELLS_PER_DIMENSION = 20


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
        Further arguments of ``train``, such as ``max_epochs`` or ``fresh``.
    model
        Arguments of ``CVAE`` that differ from those of the model: with any, the remedy needs a new one.
    """

    settings: Mapping[str, Any]
    why: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        return self.settings[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.settings)

    def __len__(self) -> int:
        return len(self.settings)

    @property
    def line(self) -> str:
        """The call that runs it; arguments of ``CVAE`` that are not named stay as they are."""
        arguments = [f"{name}={value!r}" for name, value in self.arguments.items()]
        arguments.append(f"objective={dict(self.settings)!r}")
        model = "model"
        if self.model:
            model = f"ov.CVAE(adata, {', '.join(f'{name}={value!r}' for name, value in self.model.items())})"
        return f"{model}.train({', '.join(arguments)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: objective, arguments, model, why, line."""
        return {
            "objective": dict(self.settings),
            "arguments": dict(self.arguments),
            "model": dict(self.model),
            "why": self.why,
            "line": self.line,
        }


ELBO = {"beta": 1.0, "schedule": "linear", "reduction": "sum"}
FRESH = {"fresh": True}

RAMP = Remedy(
    ELBO,
    "The ELBO itself, from new weights: β = 1 on sums over genes and dimensions, the KL ramped in while the decoder "
    "learns to use z, and the weights kept that do best on validation cells.",
    FRESH,
)
FREE_BITS = Remedy(
    {**ELBO, "free_bits": 0.5},
    "Free bits (Kingma et al. 2016) leave the first half nat of each dimension unpunished, so that no dimension is "
    "pressed to nothing.",
    FRESH,
)
LOWER_BETA = Remedy(
    {**ELBO, "beta": 0.3},
    "A cheaper KL buys information in the draw at the price of a posterior further from the prior.",
    FRESH,
)
DEARER = Remedy(
    {**ELBO, "beta": 2.0}, "A KL twice as dear keeps only what carries over, and draws codes to the prior.", FRESH
)


def _target_rate(m: Measurements) -> Remedy:
    rate = max(2.0, (m.usage.n_latent if m.usage is not None else 10) / 2)
    return Remedy(
        {"beta": 1.0, "target_rate": rate},
        f"A controller (Shao et al. 2020) makes the KL as cheap as it must be for a rate of {rate:g} nats.",
        FRESH,
    )


def _few_cells(m: Measurements) -> bool:
    return m.usage is not None and m.n_cells < FEW_CELLS_PER_DIMENSION * m.usage.n_latent


def _narrow(n_latent: int, why: str) -> Remedy:
    return Remedy(
        ELBO, why, model={"n_latent": n_latent, "n_hidden": 32, "n_hidden_decoder": None, "dropout_rate": 0.5}
    )


def _smaller(m: Measurements) -> Remedy:
    n_latent = max(2, (m.usage.n_latent if m.usage is not None else 10) // 2)
    return _narrow(n_latent, "A narrow network with half the dimensions and much dropout has no room to memorise.")


SMALLEST = _narrow(2, "Two dimensions are all that few cells can fill; in more a draw is mostly noise.")


def _longer(m: Measurements) -> Remedy:
    epochs = max(m.curves.n_epochs, m.planned_epochs or 0)
    return Remedy(
        ELBO,
        "Twice the epochs from new weights let the bound come to rest under one learning-rate cycle.",
        {**FRESH, "max_epochs": max(2 * epochs, 20)},
    )


def _slower(m: Measurements) -> Remedy:
    return Remedy(
        ELBO,
        "A lower learning rate with clipped gradients keeps every step small.",
        {**FRESH, "learning_rate": 1e-3, "gradient_clip_norm": 10.0},
    )


# the remedies of each verdict, best first


def collapsed(m: Measurements) -> tuple[Remedy, ...]:
    """Pay for the latent, or make it cheaper."""
    return RAMP, FREE_BITS, LOWER_BETA, _target_rate(m)


def partial_collapse(m: Measurements) -> tuple[Remedy, ...]:
    """Pay for the latent; give few cells fewer dimensions, or train longer."""
    return RAMP, *((_smaller(m), SMALLEST) if _few_cells(m) else ()), LOWER_BETA, _longer(m), FREE_BITS


def undertrained(m: Measurements) -> tuple[Remedy, ...]:
    """Train longer, or with smaller steps."""
    return RAMP, _longer(m), _slower(m)


def diverged(m: Measurements) -> tuple[Remedy, ...]:
    """Take smaller steps."""
    return _slower(m), RAMP


def overfit(m: Measurements) -> tuple[Remedy, ...]:
    """Keep the best weights, leave no room to memorise, or make memory dearer."""
    return RAMP, _smaller(m), *((SMALLEST,) if _few_cells(m) else ()), DEARER


def under_regularised(m: Measurements) -> tuple[Remedy, ...]:
    """Pay for the KL, long enough."""
    return RAMP, _longer(m), DEARER


def healthy(m: Measurements) -> tuple[Remedy, ...]:
    """Offer an adversary alone, where a covariate can be read from a draw."""
    leaking = [] if m.leakage is None else m.leakage.leaking
    if not leaking:
        return ()
    why = f"A draw tells {', '.join(leaking)} more than half of the way; an adversary takes it out of z, at some cost."
    return (Remedy({**ELBO, "adversary": {"covariates": leaking}}, why, FRESH),)


def ranked_remedies(judgement: Judgement[Measurements, Remedy], m: Measurements) -> tuple[Remedy, ...]:
    """Remedies of the verdict, then of what was found beside it, each once; none where nothing is to be mended."""
    own = judgement.rule.remedies(m)
    further = [remedy for rule in judgement.findings for remedy in rule.remedies(m)] if own else []
    return tuple({remedy.line: remedy for remedy in (*own, *further)}.values())
