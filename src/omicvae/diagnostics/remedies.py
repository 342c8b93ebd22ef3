"""What to try, best first: settings that can be run as they are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

#: Terms of an objective beside reconstruction and KL: what a user wants, not what went wrong.
TERMS = ("adversary", "discriminator", "total_correlation")
#: How settings end that mean something in a run of a given length alone.
TIMES = ("_epochs", "_steps", "period")


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
        Arguments of ``CVAE``: with any, the remedy needs a new model.
    kl_stays
        Whether what the run itself asked of its KL stays, where it is known.
    call
        What runs it where another library trained the fit; empty: a call of omicvae.
    """

    settings: Mapping[str, Any]
    why: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    kl_stays: bool = False
    call: str = ""

    def __getitem__(self, key: str) -> Any:
        return self.settings[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.settings)

    def __len__(self) -> int:
        return len(self.settings)

    @property
    def goes_on(self) -> bool:
        """Whether it trains the model as it is further."""
        return not (self.model or self.arguments.get("fresh"))

    def of_run(self, own: "Remedy") -> "Remedy":
        """Return the remedy for a run with settings of its ``own``: all of them, but for what the remedy changes.

        A KL that the remedy states replaces that of the run as a whole: free bits, say, exclude a capacity. Other terms
        stay, covariates that an adversary removed already among them. The length stays where others rest on it.
        """
        kl = {name: value for name, value in (own if self.kl_stays else self).items() if name not in TERMS}
        settings = {**kl, **{name: part[name] for part in (own, self) for name in TERMS if name in part}}
        if "adversary" in self and "adversary" in own:
            both = {*own["adversary"].get("covariates", ()), *self["adversary"]["covariates"]}
            settings["adversary"] = {**own["adversary"], "covariates": sorted(both)}
        if "discriminator" in self and "discriminator" in own:  # what is weak enough already is made no stronger
            had, weaker = own["discriminator"], self["discriminator"]
            settings["discriminator"] = {**had, **{n: min(value, had.get(n, value)) for n, value in weaker.items()}}
        parts = [settings, *(value for value in settings.values() if isinstance(value, Mapping))]
        timed = any(name.endswith(TIMES) for part in parts for name in part)
        kept = {name: value for name, value in own.arguments.items() if timed or name != "max_epochs"}
        model = {**own.model, **self.model} if self.model else {}
        return replace(self, settings=settings, arguments={**kept, **self.arguments}, model=model)

    @property
    def line(self) -> str:
        """The call that runs it; arguments of ``CVAE`` that are not named have their defaults."""
        if self.call:
            return self.call
        arguments = [f"{name}={value!r}" for name, value in self.arguments.items()]
        if self.settings:
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
SLOWER = Remedy(
    ELBO,
    "A lower learning rate with clipped gradients keeps every step small.",
    {**FRESH, "learning_rate": 1e-3, "gradient_clip_norm": 10.0},
    kl_stays=True,
)

WEAKER_DISCRIMINATOR = Remedy(
    {**ELBO, "discriminator": {"learning_rate": 1e-4, "updates": 1, "n_hidden": 32}},
    "A small discriminator that learns slowly lets the decoder keep up; one that has won teaches it nothing.",
    FRESH,
    kl_stays=True,
)


def longer(epochs: int, *, kl_stays: bool = False) -> Remedy:
    """Twice as many epochs as were run or planned, 20 at least."""
    why = "Twice the epochs from new weights let the bound come to rest under one learning-rate cycle."
    return Remedy(ELBO, why, {**FRESH, "max_epochs": max(2 * epochs, 20)}, kl_stays=kl_stays)


def target_rate(n_latent: int) -> Remedy:
    """Half a nat for each dimension, held by a controller."""
    rate = max(2.0, n_latent / 2)
    why = f"A controller (Shao et al. 2020) makes the KL as cheap as it must be for a rate of {rate:g} nats."
    return Remedy({"beta": 1.0, "target_rate": rate}, why, FRESH)


def _narrow(n_latent: int, why: str) -> Remedy:
    """Give a new model of so many dimensions no room to memorise."""
    network = {"n_latent": n_latent, "n_hidden": 32, "n_hidden_decoder": None, "dropout_rate": 0.5}
    return Remedy(ELBO, why, model=network, kl_stays=True)


SMALLEST = _narrow(2, "Two dimensions are all that few cells can fill; in more a draw is mostly noise.")


def smaller(n_latent: int) -> Remedy:
    """Offer a narrow network of half the dimensions."""
    why = "A narrow network with half the dimensions and much dropout has no room to memorise."
    return _narrow(max(2, n_latent // 2), why)


def adversary(covariates: list[str]) -> Remedy:
    """Take covariates out of z."""
    told = ", ".join(covariates)
    why = f"A draw tells {told} more than half of the way; an adversary takes it out of z, at some cost."
    return Remedy({**ELBO, "adversary": {"covariates": covariates}}, why, FRESH, kl_stays=True)
