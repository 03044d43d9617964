"""Predictions as a data frame."""

import pytest

import kilnet
from kilnet.data.class_folders import Problem

pytest.importorskip("pandas")


def test_predictions_and_problems_are_rows():
    cat = kilnet.Prediction("cat.jpg", ("cat", "ant"), (0.75, 0.25), unsure=True, unknown=False)
    ant = kilnet.Prediction("ant.jpg", ("ant", "cat"), (0.9, 0.1), unsure=False)
    frame = kilnet.to_frame([cat, Problem("note.txt", "no picture"), ant])
    assert frame["label"].tolist()[::2] == ["cat", "ant"]
    assert frame["p: cat"].tolist()[::2] == [0.75, 0.1]
    assert frame["unsure"].tolist()[::2] == [True, False]
    assert frame["unknown"].tolist() == [False, None, None]
    assert frame["problem"].tolist()[1] == "no picture"
    assert len(kilnet.to_frame(cat)) == 1
