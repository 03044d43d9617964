"""What is recorded of folds, compared with scikit-learn."""

import csv
import json

import numpy as np
import pytest
from sklearn import metrics

from kilnet.runs.cross_validation import read_summaries, record
from kilnet.training.run_folder import RunFolder
from small_loops import make_dataset


@pytest.fixture
def recorded(tmp_path):
    dataset = make_dataset(num_train=101)
    random = np.random.default_rng(0)
    logits = random.normal(size=(101, 3)).astype(np.float32)
    logits[np.arange(101), dataset.train.labels] += 1
    fold_of = np.arange(101) % 4
    (tmp_path / "folds").mkdir()
    return dataset, logits, fold_of, record(RunFolder(tmp_path), dataset, fold_of, logits)


def test_metrics_are_those_of_scikit_learn(recorded):
    dataset, logits, fold_of, found = recorded
    labels, predicted = dataset.train.labels, logits.argmax(1)
    assert found.evaluation.accuracy == metrics.accuracy_score(labels, predicted)
    assert found.evaluation.macro_recall == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    assert found.evaluation.macro_f1 == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(1, keepdims=True)
    assert found.evaluation.loss == pytest.approx(metrics.log_loss(labels, probabilities))
    assert found.num_images == (26, 25, 25, 25)
    for fold, accuracy in enumerate(found.fold_accuracies):
        chosen = fold_of == fold
        assert accuracy == metrics.accuracy_score(labels[chosen], predicted[chosen])
    assert found.mean == pytest.approx(np.mean(found.fold_accuracies))


def test_the_interval_from_fold_to_fold_allows_for_common_training_images(recorded):
    found = recorded[-1]
    spread = np.std(found.fold_accuracies, ddof=1)
    low, high = found.mean_interval
    t_of_3 = 3.182446  # two-sided 95%, from a table
    assert (high - low) / 2 == pytest.approx(t_of_3 * spread * np.sqrt(1 / 4 + 1 / 3), rel=1e-5)


def test_predictions_are_one_file_with_every_image_once(recorded):
    dataset, logits, fold_of, found = recorded
    with found.predictions.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert found.predictions.name == "predictions-of-4.csv"
    assert [row["name"] for row in rows] == list(dataset.train.names)
    assert [int(row["fold"]) - 1 for row in rows] == fold_of.tolist()
    assert [row["predicted"] for row in rows] == [dataset.classes[label] for label in logits.argmax(1)]
    summary = json.loads((found.predictions.parent / "summary-of-4.json").read_text("utf-8"))
    assert summary["pooled_accuracy"] == found.evaluation.accuracy
    assert len(found.lines()) == 3
    (read,) = read_summaries(RunFolder(found.run))
    assert read == found.to_dict()
    (found.predictions.parent / "summary-of-4.json").write_text("{")
    assert read_summaries(RunFolder(found.run)) == []
