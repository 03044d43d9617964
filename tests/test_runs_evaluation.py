"""An evaluation in the folder of its run."""

import csv
import math
from types import SimpleNamespace

import pytest

from kilnet.errors import InputError, RunFolderError, StorageError
from kilnet.metrics.classification import Evaluation
from kilnet.runs.evaluation import EvaluatedSplit, read_evaluations, read_predictions, write_evaluation
from kilnet.training.run_folder import RunFolder
from made_up_evaluations import NASTY, scores


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def written(path, evaluation, names, logits, labels):
    images = SimpleNamespace(names=names, labels=labels)
    return write_evaluation(RunFolder(path), EvaluatedSplit(evaluation, images, logits))


def test_files_hold_the_evaluation_whatever_the_classes_are_called(tmp_path):
    logits, labels = scores(len(NASTY))
    evaluation = Evaluation.from_logits("test", NASTY, logits, labels)
    names = [f'{NASTY[label]}/no. {i}, "x".png' for i, label in enumerate(labels)]
    folder = written(tmp_path, evaluation, names, logits, labels)
    assert folder == tmp_path / "evaluation-test"
    assert sorted(path.name for path in folder.iterdir()) == [
        "confusion.csv",
        "per_class.csv",
        "predictions.csv",
    ]

    again = Evaluation.from_dict(read_evaluations(RunFolder(tmp_path))[evaluation.split])
    assert again.to_dict() == evaluation.to_dict()

    head, *rows = read_csv(folder / "confusion.csv")
    assert head[1:] == [row[0] for row in rows] == list(NASTY)
    assert [[int(count) for count in row[1:]] for row in rows] == evaluation.confusion.tolist()

    head, *rows = read_csv(folder / "per_class.csv")
    assert head == ["class", "support", "num_correct", "recall", "precision", "f1"]
    assert [row[0] for row in rows] == list(NASTY)
    assert [float(row[2]) / float(row[1]) for row in rows[:-1]] == [float(row[3]) for row in rows[:-1]]
    assert rows[-1][1] == "0"
    assert rows[-1][3] == ""

    head, *rows = read_csv(folder / "predictions.csv")
    assert head == ["name", "truth", "predicted", "confidence", "loss", "uncalibrated_confidence"]
    assert [row[0] for row in rows] == names
    assert sum(row[1] == row[2] for row in rows) == evaluation.num_correct
    assert math.fsum(float(row[4]) for row in rows) == pytest.approx(evaluation.loss_sum)


def test_names_that_are_formulas_are_read_back_as_they_are(tmp_path):
    classes = ("=HYPERLINK(1)", "'+1+1", "@x")
    logits, labels = scores(len(classes))
    evaluation = Evaluation.from_logits("test", classes, logits, labels)
    names = [f"-{i}+1.png" for i in range(len(labels))]
    folder = written(tmp_path, evaluation, names, logits, labels)
    for path in folder.iterdir():
        assert not [cell for row in read_csv(path) for cell in row if cell[:1] in ("=", "+", "@")]
    rows = read_predictions(RunFolder(tmp_path), "test")
    assert [row.name for row in rows] == names
    assert {row.truth for row in rows} | {row.predicted for row in rows} <= set(classes)


@pytest.mark.parametrize("split", ["/data/my photos/", "../..", "", "C:\\photos", "x" * 500])
def test_files_stay_in_the_run_folder_whatever_the_split_is_called(tmp_path, split):
    logits, labels = scores(2, 10)
    evaluation = Evaluation.from_logits(split, ("a", "b"), logits, labels)
    folder = written(tmp_path, evaluation, list("0123456789"), logits, labels)
    assert folder.parent == tmp_path
    assert sorted(tmp_path.iterdir()) == sorted([folder, tmp_path / "evaluation.json"])
    assert read_evaluations(RunFolder(tmp_path))[split]["split"] == split


def test_two_splits_lie_side_by_side(tmp_path):
    logits, labels = scores(2, 10)
    for split in ("validation", "test", "test"):
        evaluation = Evaluation.from_logits(split, ("a", "b"), logits, labels)
        written(tmp_path, evaluation, list("0123456789"), logits, labels)
    folders = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert folders == ["evaluation-test", "evaluation-validation"]
    reads = {split: entry["num_reads"] for split, entry in read_evaluations(RunFolder(tmp_path)).items()}
    assert reads == {"validation": 1, "test": 2}


def test_a_damaged_file_of_evaluations_is_named_and_kept(tmp_path):
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"evaluation\.json: damaged"):
        read_evaluations(RunFolder(tmp_path))
    assert (tmp_path / "evaluation.json").read_text() == "{"


def test_bad_input_writes_nothing(tmp_path):
    logits, labels = scores(2, 10)
    evaluation = Evaluation.from_logits("test", ("a", "b"), logits, labels)
    with pytest.raises(InputError, match="9 names and 10 labels"):
        written(tmp_path, evaluation, list("012345678"), logits, labels)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_named(tmp_path):
    logits, labels = scores(2, 10)
    evaluation = Evaluation.from_logits("test", ("a", "b"), logits, labels)
    with pytest.raises(StorageError, match="nowhere"):
        written(tmp_path / "nowhere", evaluation, list("0123456789"), logits, labels)
