"""kilnet inspect on a run of the handwritten digits."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import kilnet
from digit_runs import SMALL, digits
from kilnet.data.dataset import ImageDataset
from kilnet.errors import InputError
from kilnet.runs.evaluation import evaluate_classifier, read_evaluations
from kilnet.training.run_folder import RunFolder


@pytest.fixture
def run(digit_runs, tmp_path):
    return shutil.copytree(digit_runs / "a", tmp_path / "run")


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_inspect_writes_every_picture_with_its_numbers_and_reads_no_test_image(run, command, monkeypatch):
    def refuse(_):
        pytest.fail("the test split was read")

    monkeypatch.setattr(ImageDataset, "test", property(refuse))
    code, out, _ = command("inspect", run, "--count", 12)
    assert code == 0
    assert "conv4" in out
    assert "labels are suspected" in out
    plots = run / "plots"
    pictures = {path.stem for path in plots.glob("*.png")} - {"learning-curves"}
    assert pictures == {
        *(f"filters-conv{n}" for n in (1, 2, 3, 4)),
        *(f"feature-maps-{n}-conv{n}" for n in (1, 2, 3, 4)),
        *("attribution", "samples-validation", "mistakes-validation", "confused-validation"),
        "label-errors-validation",
    }
    for name in pictures:
        assert rows(plots / f"{name}.csv") or name.startswith("label-errors"), name
        with Image.open(plots / f"{name}.png") as picture:
            assert picture.width > 300
    assert len(rows(plots / "samples-validation.csv")) == 12
    assert not (run / "evaluation.json").exists()
    assert not list(plots.glob(".*.tmp"))


def test_the_numbers_are_those_of_the_network_and_the_data(run, command):
    code, out, err = command("inspect", run, "--json", "--image", "0000", "--split", "train")
    assert (code, err) == (0, "")
    found = json.loads(out)
    weights = load_file(run / "weights.safetensors")
    written = rows(run / "plots" / "filters-conv1.csv")
    values = np.array([float(row["weight"]) for row in written], np.float32).reshape(4, 3, 3)
    np.testing.assert_array_equal(values, weights["conv1.weight"][:, 0])
    assert [row["name"] for row in found["layers"]][:2] == ["conv1", "conv2"]
    assert (
        sum(row["num_parameters"] for row in found["layers"])
        == json.loads((run / "environment.json").read_text())["num_parameters"]
    )

    data = digits()
    classifier = kilnet.load(run)
    evaluated = evaluate_classifier(classifier, data, "train")
    wrong = evaluated.logits.argmax(1) != data.train.labels
    assert len(found["mistakes"]) == min(30, wrong.sum())
    confidence = [sample["confidence"] for sample in found["mistakes"]]
    assert confidence == sorted(confidence, reverse=True)
    names = set(np.array(data.train.names)[wrong])
    assert {sample["name"] for sample in found["mistakes"]} <= names
    pairs = evaluated.evaluation.most_confused(5)
    assert [(p["truth"], p["predicted"], p["num_images"]) for p in found["confused"]] == pairs
    assert found["num_labels_checked"] == 0  # the network was trained on them
    values = {(r["class"], r["row"], r["column"]): r for r in rows(run / "plots" / "attribution.csv")}
    assert {name for name, _, _ in values} >= {classifier.predict(image_of(data, "0000")[None])[0]}


def image_of(data, name):
    return data.train.images[data.train.names.index(name)]


@pytest.mark.slow
def test_a_run_that_lost_its_calibration_has_the_same_confidences(run):
    def confidences():
        return [sample.confidence for sample in kilnet.inspect(run, progress=False).samples]

    before = confidences()
    (run / "calibration.json").unlink()
    assert confidences() == before


def test_one_layer_and_how_it_is_drawn(run, command):
    code, out, _ = command("inspect", run, "--layer", 2, "--all-kernels", "--columns", 8, "--json")
    assert code == 0
    drawn = [path for path in json.loads(out)["files"] if "filters" in path]
    assert [path.rpartition("/")[2] for path in drawn] == ["filters-conv2.png", "filters-conv2.csv"]
    assert len(rows(run / "plots" / "filters-conv2.csv")) == 4 * 4 * 9
    command("inspect", run, "--layer", "conv2", "--channel", 3, "--json")
    assert {row["channel"] for row in rows(run / "plots" / "filters-conv2.csv")} == {"3"}


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--layer", "conv8"], "did you mean conv"),
        (["--layer", "9"], "numbered from 1 (conv1) to 4 (conv4)"),
        (["--layer", "conv1", "--channel", "7"], "--channel 7: the filters of conv1 have channels"),
        (["--channel", "1", "--all-kernels"], "exclude each other"),
        (
            ["--image", "nowhere.png"],
            "--image nowhere.png: neither a file nor an image of the validation split",
        ),
        (["--count", "0"], "count is 0"),
        (["--columns", "-2"], "columns is -2"),
        (["--split", "all"], "--split all: choose one of train"),
        (["--split", "tset"], "no split 'tset'"),
        (["--folds", "1"], "1 folds"),
        (["--data", "gone"], "gone: no such folder"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(words, part, run, command):
    before = sorted(run.rglob("*"))
    code, out, err = command("inspect", run, "--json", *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert part in err
    assert sorted(run.rglob("*")) == before


def test_a_file_is_explained_without_a_label(run, tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)
    Image.fromarray(colour).save(tmp_path / "mine.png")
    found = kilnet.inspect(run, image=tmp_path / "mine.png", progress=False)
    assert found.image == "mine.png"
    assert len({row["class"] for row in rows(run / "plots" / "attribution.csv")}) == 1
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken.jpg: no image in one of the formats"):
        kilnet.inspect(run, image=tmp_path / "broken.jpg", progress=False)


@pytest.mark.slow
def test_folds_find_wrong_training_labels_and_go_on(tmp_path):
    data = digits()
    labels = data.train.labels.copy()
    labels[:12] = (labels[:12] + 4) % 10
    data = replace(data, train=replace(data.train, labels=labels))
    run = kilnet.train(data, epochs=12, settings=SMALL, out=tmp_path / "run", progress=False)
    found = kilnet.inspect(run, num_folds=2, data=data, progress=False)
    assert found.num_labels_checked == 300 + len(data.validation)
    suspects = [suspect.name for suspect in found.suspects if suspect.split == "train"]
    assert len(set(suspects[:12]) & set(data.train.names[:12])) >= 5  # by chance it would be one
    assert [row["name"] for row in rows(run.folder / "plots" / "label-errors-train.csv")] == suspects
    weights = {path: path.read_bytes() for path in run.folder.glob("folds/*/weights.safetensors")}
    assert [path.parent.name for path in sorted(weights)] == ["1-of-2", "2-of-2"]
    again = kilnet.inspect(run, num_folds=2, data=data, progress=False)
    assert [suspect.name for suspect in again.suspects] == [suspect.name for suspect in found.suspects]
    assert weights == {path: path.read_bytes() for path in weights}


def test_reading_the_test_split_is_recorded(run, digit_runs, tmp_path):
    kilnet.inspect(run, split="test", progress=False)
    assert read_evaluations(RunFolder(run))["test"]["num_reads"] == 1
    other = shutil.copytree(digit_runs / "b", tmp_path / "other")
    found = kilnet.compare(run, other, "test", progress=False)
    assert found.split == "test"
    assert read_evaluations(RunFolder(run))["test"]["num_reads"] == 2
    assert read_evaluations(RunFolder(other))["test"]["num_reads"] == 1
