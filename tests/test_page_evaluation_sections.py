"""Sections about what a network gets right and wrong, against counts by hand."""

import numpy as np
import pytest

from kilnet.metrics.classification import Evaluation
from kilnet.metrics.intervals import wilson_interval
from kilnet.page import evaluation_sections as sections
from kilnet.page.album import Selection
from kilnet.page.document import render

CLASSES = ("cat", "<b>dog</b>", "frog")
TRUTH = np.array([0, 0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 1, 1, 2, 1, 0, 2])
CONFIDENCE = np.array([0.95, 0.9, 0.6, 0.5, 0.8, 0.7, 0.99])


@pytest.fixture
def evaluation():
    probabilities = np.repeat(((1 - CONFIDENCE) / 2)[:, None], 3, axis=1)
    probabilities[np.arange(7), PREDICTED] = CONFIDENCE
    return Evaluation.from_logits("test", CLASSES, np.log(probabilities), TRUTH)


@pytest.fixture
def selection():
    return Selection(
        indices=np.arange(7), cells={(0, 1): [1, 2], (2, 2): [6]}, samples=[3, 0], mistakes=[1, 5]
    )


def test_the_result_is_the_accuracy_with_its_interval(evaluation):
    entry = evaluation.to_dict() | {"num_reads": 3}
    content = sections.result("test", 3, 7, {"test": entry}, ["a note"]).content
    assert content["accuracy"] == 3 / 7
    assert content["interval"] == wilson_interval(3, 7)
    rows = {row["title"]: row["cells"] for row in content["rows"]}
    assert rows["images"] == ["7"]
    assert rows["accuracy"] == ["42.9%"]
    assert rows["times evaluated"] == ["3"]
    assert sections.result("test", 0, 0, {}, []).content["accuracy"] is None


def test_the_confusion_matrix_has_every_count_and_the_images_of_its_cells(evaluation, selection):
    section = sections.confusion(evaluation, selection)
    assert section.content["counts"] == section.data["counts"] == [[1, 2, 1], [1, 1, 0], [0, 0, 1]]
    assert section.data["cells"] == {"0-1": [1, 2], "2-2": [6]}
    first = section.content["pairs"][0]
    assert (first["truth"], first["predicted"], first["count"]) == ("cat", "<b>dog</b>", 2)
    assert (first["share"], first["cell"]) == (0.5, "0-1")
    page = render("t", "s", [section])
    assert "<b>dog" not in page.replace("<bdi>", "")


def test_classes_have_their_scores_with_intervals(evaluation):
    rows = sections.per_class(evaluation).content["rows"]
    assert [row["class"] for row in rows] == list(CLASSES)
    assert [row["recall"] for row in rows] == pytest.approx([1 / 4, 1 / 2, 1])
    assert [row["precision"] for row in rows] == pytest.approx([1 / 2, 1 / 3, 1 / 2])
    assert rows[0]["interval"] == wilson_interval(1, 4)


def test_confidence_is_compared_with_accuracy_step_by_step(evaluation):
    content = sections.calibration(evaluation).content
    assert sum(entry["num_images"] for entry in content["bins"]) == 7
    assert sum(entry["num_correct"] for entry in content["bins"]) == 3
    for entry in content["bins"]:
        inside = (entry["low"] < CONFIDENCE) & (entry["high"] + 1e-9 >= CONFIDENCE)
        right = (PREDICTED == TRUTH)[inside]
        assert entry["num_images"] == inside.sum()
        assert entry["accuracy"] == (right.mean() if inside.any() else None)
        if inside.any():
            assert entry["confidence"] == pytest.approx(CONFIDENCE[inside].mean())
    assert f"The mean confidence is {CONFIDENCE.mean():.1%}, the accuracy 42.9%." in content["summary"]


def test_images_are_counted_in_words(evaluation, selection):
    assert sections.samples(evaluation, selection).content["hint"].startswith("2 of 7 test images")
    mistakes = sections.mistakes(evaluation, selection).content
    assert mistakes["hint"].startswith("2 of 4 mistakes, the most confident first")
    assert mistakes["images"] == [1, 5]
    perfect = Evaluation.from_logits("test", CLASSES, np.eye(3), np.arange(3))
    assert sections.mistakes(perfect, selection).content["hint"] == "There are none."
