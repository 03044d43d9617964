"""The sentence and the cards at the top of a page, against counts by hand."""

import numpy as np
import pytest

from kilnet.inference.calibration import Calibration
from kilnet.metrics.classification import Evaluation
from kilnet.page.verdict import Cost, cards, verdict

COST = Cost(images_per_second=12345.6, computed_with="cpu", num_parameters=1234567, num_bytes=4_938_268)


def evaluated(truth, predicted, classes=("cat", "<dog>", "frog")):
    logits = 5.0 * np.eye(len(classes))[predicted]
    return Evaluation.from_logits("test", classes, logits, np.array(truth))


def calibration(**changes):
    given = {
        "temperature": 1.5,
        "threshold": 0.8,
        "num_images": 200,
        "num_correct": 170,
        "num_sure": 164,
        "num_sure_correct": 156,
        "loss_before": 1.0,
        "loss_after": 0.9,
        "calibration_error_before": 0.081,
        "calibration_error_after": 0.012,
        "weights": "",
        "data": "",
    }
    return Calibration(**{**given, **changes})


def test_the_verdict_names_the_commonest_confusion_and_how_sure_the_network_is():
    found = evaluated([0, 0, 0, 1, 1, 1, 1, 2, 2, 2], [0, 0, 0, 1, 0, 0, 1, 2, 2, 2])
    said = verdict(found, calibration())
    assert "Confuses <bdi>&lt;dog&gt;</bdi> with <bdi>cat</bdi> most (2 of 4 images)." in said
    assert "Sure of 82% of the validation images, and right in 95% of those." in said
    assert "never predicted" not in said
    assert "a person should look at all" in verdict(found, calibration(threshold=None))
    assert "Sure of" not in verdict(found, None)


def test_the_verdict_tells_what_is_never_predicted_and_when_nothing_was_learnt():
    said = verdict(evaluated([0, 0, 1, 2], [0, 0, 0, 0]), None)
    assert "2 of 3 classes are never predicted." in said
    assert "not clearly better than to say <bdi>cat</bdi> every time" in said
    one = verdict(evaluated([0, 0, 1, 2], [0, 0, 1, 1]), None)
    assert "<bdi>frog</bdi> is never predicted." in one


def test_a_perfect_network_confuses_nothing():
    labels = np.arange(60) % 3
    assert verdict(evaluated(labels, labels), None) == "All 60 images are right."


def test_cards_have_the_numbers_of_the_evaluation():
    found = evaluated([0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 2, 0])
    shown = {card.title: card for card in cards(found, calibration(), COST)}
    assert shown["Accuracy"].value == "66.7%"
    assert "4 of 6 <bdi>test</bdi> images right" in shown["Accuracy"].detail
    assert "<bdi>cat</bdi>, the commonest class, is right in 50.0%" in shown["Accuracy"].detail
    assert 'aria-label="Accuracy 66.7%' in shown["Accuracy"].chart
    assert shown["Macro recall"].value == f"{np.mean([2 / 3, 1, 1 / 2]):.1%}"
    assert "worst is <bdi>frog</bdi> with 50.0%" in shown["Macro recall"].detail
    assert shown["Calibration error"].value == "8.1% → 1.2%"
    assert shown["Images a second here"].value == "12,300"
    assert shown["Size"].value == "4.94 MB"
    assert "1,234,567 parameters" in shown["Size"].detail
    without = {card.title: card for card in cards(found, None, COST)}
    assert without["Calibration error"].value == f"{found.calibration_error:.1%}"


@pytest.mark.parametrize(
    ("speed", "expected"), [(0.01234, "0.0123"), (7.0, "7.00"), (999.6, "1,000"), (1234, "1,230")]
)
def test_speed_has_three_digits(speed, expected):
    cost = Cost(images_per_second=speed, computed_with="cpu", num_parameters=1, num_bytes=1)
    shown = {card.title: card.value for card in cards(evaluated([0, 1], [0, 1]), None, cost)}
    assert shown["Images a second here"] == expected
