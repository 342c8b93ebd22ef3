"""Classification probes: how well a simple classifier reads known labels from a representation.

A probe standardises the features inside each fold. That is right for a posterior *draw*, whose noise is
standardised along with its signal, and flattering for posterior *means*: scaling magnifies differences that
the posterior's own noise would drown. Judge a latent space by its draws.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from omicvae._core.arguments import choose
from omicvae._core.arrays import unmasked
from omicvae._core.errors import DataError
from omicvae.metrics.labels import Array, FloatArray, IntArray, LabelledCells, labelled_cells
from omicvae.metrics.results import OneRow

MAX_CELLS = 5000
MAX_PERMUTED_CELLS = 2000
# under permuted labels the score does not depend on the size of the training part
PERMUTED_FOLDS = 3
N_NEIGHBOURS = 15

_Folds = list[tuple[IntArray, IntArray]]


def logistic(n_cells: int) -> Any:
    """Multinomial logistic regression with C = 1, whatever the number of cells."""
    from sklearn.linear_model import LogisticRegression

    # standardised features make lbfgs converge in some tens of iterations; the limit is out of reach
    return LogisticRegression(C=1.0, max_iter=5000, tol=1e-3)


def knn(n_cells: int) -> Any:
    """15 nearest neighbours, or all cells where they are fewer."""
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_neighbors=min(N_NEIGHBOURS, n_cells))


#: classifiers by name, each made for a number of training cells
CLASSIFIERS: Mapping[str, Callable[[int], Any]] = {"logistic": logistic, "knn": knn}


def standardised(classifier: Any) -> Any:
    """Put a standardisation of the features, learned from the training cells, before a classifier."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), classifier)


@dataclass(frozen=True, slots=True, eq=False)
class ProbeScore:
    """Cross-validated classification of one representation.

    Attributes
    ----------
    balanced_accuracy, macro_f1, accuracy
        Mean over classes of the share of their cells that is predicted right, mean F1 over classes, and share of all
        cells predicted right, from all out-of-fold predictions together.
    majority_rate
        Accuracy of always naming the most frequent class.
    classes, left_out
        Classes that took part, and those smaller than the folds.
    codes_M, correct_M
        Class of each cell that took part, and whether it was predicted right.
    """

    classifier: str
    balanced_accuracy: float
    macro_f1: float
    accuracy: float
    majority_rate: float
    n_folds: int
    classes: tuple[str, ...]
    left_out: tuple[str, ...]
    codes_M: IntArray
    correct_M: Array

    @property
    def chance(self) -> float:
        """Balanced accuracy of guessing: 1 / C."""
        return 1.0 / len(self.classes)

    def to_frame(self) -> pd.DataFrame:
        """One row with the scores and what they rest on."""
        scores = ("classifier", "balanced_accuracy", "macro_f1", "accuracy", "majority_rate", "chance")
        sizes = {"n_cells": len(self.codes_M), "n_classes": len(self.classes), "n_folds": self.n_folds}
        left_out = ", ".join(self.left_out)
        return pd.DataFrame([{name: getattr(self, name) for name in scores} | sizes | {"left_out": left_out}])


@dataclass(frozen=True, slots=True)
class PermutedInterval(OneRow):
    """95 % interval of the balanced accuracy when the labels are permuted: what chance gives."""

    low: float
    high: float
    mean: float
    n_permutations: int


def probe(
    features_ND: Array,
    labels_N: Array,
    *,
    classifier: str = "logistic",
    n_folds: int = 5,
    seed: int = 0,
    groups: Array | None = None,
    max_cells: int = MAX_CELLS,
) -> ProbeScore:
    """Cross-validated classification of ``labels_N`` from standardised ``features_ND``.

    Cells and folds are a function of labels, groups and seed only: scores of different representations are
    paired.

    Range: 0 to 1, higher is better; 1 / C by guessing for the balanced accuracy.

    Parameters
    ----------
    features_ND
        Each dimension is standardised on the training part of each fold.
    labels_N
        At least two classes must have ``n_folds`` cells; smaller ones are left out by name.
    classifier
        ``"logistic"`` (multinomial, C = 1) or ``"knn"`` (15 neighbours).
    groups
        Optional group of each cell (a donor, say), never split between training and test part.
    """
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

    cells = _cells_for_probe(labels_N, n_folds=n_folds, max_cells=max_cells, seed=seed)
    codes_M = cells.codes_M
    group_M = None if groups is None else np.asarray(unmasked("groups", groups))[cells.index_M]
    folds = _folds(codes_M, group_M, n_folds=n_folds, seed=seed)
    predicted_M = _predict(cells.rows(features_ND, "features"), codes_M, folds, classifier)
    return ProbeScore(
        classifier=classifier,
        balanced_accuracy=float(balanced_accuracy_score(codes_M, predicted_M)),
        macro_f1=float(f1_score(codes_M, predicted_M, average="macro")),
        accuracy=float(accuracy_score(codes_M, predicted_M)),
        majority_rate=float(np.bincount(codes_M).max() / len(codes_M)),
        n_folds=n_folds,
        classes=cells.classes,
        left_out=cells.left_out,
        codes_M=codes_M,
        correct_M=predicted_M == codes_M,
    )


def permuted_interval(
    features_ND: Array,
    labels_N: Array,
    *,
    n_permutations: int = 20,
    n_folds: int = 5,
    seed: int = 0,
    max_cells: int = MAX_PERMUTED_CELLS,
) -> PermutedInterval:
    """95 % interval of the logistic probe's balanced accuracy under permuted labels.

    The permutations run on at most ``max_cells`` cells; their SD is carried over to the probe's own number of
    cells by the square root of the ratio. The interval is mean ± t · SD · √(1 + 1/P) (a prediction interval
    of P permutations).

    Range: 0 to 1, a yardstick.
    """
    from sklearn.metrics import balanced_accuracy_score

    full = _cells_for_probe(labels_N, n_folds=n_folds, max_cells=MAX_CELLS, seed=seed)
    cells = _cells_for_probe(labels_N, n_folds=n_folds, max_cells=max_cells, seed=seed)
    features_MD = cells.rows(features_ND, "features")
    rng = np.random.default_rng(seed)
    scores_P = np.empty(n_permutations)
    for number in range(n_permutations):
        codes_M = rng.permutation(cells.codes_M)
        folds = _folds(codes_M, None, n_folds=min(n_folds, PERMUTED_FOLDS), seed=seed)
        scores_P[number] = balanced_accuracy_score(codes_M, _predict(features_MD, codes_M, folds, "logistic"))
    sd = float(scores_P.std(ddof=1)) * np.sqrt(len(cells.index_M) / len(full.index_M))
    margin = float(stdtrit(n_permutations - 1, 0.975)) * sd * np.sqrt(1 + 1 / n_permutations)
    mean = float(scores_P.mean())
    return PermutedInterval(max(mean - margin, 0.0), min(mean + margin, 1.0), mean, n_permutations)


def compare_probes(first: ProbeScore, second: ProbeScore) -> tuple[float, float]:
    """Difference of balanced accuracy, first minus second, and its standard error paired over cells.

    SE² = Σ_c Var_{i in c}(hit1_i − hit2_i) / n_c / C².

    Range: −1 to 1; above 0 the first is better.
    """
    if not np.array_equal(first.codes_M, second.codes_M):
        raise DataError("The two probes used different cells; run both on the same labels with the same seed.")
    classes = pd.Series(first.correct_M.astype(float) - second.correct_M.astype(float)).groupby(first.codes_M)
    se = np.sqrt((classes.var() / classes.size()).sum()) / len(first.classes)
    return first.balanced_accuracy - second.balanced_accuracy, float(se)


def n_usable_classes(labels_N: Array, *, n_folds: int = 5) -> int:
    """Count the classes with at least ``n_folds`` cells; a probe needs two."""
    return len(labelled_cells(labels_N, minimum=n_folds).classes)


def _cells_for_probe(labels_N: Array, *, n_folds: int, max_cells: int, seed: int) -> LabelledCells:
    if n_folds < 2:
        raise DataError(f"Cross-validation needs at least 2 folds, got {n_folds}.")
    cells = labelled_cells(labels_N, minimum=n_folds, max_cells=max_cells, seed=seed)
    if len(cells.classes) < 2:
        raise DataError(
            f"A probe needs at least two classes with {n_folds} cells (one a fold); found {len(cells.classes)}. "
            f"Classes with fewer: {', '.join(cells.left_out) or 'none'}."
        )
    return cells


def _folds(codes_M: IntArray, group_M: Array | None, *, n_folds: int, seed: int) -> _Folds:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    splitter = StratifiedKFold if group_M is None else StratifiedGroupKFold
    return list(splitter(n_folds, shuffle=True, random_state=seed).split(codes_M, codes_M, group_M))


def _predict(features_MD: FloatArray, codes_M: IntArray, folds: _Folds, classifier: str) -> IntArray:
    """Class of each cell by a classifier that was fitted without its fold."""
    from sklearn.model_selection import cross_val_predict
    from threadpoolctl import threadpool_limits

    make: Any = choose("classifier", classifier, CLASSIFIERS)
    model = standardised(make(min(len(train) for train, _ in folds)))
    # these fits are tiny: a pool of threads would wait for itself, many times slower on a busy machine
    with threadpool_limits(limits=1):
        return np.asarray(cross_val_predict(model, features_MD, codes_M, cv=folds), dtype=np.int64)
