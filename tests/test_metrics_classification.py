import json
import math

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
)

from kilnet.errors import InputError
from kilnet.metrics.classification import Evaluation
from kilnet.metrics.logits import LogitScale

CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox")


@pytest.fixture(scope="module")
def scored():
    """Unbalanced classes; no eel in the truth, and no fox is ever predicted."""
    random = np.random.default_rng(7)
    labels = random.choice(6, size=997, p=[0.55, 0.2, 0.14, 0.1, 0.0, 0.01])
    logits = random.normal(size=(997, 6)).astype(np.float32)
    logits[np.arange(997), labels] += 1.5
    logits[:, 5] -= 50
    return Evaluation.from_logits("test", CLASSES, logits, labels), logits, labels


def test_counts_and_loss_match_scikit_learn(scored):
    evaluation, logits, labels = scored
    predicted = logits.argmax(axis=1)
    np.testing.assert_array_equal(evaluation.confusion, confusion_matrix(labels, predicted, labels=range(6)))
    assert evaluation.confusion.dtype == np.int64
    assert evaluation.num_images == 997
    assert evaluation.num_correct == accuracy_score(labels, predicted, normalize=False)
    assert evaluation.accuracy == accuracy_score(labels, predicted)
    probabilities = np.exp(log_softmax(logits.astype(np.float64), axis=1))
    # scikit-learn clips probabilities at the machine epsilon; the fox logits lie below that.
    kept = labels != 5
    part = Evaluation.from_logits("test", CLASSES, logits[kept], labels[kept])
    assert part.loss == pytest.approx(log_loss(labels[kept], probabilities[kept], labels=range(6)), rel=1e-12)
    exact = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(997), labels]
    assert evaluation.loss_sum == pytest.approx(math.fsum(exact), rel=1e-12)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_per_class_and_macro_scores_match_scikit_learn(scored):
    evaluation, logits, labels = scored
    predicted = logits.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=range(6), zero_division=np.nan
    )
    np.testing.assert_allclose(evaluation.precision, precision, rtol=1e-14)
    np.testing.assert_allclose(evaluation.recall, recall, rtol=1e-14)
    np.testing.assert_allclose(evaluation.f1, f1, rtol=1e-14)
    np.testing.assert_array_equal(evaluation.support, support)
    assert np.isnan(evaluation.recall[4])
    assert np.isnan(evaluation.precision[5])
    assert evaluation.f1[5] == 0
    macro = precision_recall_fscore_support(
        labels, predicted, labels=range(6), average="macro", zero_division=0
    )
    assert (evaluation.macro_precision, evaluation.macro_recall, evaluation.macro_f1) == pytest.approx(
        macro[:3]
    )
    # scikit-learn's balanced accuracy leaves out the class that has no images.
    assert evaluation.macro_recall == pytest.approx(balanced_accuracy_score(labels, predicted) * 5 / 6)


def test_classes_that_accuracy_hides_are_named(scored):
    evaluation, _, labels = scored
    assert evaluation.without_images == ("eel",)
    assert evaluation.never_predicted == ("fox",)
    counts = np.bincount(labels, minlength=6)
    assert evaluation.majority_class == "ant"
    assert evaluation.majority_share == counts[0] / 997
    assert evaluation.imbalance == counts[0] / counts[5]
    written = json.loads(json.dumps(evaluation.to_dict()))
    assert written["num_never_predicted"] == 1
    assert (written["never_predicted"], written["without_images"]) == (["fox"], ["eel"])
    assert (written["majority_class"], written["majority_share"]) == ("ant", counts[0] / 997)


def test_the_interval_of_macro_recall_is_that_of_images_drawn_again(scored):
    evaluation, logits, labels = scored
    right = logits.argmax(axis=1) == labels
    random, means = np.random.default_rng(3), []
    for _ in range(4000):
        recalls = [random.choice(right[labels == c], np.sum(labels == c)).mean() for c in (0, 1, 2, 3, 5)]
        means.append(sum(recalls) / 6)
    expected = np.quantile(means, [0.025, 0.975])
    assert evaluation.macro_recall_interval == pytest.approx(expected, abs=0.003)
    low, high = evaluation.macro_recall_interval
    assert low < evaluation.macro_recall < high
    again = Evaluation.from_dict(evaluation.to_dict())
    assert again.macro_recall_interval == evaluation.macro_recall_interval
    assert evaluation.to_dict()["macro_recall_interval"] == [low, high]


def test_calibration_error_matches_a_plain_loop(scored):
    evaluation, logits, labels = scored
    bins = [[] for _ in range(15)]
    for row, label in zip(logits.astype(np.float64), labels, strict=True):
        probabilities = [math.exp(x) / sum(math.exp(y) for y in row) for x in row]
        confidence = max(probabilities)
        number = next(b for b in range(15) if b / 15 < confidence <= (b + 1) / 15)
        bins[number].append((confidence, probabilities.index(confidence) == label))
    expected = 0.0
    for members in filter(None, bins):
        accuracy = sum(right for _, right in members) / len(members)
        confidence = sum(c for c, _ in members) / len(members)
        expected += len(members) / len(labels) * abs(accuracy - confidence)
    assert evaluation.calibration_error == pytest.approx(expected, rel=1e-12)
    assert evaluation.bin_num_images.tolist() == [len(members) for members in bins]


def test_calibration_bins_are_closed_on_the_right():
    # Three equal logits: confidence 1/3 is the upper edge of bin 4. A certain one is in the last bin.
    logits = np.array([[0.0, 0.0, 0.0], [800.0, 0.0, 0.0]])
    evaluation = Evaluation.from_logits("test", ("a", "b", "c"), logits, np.array([0, 0]))
    assert np.flatnonzero(evaluation.bin_num_images).tolist() == [4, 14]


def test_huge_logits_do_not_overflow():
    logits = np.array([[3e38, -3e38], [0.0, 1e4]], np.float32)
    evaluation = Evaluation.from_logits("test", ("a", "b"), logits, np.array([0, 0]))
    assert evaluation.loss_sum == 1e4
    assert evaluation.bin_confidence_sum.sum() == 2


def test_an_empty_split_has_undefined_ratios():
    evaluation = Evaluation.from_logits("test", ("a", "b"), np.zeros((0, 2)), np.zeros(0, np.int64))
    assert evaluation.num_images == 0
    for ratio in (evaluation.accuracy, evaluation.loss, evaluation.macro_f1, evaluation.calibration_error):
        assert math.isnan(ratio)
    assert evaluation.to_dict()["accuracy"] is None
    assert evaluation.most_confused(3) == []


def test_most_confused_counts_mistakes_only_commonest_first():
    confusion = np.array([[90, 1, 4], [7, 50, 0], [4, 0, 99]])
    truth, predicted = (np.repeat(part, confusion.ravel()) for part in np.indices((3, 3)).reshape(2, 9))
    evaluation = Evaluation.from_logits("test", ("a", "b", "c"), np.eye(3)[predicted], truth)
    np.testing.assert_array_equal(evaluation.confusion, confusion)
    assert evaluation.most_confused(2) == [("b", "a", 7), ("a", "c", 4)]
    assert evaluation.most_confused(99) == [("b", "a", 7), ("a", "c", 4), ("c", "a", 4), ("a", "b", 1)]


def test_an_evaluation_survives_json(scored):
    evaluation = scored[0]
    text = json.dumps(evaluation.to_dict(), allow_nan=False)
    again = Evaluation.from_dict(json.loads(text))
    assert json.dumps(again.to_dict()) == text
    np.testing.assert_array_equal(again.confusion, evaluation.confusion)
    assert again.classes == CLASSES
    content = json.loads(text)
    assert content["per_class"][4]["recall"] is None
    assert content["per_class"][0]["num_correct"] == evaluation.confusion[0, 0]
    low, high = content["accuracy_interval"]
    assert low < content["accuracy"] < high


@pytest.mark.parametrize("broken", [{}, {"confusion": [[1]]}, {"classes": 3}, {"loss_sum": "x"}])
def test_what_is_no_evaluation_is_refused(scored, broken):
    content = scored[0].to_dict() | broken if broken else {}
    with pytest.raises(InputError, match="not an evaluation"):
        Evaluation.from_dict(content)


def test_a_scale_changes_confidences_and_neither_loss_nor_predictions(scored):
    raw, logits, labels = scored
    cold = Evaluation.from_logits("test", CLASSES, logits, labels, LogitScale(0.5, 0.8))
    np.testing.assert_array_equal(cold.confusion, raw.confusion)
    assert cold.loss_sum == raw.loss_sum
    assert cold.uncalibrated_error == raw.calibration_error
    assert (
        cold.calibration_error
        == Evaluation.from_logits("test", CLASSES, LogitScale(0.5, 0.8)(logits), labels).calibration_error
    )
    again = Evaluation.from_dict(json.loads(json.dumps(cold.to_dict())))
    assert (again.scale, again.uncalibrated_error) == (LogitScale(0.5, 0.8), raw.calibration_error)
    old = {k: v for k, v in raw.to_dict().items() if k not in ("temperature", "power", "uncalibrated_error")}
    assert Evaluation.from_dict(old).uncalibrated_error is None
