"""What data and model are, as pairs of a name and a text."""

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from omicvae.objective import Objective

VERSIONS = ("omicvae", "torch", "scvi-tools")
SHOWN_GENES = 5


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Plain values that describe a fit.

    Attributes
    ----------
    n_cells, n_genes, n_train, n_validation
        Sizes of the data and of its split.
    categorical
        Categorical covariates and their numbers of levels, batch first.
    constant_genes
        Names of genes that the likelihood leaves out.
    setup, model, objective
        Exact settings, JSON-able: roles of columns, network, what was minimised.
    n_epochs, planned_epochs, best_epoch
        Epochs over all runs; planned length and best epoch of the last.
    ending
        How the last run ended, where not as planned.
    step
        Which training step ran in it, and why.
    """

    n_cells: int
    n_genes: int
    n_train: int
    n_validation: int
    categorical: tuple[tuple[str, int], ...]
    setup: Mapping[str, Any]
    model: Mapping[str, Any]
    objective: Mapping[str, Any]
    n_epochs: int
    planned_epochs: int
    best_epoch: int | None
    n_runs: int = 1
    ending: str = ""
    constant_genes: tuple[str, ...] = ()
    step: str = ""

    def lines(self) -> dict[str, str]:
        """Name and text of each fact, in reading order; what the fit does not have is left out."""
        return dict(self._lines())

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield "Data", f"{self.n_cells:,} cells × {self.n_genes:,} genes" + self._layer()
        yield "Split", f"{self.n_train:,} cells train, {self.n_validation:,} validate"
        yield "Covariates", ", ".join(self._covariates()) or "none"
        if self.setup.get("labels_key"):
            yield "Labels", f"{self.setup['labels_key']} (for the diagnosis only)"
        if self.constant_genes:
            names = ", ".join(self.constant_genes[:SHOWN_GENES]) + (
                ", …" if len(self.constant_genes) > SHOWN_GENES else ""
            )
            yield "Left out", f"{len(self.constant_genes)} constant genes: {names}"
        network = self.model["architecture"]
        dispersion = self.model["dispersion"]
        yield "Likelihood", self.model["likelihood"] + (f", dispersion {dispersion}" if dispersion else "")
        yield "Latent", f"{network['n_latent']} dimensions, prior {self.model['prior']}"
        yield (
            "Network",
            f"{_layers(network['n_layers'], network['n_hidden'])}, {network['activation']}, "
            f"normalization {network['normalization']}",
        )
        yield "Objective", _changed(self.objective)
        yield "Training", self._training()
        if self.step:
            yield "Step", self.step
        yield "Seed", str(self.model["seed"])
        yield (
            "Versions",
            ", ".join([*(f"{name} {version(name)}" for name in VERSIONS), f"Python {platform.python_version()}"]),
        )

    def _layer(self) -> str:
        return f", layer {self.setup['layer']}" if self.setup.get("layer") else ""

    def _covariates(self) -> Iterator[str]:
        for key, n_levels in self.categorical:
            role = "batch, " if key == self.setup.get("batch_key") else ""
            yield f"{key} ({role}{n_levels} level{'s' * (n_levels != 1)})"
        for key in self.setup.get("continuous_covariate_keys", ()):
            yield f"{key} (continuous)"
        if self.setup.get("size_factor_key"):
            yield f"{self.setup['size_factor_key']} (size factor)"

    def _training(self) -> str:
        parts = [f"{self.n_epochs} epochs"]
        if self.n_runs > 1:
            parts.append(f"{self.n_runs} runs")
        elif self.planned_epochs != self.n_epochs:
            parts.append(f"{self.planned_epochs} planned")
        if self.best_epoch is not None:
            parts.append(f"weights of epoch {self.best_epoch}")
        return ", ".join(parts + ([self.ending] if self.ending else []))


def _layers(n_layers: int, n_hidden: int) -> str:
    return f"{n_layers} hidden layer{'s' * (n_layers != 1)} of {n_hidden}"


def _changed(objective: Mapping[str, Any]) -> str:
    """Fields of the objective that are not the defaults."""
    defaults = Objective().to_dict()
    changed = {name: value for name, value in objective.items() if value != defaults.get(name)}
    return ", ".join(f"{name} {_brief(value)}" for name, value in changed.items()) or "the defaults"


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(settings below)"
    return f"= {value:g}" if isinstance(value, float) else f"= {value}"
