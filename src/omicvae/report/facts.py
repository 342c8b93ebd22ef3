"""What data and model are, as pairs of a name and a text."""

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from omicvae.diagnostics import DiagnosisInputs
from omicvae.objective import Objective

VERSIONS = ("omicvae", "torch", "scvi-tools")
SHOWN_GENES = 5


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Plain values that describe a fit.

    ``setup``, ``model`` and ``objective`` are exact settings, JSON-able: roles of columns, network, what was minimised.
    ``categorical`` names covariates with their numbers of levels, batch first; ``constant_genes`` those that the
    likelihood leaves out. ``n_epochs`` counts all runs; ``planned_epochs``, ``best_epoch``, ``ending`` (where not as
    planned) and ``step`` (which, and why) are those of the last.
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

    @property
    def settings(self) -> dict[str, Mapping[str, Any]]:
        """Exact settings by heading."""
        return {"Model": self.model, "Objective of the last run": self.objective, "Data": self.setup}

    def lines(self) -> dict[str, str]:
        """Name and text of each fact, in reading order; what the fit does not have is left out."""
        setup, model, network = self.setup, self.model, self.model["architecture"]
        shown = ", ".join(self.constant_genes[:SHOWN_GENES]) + ", …" * (len(self.constant_genes) > SHOWN_GENES)
        layers = f"{network['n_layers']} hidden layer{'s' * (network['n_layers'] != 1)} of {network['n_hidden']}"
        lines = {
            "Data": f"{self.n_cells:,} cells × {self.n_genes:,} genes{_if(setup.get('layer'), ', layer {}')}"
            + _if(setup.get("round_counts"), ", counts rounded to whole numbers"),
            "Split": f"{self.n_train:,} cells train, {self.n_validation:,} validate",
            "Covariates": ", ".join(self._covariates()) or "none",
            "Labels": _if(setup.get("labels_key"), "{} (for the diagnosis only)"),
            "Left out": f"{len(self.constant_genes)} constant genes: {shown}" if shown else "",
            "Likelihood": model["likelihood"] + _if(model["dispersion"], ", dispersion {}"),
            "Latent": f"{network['n_latent']} dimensions, prior {model['prior']}",
            "Network": f"{layers}, {network['activation']}, normalization {network['normalization']}",
            "Objective": _changed(self.objective),
            "Training": self._training(),
            "Step": self.step,
            "Seed": str(model["seed"]),
            "Versions": _versions(*VERSIONS),
        }
        return {name: text for name, text in lines.items() if text}

    def _covariates(self) -> Iterator[str]:
        for key, n_levels in self.categorical:
            role = "batch, " if key == self.setup.get("batch_key") else ""
            yield f"{key} ({role}{_levels(n_levels)})"
        yield from (f"{key} (continuous)" for key in self.setup.get("continuous_covariate_keys", ()))
        yield from (f"{key} (size factor)" for key in [self.setup.get("size_factor_key")] if key)

    def _training(self) -> str:
        runs = f"{self.n_runs} runs" if self.n_runs > 1 else ""
        planned = f"{self.planned_epochs} planned" if not runs and self.planned_epochs != self.n_epochs else ""
        best = "" if self.best_epoch is None else f"weights of epoch {self.best_epoch}"
        return ", ".join(filter(None, [f"{self.n_epochs} epochs", runs, planned, best, self.ending]))


@dataclass(frozen=True, slots=True)
class EvidenceFacts:
    """What is known of a fit that another library trained."""

    inputs: DiagnosisInputs

    @property
    def settings(self) -> dict[str, Mapping[str, Any]]:
        """Arguments beside the defaults, where the library keeps them."""
        arguments = self.inputs.run.get("arguments")
        return {"Model, beside the defaults": arguments} if arguments else {}

    def lines(self) -> dict[str, str]:
        """Name and text of each fact, in reading order; what is not known is left out."""
        inputs = self.inputs
        n_judged, levels = len(inputs.kl_WK), {key: len(set(v)) for key, v in inputs.covariates.items()}
        given = ", given to the model" if inputs.labels_conditioned else ""
        lines = {
            "Fit": inputs.origin,
            "Data": f"{len(inputs.mean_NK):,} cells{_if(inputs.base_measure, ', {}')}",
            "Judged on": f"{n_judged:,} cells" + _if(inputs.train_elbo_T is not None, " that did not train"),
            "Covariates": ", ".join(f"{key} ({_levels(n)})" for key, n in levels.items()),
            "Labels": _if(inputs.labels_key, "{}") + given,
            "Latent": f"{inputs.mean_NK.shape[1]} dimensions",
            "Training": _if(len(inputs.history), "{} epochs"),
            "Seed of the diagnosis": str(inputs.seed),
            "Versions": _versions("omicvae"),
        }
        return {name: text for name, text in lines.items() if text}


def _versions(*names: str) -> str:
    return ", ".join([*(f"{name} {version(name)}" for name in names), f"Python {platform.python_version()}"])


def _levels(n: int) -> str:
    return f"{n} level{'s' * (n != 1)}"


def _changed(objective: Mapping[str, Any]) -> str:
    """Fields of the objective that are not the defaults."""
    defaults = Objective().to_dict()
    changed = {name: value for name, value in objective.items() if value != defaults.get(name)}
    return ", ".join(f"{name} {_brief(value)}" for name, value in changed.items()) or "the defaults"


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(settings below)"
    return f"= {value:g}" if isinstance(value, float) else f"= {value}"


def _if(value: Any, text: str) -> str:
    """Put a value into its text; nothing where there is none."""
    return text.format(value) if value else ""
