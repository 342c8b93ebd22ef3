"""The classification check: labels read from a draw, from standardised means and from PCA."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from omicvae.diagnostics.estimate import Estimate
from omicvae.diagnostics.evidence import Check, Row, not_measured
from omicvae.metrics.classification import (
    PermutedInterval,
    ProbeScore,
    compare_probes,
    n_usable_classes,
    permuted_interval,
    probe,
)
from omicvae.metrics.clustering import kmeans_classes
from omicvae.metrics.labels import Array

LEAKAGE_CELLS = 2000
FALLBACK_CLASSES = 8

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

DRAW, MEANS, PCA = "posterior draw", "standardised means", "PCA"


@dataclass(frozen=True, slots=True, eq=False)
class Probes(Check):
    """Scores of the same labels on the same folds.

    Attributes
    ----------
    key
        Name of the labels.
    scores
        Representation (a posterior draw, the standardised posterior means, PCA where it is known) → its scores by a
        logistic probe and by 15 nearest neighbours.
    permuted
        95 % interval of the draw's balanced accuracy under permuted labels.
    lost
        Balanced accuracy of PCA minus that of the draw (mean and SE paired over cells); unknown without PCA.
    gain
        Over the null model, nats: classes cut from noise are lost by every model; without a gain that is overfitting.
    narrow_enough
        Whether narrower posteriors would surely lose: to tell more would be too dear then.
    fallback
        Whether the classes are k-means classes of the data and not labels.
    conditioned
        Whether the model was given the labels: then the probe proves nothing either way.
    """

    key: str
    scores: Mapping[str, tuple[ProbeScore, ProbeScore]]
    permuted: PermutedInterval
    lost: Estimate
    gain: float
    narrow_enough: bool
    fallback: bool
    conditioned: bool

    @property
    def draw(self) -> ProbeScore:
        """Logistic probe of the draw."""
        return self.scores[DRAW][0]

    @property
    def reference(self) -> ProbeScore:
        """Logistic probe of PCA."""
        return self.scores[PCA][0]

    @property
    def compared(self) -> bool:
        """Whether there is a PCA to compare with."""
        return PCA in self.scores

    @property
    def learnable(self) -> bool:
        """Whether PCA reads the labels better than chance; if not, or not known, they cannot judge the latent."""
        return self.compared and self.reference.balanced_accuracy > self.permuted.high

    @property
    def counts(self) -> bool:
        """Whether the probe proves anything: labels the model was not given, which PCA reads better than chance."""
        return self.learnable and not self.conditioned

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
    def share_wanted(self) -> float:
        """Share of PCA's balanced accuracy above chance that a draw must keep."""
        return RETAINED_SHARE_FALLBACK if self.fallback else RETAINED_SHARE

    @property
    def below_pca(self) -> bool:
        """Whether the draw is read well below PCA: in share, in absolute terms, and beyond its error."""
        clear = self.lost.low > 0 and self.lost.mean > LOST_ACCURACY
        return self.counts and clear and self.retained < self.share_wanted and not (self.fallback and self.gain <= 0)

    @property
    def information_lost(self) -> bool:
        """Whether it is, and telling more would not surely be too dear."""
        return self.below_pca and not self.narrow_enough

    def rows(self) -> Iterator[Row]:
        """Draw against permuted labels and against PCA, means and PCA beside it."""
        draw, permuted, name = self.draw, self.permuted, f"probe of {self.key}"
        remark = " (the model was given these labels: proves nothing)" if self.conditioned else ""
        remark += " (no labels: classes cut from the data)" if self.fallback else ""
        meaning = (
            f"balanced accuracy from a posterior draw; permuted labels give {permuted.low:.2f}–"
            f"{permuted.high:.2f}; macro-F1 {draw.macro_f1:.2f}, accuracy {draw.accuracy:.2f} (majority "
            f"{draw.majority_rate:.2f}), kNN {self.scores[DRAW][1].balanced_accuracy:.2f}{remark}"
        )
        passed = (not self.at_chance) if self.counts else None
        yield Row(f"{name}, draw", draw.balanced_accuracy, meaning, f"> {permuted.high:.2f}", passed)
        kept = f"{name}, share of PCA kept"
        if self.compared:
            meaning = (
                f"of PCA's balanced accuracy above chance; the draw loses {self.lost.mean:.2f} ± {self.lost.se:.2f}"
            )
            passed = (not self.information_lost) if self.counts else None
            yield Row(kept, self.retained, meaning, f"≥ {self.share_wanted:.2f}", passed)
        else:
            yield not_measured(kept, "no PCA of the data")
        left_out = f"; too few cells: {', '.join(draw.left_out)}" if draw.left_out else ""
        beside = {
            MEANS: "shown beside: scaling magnifies what the noise drowns",
            PCA: f"with as many dimensions, same folds{left_out}",
        }
        for title, text in beside.items():
            if title not in self.scores:
                continue
            score, knn = self.scores[title]
            scores = f"macro-F1 {score.macro_f1:.2f}, accuracy {score.accuracy:.2f}, kNN {knn.balanced_accuracy:.2f}"
            yield Row(f"{name}, {title}", score.balanced_accuracy, f"{text}; {scores}")

    def scores_table(self) -> pd.DataFrame:
        """One row per representation and classifier, with the permuted interval and the key."""
        scores = [(title, score.to_frame()) for title, pair in self.scores.items() for score in pair]
        table = pd.concat([frame.assign(representation=title) for title, frame in scores], ignore_index=True)
        table.insert(0, "representation", table.pop("representation"))
        low, high = self.permuted.low, self.permuted.high
        return table.assign(permuted_low=low, permuted_high=high, labels=self.key, fallback=self.fallback)


def probe_latents(
    representations: Mapping[str, Array],
    labels_N: Array,
    *,
    key: str,
    gain: float,
    narrow_enough: bool,
    fallback: bool = False,
    conditioned: bool = False,
    seed: int = 0,
) -> Probes | None:
    """Probe draw, means and PCA of the same cells for labels (None or NaN: missing), see :class:`Probes`.

    None where fewer than two classes are large enough.
    """
    if n_usable_classes(labels_N) < 2:
        return None
    scores = {
        title: (probe(values_NK, labels_N, seed=seed), probe(values_NK, labels_N, seed=seed, classifier="knn"))
        for title, values_NK in representations.items()
    }
    lost = Estimate()
    if PCA in scores:
        lost = Estimate(*compare_probes(scores[PCA][0], scores[DRAW][0]), len(scores[DRAW][0].codes_M))
    return Probes(
        key=key,
        scores=scores,
        permuted=permuted_interval(representations[DRAW], labels_N, seed=seed),
        lost=lost,
        gain=gain,
        narrow_enough=narrow_enough,
        fallback=fallback,
        conditioned=conditioned,
    )


def stand_in_labels(reference_NK: Array, seed: int) -> Array:
    """Classes where no labels are given: k-means of what the covariates leave unexplained in PCA."""
    if len(reference_NK) == 1:
        return np.array(["k0"], dtype=object)
    n_classes = min(FALLBACK_CLASSES, len(reference_NK))
    return kmeans_classes(reference_NK, n_classes, np.random.default_rng([seed, 2]))


@dataclass(frozen=True, slots=True, eq=False)
class Leakage(Check):
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
            meaning = f"balanced accuracy from a draw, chance {score.chance:.2f}; accuracy {score.accuracy:.2f} "
            meaning += f"(majority {score.majority_rate:.2f})"
            yield Row(f"leakage of {key}", score.balanced_accuracy, meaning)


def leakage(draw_NK: Array, covariates: Mapping[str, Array], *, seed: int = 0) -> Leakage:
    """Probe a posterior draw for each categorical covariate with two levels of 5 cells, on at most 2000 cells."""
    return Leakage(
        {
            key: probe(draw_NK, values_N, seed=seed, max_cells=LEAKAGE_CELLS)
            for key, values_N in covariates.items()
            if n_usable_classes(values_N) >= 2
        }
    )
