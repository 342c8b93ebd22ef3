"""The classification check: labels read from a draw, from standardised means and from PCA."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from omicvae.diagnostics.estimate import Estimate
from omicvae.diagnostics.evidence_table import Row, shown
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

#: A draw that keeps less than this share of PCA's balanced accuracy above chance has lost information.
#: Measured with small NB VAEs: 0.90 to 1.01 at β = 1 (PBMC with 10 and 32 dimensions, paul15, mouse bladder), down to
#: 0.74 where 500 genes hold some hundred counts a cell and the best posterior is a wide one (cbmc_top2000, pbmc_facs);
#: 0.55 at β = 12, 0.15 at 31 and 0 at 72.
RETAINED_SHARE = 0.7

#: Without labels the classes are cut out of the data themselves, where PCA finds them too easily: ask for less.
RETAINED_SHARE_FALLBACK = 0.5

#: The loss must also be visible in absolute terms: below a tenth it is within what folds and noise do.
LOST_ACCURACY = 0.1

#: A covariate leaks when a draw tells it by more than this share of the way from chance to certainty.
LEAKING_SHARE = 0.5


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

    @property
    def counts(self) -> bool:
        """Whether the probe proves anything: labels the model was not given, which PCA reads better than chance."""
        return self.learnable and not self.conditioned

    @property
    def share_wanted(self) -> float:
        """Share of PCA's balanced accuracy above chance that a draw must keep."""
        return RETAINED_SHARE_FALLBACK if self.fallback else RETAINED_SHARE

    def below_pca(self, gain: float) -> bool:
        """Whether the draw is read well below PCA: in share, in absolute terms, and beyond its error.

        Classes cut from noise are lost by every model; without a gain that is overfitting and not a loss.
        """
        clear = self.lost.low > 0 and self.lost.mean > LOST_ACCURACY
        return self.counts and clear and self.retained < self.share_wanted and not (self.fallback and gain <= 0)

    def rows(self, *, lost: bool) -> Iterator[Row]:
        """Draw against permuted labels and against PCA (``lost``: less than it should), means and PCA beside it."""
        draw, name = self.draw, f"probe of {self.key}"
        remark = " (the model was given these labels: proves nothing)" if self.conditioned else ""
        remark += " (no labels: classes cut from the data)" if self.fallback else ""
        yield Row(
            f"{name}, draw",
            draw.balanced_accuracy,
            f"> {self.permuted.high:.2f}",
            (not self.at_chance) if self.counts else None,
            f"balanced accuracy from a posterior draw; permuted labels give {self.permuted.low:.2f}–"
            f"{self.permuted.high:.2f}; macro-F1 {draw.macro_f1:.2f}, accuracy {draw.accuracy:.2f} (majority "
            f"{draw.majority_rate:.2f}), kNN {self.draw_knn.balanced_accuracy:.2f}{remark}",
        )
        yield Row(
            f"{name}, share of PCA kept",
            self.retained,
            f"≥ {self.share_wanted:.2f}",
            (not lost) if self.counts else None,
            f"of PCA's balanced accuracy above chance; the draw loses {self.lost.mean:.2f} ± {self.lost.se:.2f}",
        )
        left_out = f"; too few cells: {', '.join(self.means.left_out)}" if self.means.left_out else ""
        beside = {
            "standardised means": (self.means, self.means_knn, "shown beside: scaling magnifies what the noise drowns"),
            "PCA": (self.reference, self.reference_knn, f"with as many dimensions, same folds{left_out}"),
        }
        for title, (score, knn, text) in beside.items():
            scores = f"macro-F1 {score.macro_f1:.2f}, accuracy {score.accuracy:.2f}, kNN {knn.balanced_accuracy:.2f}"
            yield shown(f"{name}, {title}", score.balanced_accuracy, f"{text}; {scores}")

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


@dataclass(frozen=True, slots=True, eq=False)
class Leakage:
    """Probe of a posterior draw for each categorical covariate: what of it the latent still holds."""

    scores: Mapping[str, ProbeScore]

    @property
    def leaking(self) -> list[str]:
        """Covariates that a draw tells by more than half of the way from chance to certainty."""
        return [
            key
            for key, score in self.scores.items()
            if score.balanced_accuracy - score.chance > LEAKING_SHARE * (1 - score.chance)
        ]

    def rows(self) -> Iterator[Row]:
        """Give a row per covariate, shown."""
        for key, score in self.scores.items():
            yield shown(
                f"leakage of {key}",
                score.balanced_accuracy,
                f"balanced accuracy from a draw, chance {score.chance:.2f}; accuracy {score.accuracy:.2f} (majority "
                f"{score.majority_rate:.2f})",
            )


def leakage(draw_NK: Array, covariates: Mapping[str, Array], *, seed: int = 0) -> Leakage:
    """Probe a posterior draw for each categorical covariate, on at most 2000 cells.

    Covariates with fewer than two levels of 5 cells are left out.
    """
    return Leakage(
        {
            key: probe(draw_NK, values_N, seed=seed, max_cells=LEAKAGE_CELLS)
            for key, values_N in covariates.items()
            if n_usable_classes(values_N) >= 2
        }
    )
