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
from omicvae._core.errors import DataError
from omicvae.metrics.labels import Array, FloatArray, IntArray, LabelledCells, as_features, labelled_cells

MAX_CELLS = 5000
MAX_PERMUTED_CELLS = 2000
# under permuted labels the score does not depend on the size of the training part
PERMUTED_FOLDS = 3


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    # standardised features make lbfgs converge in some tens of iterations; the limit is out of reach
    return LogisticRegression(C=1.0, max_iter=5000, tol=1e-3)


def _knn() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_neighbors=15)


CLASSIFIERS: Mapping[str, Callable[[], Any]] = {"logistic": _logistic, "knn": _knn}


@dataclass(frozen=True, slots=True, eq=False)
class ProbeScore:
    """Cross-validated classification of one representation.

    Attributes
    ----------
    balanced_accuracy
        Mean over classes of the share of their cells that is predicted right, from all out-of-fold
        predictions together; 0 to 1, higher is better, 1 / C by guessing.
    macro_f1, accuracy
        Mean F1 over classes, and share of cells predicted right; 0 to 1, higher is better.
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
        row = {
            "classifier": self.classifier,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "accuracy": self.accuracy,
            "majority_rate": self.majority_rate,
            "chance": self.chance,
            "n_cells": len(self.codes_M),
            "n_classes": len(self.classes),
            "n_folds": self.n_folds,
            "left_out": ", ".join(self.left_out),
        }
        return pd.DataFrame([row])


@dataclass(frozen=True, slots=True)
class PermutedInterval:
    """95 % interval of the balanced accuracy when the labels are permuted: what chance gives."""

    low: float
    high: float
    mean: float
    n_permutations: int

    def to_frame(self) -> pd.DataFrame:
        """One row: low, high, mean, number of permutations."""
        names = ("low", "high", "mean", "n_permutations")
        return pd.DataFrame([{name: getattr(self, name) for name in names}])


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

    Parameters
    ----------
    features_ND
        Representation, N cells × D dimensions; each dimension is standardised on the training part of each
        fold.
    labels_N
        Class of each cell; None or NaN is a missing label, left out.
    classifier
        ``"logistic"`` (multinomial, C = 1) or ``"knn"`` (15 neighbours).
    groups
        Optional group of each cell (a donor, say), never split between training and test part.
    max_cells
        At most about this many cells take part, thinned in proportion within classes.

    Raises
    ------
    DataError
        If fewer than two classes have ``n_folds`` cells.
    """
    cells = _cells_for_probe(labels_N, n_folds=n_folds, max_cells=max_cells, seed=seed)
    features_MD = as_features(features_ND, len(np.asarray(labels_N)))[cells.index_M]
    group_M = None if groups is None else np.asarray(groups)[cells.index_M]
    folds = _folds(cells.codes_M, group_M, n_folds=n_folds, seed=seed)
    predicted_M = _predict(features_MD, cells.codes_M, folds, classifier)
    return _score(cells, predicted_M, classifier, n_folds)


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
    """
    full = _cells_for_probe(labels_N, n_folds=n_folds, max_cells=MAX_CELLS, seed=seed)
    cells = _cells_for_probe(labels_N, n_folds=n_folds, max_cells=max_cells, seed=seed)
    features_MD = as_features(features_ND, len(np.asarray(labels_N)))[cells.index_M]
    rng = np.random.default_rng(seed)
    scores_P = np.empty(n_permutations)
    for number in range(n_permutations):
        codes_M = rng.permutation(cells.codes_M)
        folds = _folds(codes_M, None, n_folds=min(n_folds, PERMUTED_FOLDS), seed=seed)
        predicted_M = _predict(features_MD, codes_M, folds, "logistic")
        scores_P[number] = _recalls(codes_M, predicted_M == codes_M, len(cells.classes)).mean()
    sd = float(scores_P.std(ddof=1)) * np.sqrt(len(cells.index_M) / len(full.index_M))
    margin = float(stdtrit(n_permutations - 1, 0.975)) * sd * np.sqrt(1 + 1 / n_permutations)
    mean = float(scores_P.mean())
    return PermutedInterval(max(mean - margin, 0.0), min(mean + margin, 1.0), mean, n_permutations)


def compare_probes(first: ProbeScore, second: ProbeScore) -> tuple[float, float]:
    """Difference of balanced accuracy, first minus second, and its standard error paired over cells.

    SE² = Σ_c Var_{i in c}(hit1_i − hit2_i) / n_c / C².
    """
    if not np.array_equal(first.codes_M, second.codes_M):
        raise DataError("The two probes used different cells; run both on the same labels with the same seed.")
    paired_M = first.correct_M.astype(float) - second.correct_M.astype(float)
    n_classes = len(first.classes)
    squared = 0.0
    for code in range(n_classes):
        values = paired_M[first.codes_M == code]
        squared += float(values.var(ddof=1)) / len(values)
    return first.balanced_accuracy - second.balanced_accuracy, float(np.sqrt(squared)) / n_classes


def n_usable_classes(labels_N: Array, *, n_folds: int = 5) -> int:
    """Count the classes with at least ``n_folds`` cells; a probe needs two."""
    return len(labelled_cells(labels_N, minimum=n_folds, max_cells=MAX_CELLS, seed=0).classes)


def _cells_for_probe(labels_N: Array, *, n_folds: int, max_cells: int, seed: int) -> LabelledCells:
    if n_folds < 2:
        raise DataError(f"Cross-validation needs at least 2 folds, got {n_folds}.")
    cells = labelled_cells(labels_N, minimum=n_folds, max_cells=max_cells, seed=seed)
    if len(cells.classes) < 2:
        raise DataError(
            f"A probe needs at least two classes with {n_folds} cells (one a fold); found "
            f"{len(cells.classes)}. "
            f"Classes with fewer: {', '.join(cells.left_out) or 'none'}."
        )
    return cells


def _folds(codes_M: IntArray, group_M: Array | None, *, n_folds: int, seed: int) -> list[tuple[IntArray, IntArray]]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    splitter = StratifiedKFold if group_M is None else StratifiedGroupKFold
    return list(splitter(n_folds, shuffle=True, random_state=seed).split(codes_M, codes_M, group_M))


def _predict(
    features_MD: FloatArray, codes_M: IntArray, folds: list[tuple[IntArray, IntArray]], classifier: str
) -> IntArray:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    make: Any = choose("classifier", classifier, CLASSIFIERS)
    predicted_M = np.full(len(codes_M), -1, dtype=np.int64)
    # these fits are tiny: a pool of threads would wait for itself, many times slower on a busy machine
    with threadpool_limits(limits=1):
        for train, test in folds:
            model = make_pipeline(StandardScaler(), make())
            if classifier == "knn":
                model[-1].n_neighbors = min(model[-1].n_neighbors, len(train))
            predicted_M[test] = model.fit(features_MD[train], codes_M[train]).predict(features_MD[test])
    return predicted_M


def _recalls(codes_M: IntArray, correct_M: Array, n_classes: int) -> FloatArray:
    hits_C = np.bincount(codes_M, weights=correct_M.astype(float), minlength=n_classes)
    return np.asarray(hits_C / np.bincount(codes_M, minlength=n_classes), dtype=np.float64)


def _score(cells: LabelledCells, predicted_M: IntArray, classifier: str, n_folds: int) -> ProbeScore:
    codes_M, n_classes = cells.codes_M, len(cells.classes)
    correct_M = predicted_M == codes_M
    hits_C = np.bincount(codes_M[correct_M], minlength=n_classes)
    named_C = np.bincount(predicted_M, minlength=n_classes)
    actual_C = np.bincount(codes_M, minlength=n_classes)
    return ProbeScore(
        classifier=classifier,
        balanced_accuracy=float(_recalls(codes_M, correct_M, n_classes).mean()),
        macro_f1=float((2 * hits_C / (named_C + actual_C)).mean()),
        accuracy=float(correct_M.mean()),
        majority_rate=float(actual_C.max() / len(codes_M)),
        n_folds=n_folds,
        classes=cells.classes,
        left_out=cells.left_out,
        codes_M=codes_M,
        correct_M=correct_M,
    )
