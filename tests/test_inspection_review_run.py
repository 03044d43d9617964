"""What of a run is to be looked at: planted wrong labels come first, in training and in validation."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from digit_runs import digits
from inspected import classifier_of
from kilnet.inspection.review_run import RunReview, original_folder
from kilnet.runs.run import Run
from picture_folders import make_folder


@pytest.fixture
def run(digit_runs, tmp_path):
    return Run(shutil.copytree(digit_runs / "a", tmp_path / "run"))


def with_wrong_labels(split, num):
    labels = split.labels.copy()
    labels[:num] = (labels[:num] + 1) % 10
    return replace(split, labels=labels), set(split.names[:num])


def test_planted_labels_come_first_and_the_test_only_when_it_is_added(run):
    dataset = digits()
    train, wrong = with_wrong_labels(dataset.train, 12)
    validation, more = with_wrong_labels(dataset.validation, 6)
    dataset = replace(dataset, train=train, validation=validation)
    said = []
    review = RunReview(run, dataset, run.calibrated_classifier(), say=said.append)
    items = review.items()
    planted = wrong | more
    assert len({item.image.name for item in items[:18]} & planted) >= 6, (
        "a weak network; by chance there would be one"
    )
    assert len({item.image.name for item in items} & planted) >= 15
    assert set(review.images) == {"train", "validation"}
    assert "a last layer that has not seen them" in said[0]
    review.add(run.evaluated("test", dataset))
    assert set(review.images) == {"train", "validation", "test"}


def test_logits_of_folds_are_used_where_there_are_some(run):
    dataset = digits()
    said = []
    logits = np.eye(10, dtype=np.float32)[dataset.train.labels] * 5
    review = RunReview(run, dataset, run.calibrated_classifier(), logits, say=said.append)
    assert said == ["training labels are judged by networks that have not seen them (folds)"]
    assert not [item for item in review.items() if item.image.split == "train" and "wrong" in item.reasons[0]]


def test_a_network_without_a_last_linear_layer_leaves_training_labels_out(run):
    from torch import nn

    model = nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = classifier_of(model, (1, 16, 16), tuple(map(str, range(10))))
    said = []
    review = RunReview(run, digits(), classifier, say=said.append)
    assert set(review.images) == {"validation"}
    assert "no training labels are judged" in said[0]


def test_pictures_are_files_only_where_the_data_is_a_folder_or_a_table(run, tmp_path):
    assert original_folder(run) is None
    photos = make_folder(tmp_path / "photos")
    (tmp_path / "labels.csv").write_text("path,label\nphotos/cat/0.png,cat\n")
    (tmp_path / "photos.zip").write_bytes(b"")

    def folder_of(source, root=None):
        data = run.config.data.model_copy(update={"source": str(source), "root": root})
        run.config = run.config.model_copy(update={"data": data})
        return original_folder(run)

    assert folder_of(photos) == photos
    assert folder_of(tmp_path / "labels.csv") == tmp_path
    assert folder_of(tmp_path / "labels.csv", str(photos)) == photos
    assert folder_of(tmp_path / "photos.zip") is None
