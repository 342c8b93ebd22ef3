import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from omicvae._core.errors import DataError, SettingError
from omicvae.metrics import compare_probes, permuted_interval, probe


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [120, 60, 20])
    features = np.eye(3)[codes] * 2 + rng.normal(size=(200, 3))
    return features, np.array(["a", "b", "c"])[codes]


def test_scores_are_those_of_scikit_learn(blobs):
    features, labels = blobs
    score = probe(features, labels, seed=3)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=5000, tol=1e-3))
    folds = StratifiedKFold(5, shuffle=True, random_state=3)
    predicted = cross_val_predict(model, features, labels, cv=folds)
    assert score.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert score.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert score.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert score.majority_rate == 0.6
    assert score.chance == pytest.approx(1 / 3)


@pytest.mark.parametrize("classifier", ["logistic", "knn"])
def test_separated_classes_score_one(classifier):
    labels = np.repeat(["a", "b"], 40)
    features = np.repeat([[0.0, 0.0], [9.0, 9.0]], 40, axis=0) + np.random.default_rng(0).normal(size=(80, 2))
    score = probe(features, labels, classifier=classifier)
    assert (score.balanced_accuracy, score.macro_f1, score.accuracy) == (1.0, 1.0, 1.0)


def test_useless_features_score_within_the_permuted_interval():
    rng = np.random.default_rng(1)
    labels = rng.choice(["a", "b", "c", "d"], 600)
    features = rng.normal(size=(600, 5))
    interval = permuted_interval(features, labels, seed=0)
    assert interval.low <= probe(features, labels).balanced_accuracy <= interval.high
    assert interval.low < 0.25 < interval.high
    assert interval.high - interval.low < 0.2


def test_permuted_interval_lies_below_informative_features(blobs):
    features, labels = blobs
    assert permuted_interval(features, labels).high < probe(features, labels).balanced_accuracy


def test_scaling_drowns_signal_of_a_draw_but_magnifies_that_of_means():
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 4, 800)
    means = 1e-3 * np.eye(4)[codes]
    draw = means + rng.normal(size=means.shape)
    assert probe(means, codes).balanced_accuracy == 1.0
    assert probe(draw, codes).balanced_accuracy <= permuted_interval(draw, codes).high


def test_small_classes_and_missing_labels_are_left_out_by_name(blobs):
    features, labels = blobs
    labels = labels.astype(object)
    labels[:4] = "rare"
    labels[4:6] = None
    labels[6] = float("nan")
    score = probe(features, labels)
    assert score.left_out == ("rare",)
    assert score.classes == ("a", "b", "c")
    assert len(score.codes_M) == 200 - 7


def test_folds_are_the_same_for_every_representation(blobs):
    features, labels = blobs
    first, second = probe(features, labels, seed=1), probe(features[:, :1], labels, seed=1)
    difference, se = compare_probes(first, second)
    assert difference == pytest.approx(first.balanced_accuracy - second.balanced_accuracy)
    assert 0 < se < 0.1
    assert compare_probes(first, first) == (0.0, 0.0)


def test_groups_are_never_split():
    # every group is one cell's replicates: with leaking folds kNN would find the twin and score well
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(60, 4)), 20, axis=0)
    labels = np.repeat(rng.choice(["a", "b"], 60), 20)
    groups = np.repeat(np.arange(60), 20)
    leaking = probe(features, labels, classifier="knn").balanced_accuracy
    honest = probe(features, labels, classifier="knn", groups=groups).balanced_accuracy
    assert leaking == 1.0
    assert honest < 0.8


def test_subsample_is_bounded_and_keeps_rare_classes():
    rng = np.random.default_rng(0)
    labels = np.array(["rare"] * 10 + ["common"] * 4000)
    score = probe(rng.normal(size=(4010, 2)), labels, max_cells=500)
    assert len(score.codes_M) <= 510
    assert (score.codes_M == score.classes.index("rare")).sum() >= 5


def test_frame_holds_the_scores(blobs):
    frame = probe(*blobs).to_frame()
    assert len(frame) == 1
    assert {"balanced_accuracy", "macro_f1", "accuracy", "majority_rate", "left_out"} <= set(frame.columns)
    assert permuted_interval(*blobs).to_frame().loc[0, "n_permutations"] == 20


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((10, 2)), ["a"] * 10, "at least two classes with 5 cells"),
        (np.zeros((9, 2)), ["a", "b"] * 5, "a row for each of the 10 labelled cells"),
        (np.full((10, 2), np.nan), ["a", "b"] * 5, "20 entries are NaN or inf"),
        (np.zeros((10, 2)), [["a", "b"]] * 5, "one-dimensional"),
    ],
)
def test_unusable_input_is_explained(features, labels, message):
    with pytest.raises(DataError, match=message):
        probe(features, np.array(labels))


def test_unknown_classifier_lists_the_choices(blobs):
    with pytest.raises(SettingError, match="'logistic', 'knn'"):
        probe(*blobs, classifier="forest")
