"""Tables beside pictures: their numbers are those of what was drawn."""

import csv

import numpy as np
import pytest
from PIL import Image

from inspected import config_net, pictures
from kilnet.figures.inspection_files import InspectionFiles
from kilnet.inspection.features import feature_maps, filters
from kilnet.inspection.label_errors import SuspectedLabel
from kilnet.inspection.layer_table import LayerRow
from kilnet.inspection.samples import confident_mistakes, confused_pairs
from kilnet.training.run_folder import RunFolder
from made_up_evaluations import six_images


@pytest.fixture
def files(tmp_path):
    run = RunFolder(tmp_path)
    run.plots_path.mkdir()
    return InspectionFiles(run)


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_weights_of_filters_are_written_in_full(files, tmp_path):
    classifier = config_net()
    files.filters(filters(classifier), None)
    assert files.written == [
        tmp_path / "plots" / "filters-conv1.png",
        tmp_path / "plots" / "filters-conv1.csv",
    ]
    weights = classifier.model.conv1.weight.detach().numpy()
    written = rows(files.written[1])
    assert len(written) == weights.size
    for row in written:
        place = tuple(int(row[name]) for name in ("filter", "channel", "row", "column"))
        assert np.float32(row["weight"]) == weights[place]


def test_maps_are_written_before_and_after_the_activation(files, tmp_path):
    classifier = config_net()
    (found, *_) = feature_maps(classifier, pictures(classifier)[0])
    files.feature_maps(found, 1, None)
    written = rows(tmp_path / "plots" / "feature-maps-1-conv1.csv")
    for what, values in (("output", found.output), ("activated", found.activated)):
        lines = [row for row in written if row["values"] == what]
        table = [[float(row[f"column {i}"]) for i in range(values.shape[2])] for row in lines]
        np.testing.assert_allclose(np.reshape(table, values.shape), values, rtol=1e-5)


def test_samples_and_confusions_are_written_as_they_are_listed(files, tmp_path):
    mistakes, pairs = confident_mistakes(six_images(), 10), confused_pairs(six_images(), 5, count=2)
    files.samples("mistakes", "Mistakes", mistakes, None)
    files.confused("confused", "Confused", pairs)
    written = rows(tmp_path / "plots" / "mistakes.csv")
    assert [row["name"] for row in written] == ["5.png", "3.png", "4.png", "1.png"]
    assert [float(row["confidence"]) for row in written] == [sample.confidence for sample in mistakes]
    written = rows(tmp_path / "plots" / "confused.csv")
    assert [(row["truth"], row["predicted"], row["num_images"], row["name"]) for row in written] == [
        ("cat", "dog", "3", "3.png"),
        ("cat", "dog", "3", "4.png"),
        ("frog", "cat", "1", "5.png"),
    ]
    with Image.open(tmp_path / "plots" / "mistakes.png") as picture:
        assert picture.format == "PNG"


def test_all_suspects_are_written_and_some_are_drawn(files, tmp_path):
    suspects = [
        SuspectedLabel(
            image=np.full((3, 4, 4), number, np.uint8),
            split="train",
            name=f"{number}.png",
            label="cat",
            suggested="a, dog",
            confidence=0.9,
            suspicion=0.8,
        )
        for number in range(5)
    ]
    files.label_errors("label-errors", "Labels", suspects, 2)
    written = rows(tmp_path / "plots" / "label-errors.csv")
    assert [row["name"] for row in written] == [f"{number}.png" for number in range(5)]
    assert {(row["suggested"], row["suspicion"]) for row in written} == {("a, dog", "0.8")}
    assert "image" not in written[0]


def test_layers_and_duplicates_are_tables_without_a_picture(files, tmp_path):
    row = LayerRow(
        name="conv1",
        kind="Conv2d",
        input_shape=(3, 32, 30),
        output_shape=(8, 30, 28),
        num_parameters=224,
        num_multiply_adds=181440,
        milliseconds=0.5,
    )
    files.layers([row])
    files.duplicates({"in one class": [("a", "b"), ("c", "d", "e")], "in two classes": [("f", "g")]})
    assert [path.name for path in files.written] == ["layers.csv", "duplicates.csv"]
    (written,) = rows(tmp_path / "plots" / "layers.csv")
    assert (written["input_shape"], written["output_shape"], written["num_parameters"]) == (
        "3x32x30",
        "8x30x28",
        "224",
    )
    groups = [(row["kind"], row["group"], row["name"]) for row in rows(tmp_path / "plots" / "duplicates.csv")]
    assert groups == [
        *(("in one class", "1", name) for name in "ab"),
        *(("in one class", "2", name) for name in "cde"),
        *(("in two classes", "3", name) for name in "fg"),
    ]
