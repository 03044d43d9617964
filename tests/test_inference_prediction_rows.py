"""One row per image, against softmax written out."""

import math

import numpy as np
import pytest
from scipy.special import log_softmax

from kilnet.inference.prediction_rows import prediction_rows
from kilnet.metrics.classification import Evaluation
from kilnet.metrics.logits import LogitScale

CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox")


@pytest.fixture(scope="module")
def scored():
    random = np.random.default_rng(7)
    labels = random.integers(0, 6, 997)
    logits = random.normal(size=(997, 6)).astype(np.float32)
    return Evaluation.from_logits("test", CLASSES, logits, labels), logits, labels


def test_prediction_rows_follow_the_images(scored):
    evaluation, logits, labels = scored
    rows = list(prediction_rows(CLASSES, [f"{i}.png" for i in range(997)], logits, labels))
    assert [row.name for row in rows[:2]] == ["0.png", "1.png"]
    assert [row.truth for row in rows] == [CLASSES[i] for i in labels]
    assert [row.predicted for row in rows] == [CLASSES[i] for i in logits.argmax(axis=1)]
    assert math.fsum(row.loss for row in rows) == pytest.approx(evaluation.loss_sum)
    probabilities = np.exp(log_softmax(logits.astype(np.float64), axis=1)).max(axis=1)
    np.testing.assert_allclose([row.confidence for row in rows], probabilities, rtol=1e-12)
    assert [row.uncalibrated_confidence for row in rows] == [row.confidence for row in rows]


def test_calibrated_confidences_come_first(scored):
    evaluation, logits, labels = scored
    names = [f"{i}.png" for i in range(997)]
    rows = list(prediction_rows(CLASSES, names, logits, labels, LogitScale(2.0)))
    for divisor, found in ((2, "confidence"), (1, "uncalibrated_confidence")):
        expected = np.exp(log_softmax(logits.astype(np.float64) / divisor, axis=1)).max(axis=1)
        np.testing.assert_allclose([getattr(row, found) for row in rows], expected, rtol=1e-12)
    assert math.fsum(row.loss for row in rows) == pytest.approx(evaluation.loss_sum)
