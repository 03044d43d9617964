"""A network evaluated on images that it has not seen; evaluations and calibration as files of its run."""

import csv
import hashlib
import json
from dataclasses import dataclass, fields, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import ImageDataset, LabelledImages, Split
from kilnet.errors import DataError, RunFolderError
from kilnet.inference.calibration import Calibration
from kilnet.inference.classifier import Classifier, match_classes
from kilnet.metrics import Evaluation, PredictionRow, prediction_rows
from kilnet.storage import make_folder, unescaped, write_csv, write_json
from kilnet.training.run_folder import RunFolder


@dataclass(frozen=True, eq=False)
class EvaluatedSplit:
    """An evaluation, with the images and what the network says of each.

    Attributes:
        evaluation: the counts and what follows from them.
        images: what was evaluated; labels are the network's indices.
        logits: float32 (num_images, num_classes).
        source: where other data than the run's own lies, if in a folder.
    """

    evaluation: Evaluation
    images: Split
    logits: npt.NDArray[np.float32]
    source: str | None = None


def evaluate_classifier(
    classifier: Classifier, dataset: ImageDataset | LabelledImages, split: str
) -> EvaluatedSplit:
    """Evaluate a network on one split of a data set, every image once.

    Args:
        classifier: the network.
        dataset: with the same class names, or some of them, in any order.
        split: "train", "validation", "test", or "all" for the three together.

    Raises:
        InputError: the data has a class that the network does not know.
        DataError: there is no such split, or the images have another shape.
    """
    images = dataset.split(split)
    if len(images) == 0:
        raise DataError(f"{dataset.name}: the {split} split is empty")
    indices = match_classes(classifier, dataset.classes)
    images = replace(images, labels=indices[images.labels])
    logits = classifier.logits(images.images)
    evaluation = Evaluation.from_logits(split, classifier.classes, logits, images.labels)
    return EvaluatedSplit(evaluation, images, logits)


def as_other_data(files: RunFolder, found: EvaluatedSplit, name: str, source: str | None) -> EvaluatedSplit:
    """Return an evaluation of other data by the name of its entry, which no other folder's evaluation has.

    Args:
        files: of the run.
        found: the evaluation, by its split.
        name: of the data; where its entry is taken, it gets a number.
        source: where the data lies, if in a folder.
    """
    split, kept = found.evaluation.split, read_evaluations(files)

    def is_free(entry: str) -> bool:
        table = files.evaluation_table(entry, "confusion")
        alike = [other for other in kept if files.evaluation_table(other, "confusion") == table]
        return all(other == entry and kept[other].get("data") == source for other in alike)

    entries = (f"{name}{f'-{number}' if number > 1 else ''} {split}" for number in count(1))
    entry = next(filter(is_free, entries))
    return replace(found, evaluation=replace(found.evaluation, split=entry), source=source)


def write_evaluation(files: RunFolder, found: EvaluatedSplit) -> Path:
    """Write an evaluation into a run folder; files of the same split are replaced. Returns the folder of CSV files.

    `evaluation-<split>/` holds confusion.csv (counts; rows are the truth), per_class.csv and predictions.csv (one row
    per image), all RFC 4180. evaluation.json, written last, has one entry per split: `Evaluation.to_dict` and
    `num_reads`, how often this split has been evaluated, so that nobody selects on the test split unseen; and `data`,
    where other data than the run's own lies.

    Raises:
        InputError: names, logits, labels and classes do not match.
        StorageError: a file cannot be written.
    """
    evaluation, split = found.evaluation, found.evaluation.split
    predictions = prediction_rows(evaluation.classes, found.images.names, found.logits, found.images.labels)
    path = files.evaluation_table(split, "confusion")
    make_folder(path.parent)
    counts = zip(evaluation.classes, evaluation.confusion.tolist(), strict=True)
    write_csv(path, ["truth \\ predicted", *evaluation.classes], ([name, *row] for name, row in counts))
    columns = ("class", "support", "num_correct", "recall", "precision", "f1")
    rows = ([row[column] for column in columns] for row in evaluation.per_class())
    write_csv(files.evaluation_table(split, "per_class"), columns, rows)
    write_csv(files.evaluation_table(split, "predictions"), PredictionRow._fields, predictions)
    kept = read_evaluations(files)
    num_reads = kept.get(split, {}).get("num_reads", 0) + 1
    entry = {**evaluation.to_dict(), "num_reads": num_reads}
    if found.source is not None:
        entry["data"] = found.source
    write_json(files.evaluation_path, {**kept, split: entry})
    return path.parent


def read_evaluations(files: RunFolder) -> dict[str, dict[str, Any]]:
    """Return the entries of evaluation.json by split; none before the first evaluation.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = files.evaluation_path
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise RunFolderError(f"{path}: damaged ({error}); delete it to evaluate again") from None


def read_predictions(files: RunFolder, split: str) -> list[PredictionRow]:
    """Return the rows of an evaluated split's predictions.csv, one per image, in the order of the split.

    Raises:
        RunFolderError: the file is missing or damaged.
    """
    path = files.evaluation_table(split, "predictions")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                PredictionRow(
                    name=unescaped(row["name"]),
                    truth=unescaped(row["truth"]),
                    predicted=unescaped(row["predicted"]),
                    confidence=float(row["confidence"]),
                    loss=float(row["loss"]),
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunFolderError(f"{path}: missing or damaged ({error}); evaluate again") from None


def read_calibration(files: RunFolder) -> Calibration | None:
    """Return what the run keeps, or None where it keeps nothing, or something of other weights.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = files.calibration_path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        calibration = Calibration(**{field.name: content[field.name] for field in fields(Calibration)})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunFolderError(
            f"{path}: damaged ({error}); delete it, `kilnet evaluate` makes it again"
        ) from None
    return calibration if calibration.weights == file_digest(files.weights_path) else None


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
