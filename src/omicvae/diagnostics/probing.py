"""The classification check: labels read from a draw, from standardised means and from PCA."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from omicvae.diagnostics._statistics import Estimate
from omicvae.metrics.classification import (
    PermutedInterval,
    ProbeScore,
    compare_probes,
    n_usable_classes,
    permuted_interval,
    probe,
)
from omicvae.metrics.labels import Array

LEAKAGE_CELLS = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """Scores of the same labels on the same folds.

    Attributes
    ----------
    draw, means, reference
        Logistic probe of a posterior draw, of the standardised posterior means, and of PCA.
    draw_knn, means_knn, reference_knn
        The same with 15 nearest neighbours.
    permuted
        95 % interval of the draw's balanced accuracy under permuted labels.
    lost
        Balanced accuracy of PCA minus that of the draw (mean and SE paired over cells).
    fallback
        Whether the classes are k-means classes of the data and not labels.
    conditioned
        Whether the model was given the labels: then the probe proves nothing either way.
    """

    key: str
    draw: ProbeScore
    means: ProbeScore
    reference: ProbeScore
    draw_knn: ProbeScore
    means_knn: ProbeScore
    reference_knn: ProbeScore
    permuted: PermutedInterval
    lost: Estimate
    fallback: bool
    conditioned: bool

    @property
    def learnable(self) -> bool:
        """Whether PCA reads the labels better than chance; if not, the labels cannot judge the latent."""
        return self.reference.balanced_accuracy > self.permuted.high

    @property
    def at_chance(self) -> bool:
        """Whether the draw is read no better than permuted labels."""
        return self.draw.balanced_accuracy <= self.permuted.high

    @property
    def retained(self) -> float:
        """Share of PCA's balanced accuracy above chance that the draw keeps; 1 where PCA has none."""
        chance, reference = self.draw.chance, self.reference.balanced_accuracy
        if reference <= chance:
            return 1.0
        return (self.draw.balanced_accuracy - chance) / (reference - chance)

    def to_frame(self) -> pd.DataFrame:
        """One row per representation and classifier, with the permuted interval and the key."""
        scores = {
            "posterior draw": (self.draw, self.draw_knn),
            "standardised means": (self.means, self.means_knn),
            "PCA": (self.reference, self.reference_knn),
        }
        frames = [score.to_frame().assign(representation=name) for name, pair in scores.items() for score in pair]
        table = pd.concat(frames, ignore_index=True)
        table.insert(0, "representation", table.pop("representation"))
        return table.assign(
            permuted_low=self.permuted.low,
            permuted_high=self.permuted.high,
            labels=self.key,
            fallback=self.fallback,
        )


def probe_latents(
    draw_NK: Array,
    mean_NK: Array,
    reference_NK: Array,
    *,
    labels_N: Array,
    key: str,
    fallback: bool = False,
    conditioned: bool = False,
    seed: int = 0,
    n_folds: int = 5,
) -> Probes | None:
    """Probe draw, means and PCA for the labels, over all cells.

    None where fewer than two classes are large enough.

    Parameters
    ----------
    draw_NK, mean_NK, reference_NK
        A posterior draw, posterior means, and PCA scores of the same cells.
    labels_N
        Labels, or k-means classes (then ``fallback=True``); None or NaN is missing.
    """
    if n_usable_classes(labels_N, n_folds=n_folds) < 2:
        return None
    features = {"draw": draw_NK, "means": mean_NK, "reference": reference_NK}
    linear = {name: probe(values, labels_N, n_folds=n_folds, seed=seed) for name, values in features.items()}
    knn = {
        f"{name}_knn": probe(values, labels_N, classifier="knn", n_folds=n_folds, seed=seed)
        for name, values in features.items()
    }
    difference, se = compare_probes(linear["reference"], linear["draw"])
    return Probes(
        key=key,
        **linear,
        **knn,
        permuted=permuted_interval(draw_NK, labels_N, n_folds=n_folds, seed=seed),
        lost=Estimate(difference, se, len(linear["draw"].codes_M)),
        fallback=fallback,
        conditioned=conditioned,
    )


def leakage(draw_NK: Array, covariates: Mapping[str, Array], *, seed: int = 0) -> dict[str, ProbeScore]:
    """Probe a posterior draw for each categorical covariate: what of it the latent still holds.

    Covariates with fewer than two levels of 5 cells are left out. At most 2000 cells take part.
    """
    return {
        key: probe(draw_NK, values_N, seed=seed, max_cells=LEAKAGE_CELLS)
        for key, values_N in covariates.items()
        if n_usable_classes(values_N) >= 2
    }
