"""A network evaluated on images that it has not seen; evaluations and calibration as files of its run."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveFloat, TypeAdapter

from kilnet.data.dataset import ImageDataset, LabelledImages, Split
from kilnet.errors import DataError, InputError, RunFolderError
from kilnet.inference.calibration import TARGET_ACCURACY, Calibration
from kilnet.inference.classifier import Classifier, match_classes
from kilnet.inference.prediction_rows import PredictionRow, prediction_rows
from kilnet.metrics.classification import Evaluation
from kilnet.storage import (
    MAX_TABLE_BYTES,
    Text,
    checksum,
    from_cell,
    make_folder,
    parse_csv,
    read_bytes,
    read_json,
    reading,
    sealed,
    unsealed,
    write_csv,
    write_json,
)
from kilnet.training.run_folder import RunFolder

_CALIBRATION: TypeAdapter[Calibration] = TypeAdapter(Calibration)
_BESIDE = ("num_reads", "predictions_checksum", "data")  # what an entry holds beside its evaluation


class _Bins(BaseModel):
    num_images: list[NonNegativeInt]
    num_correct: list[NonNegativeInt]
    confidence_sum: list[float]


class _Entry(BaseModel):
    """What is read of an entry of evaluation.json; the rest follows from it."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    split: Text
    classes: list[Text]
    confusion: list[list[NonNegativeInt]]
    loss_sum: float
    calibration_bins: _Bins
    num_reads: NonNegativeInt
    temperature: PositiveFloat = 1.0
    power: PositiveFloat = 1.0
    uncalibrated_error: float | None = None
    predictions_checksum: str | None = None
    data: Text | None = None


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
        classifier: the network; where it is calibrated, so are the confidences, but not the logits.
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
    labels = images.labels
    evaluation = Evaluation.from_logits(split, classifier.classes, logits, labels, classifier.scale)
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
    seen = found.images.names, found.logits, found.images.labels
    predictions = prediction_rows(evaluation.classes, *seen, evaluation.scale)
    path = files.evaluation_table(split, "confusion")
    make_folder(path.parent)
    counts = zip(evaluation.classes, evaluation.confusion.tolist(), strict=True)
    write_csv(path, ["truth \\ predicted", *evaluation.classes], ([name, *row] for name, row in counts))
    columns = ("class", "support", "num_correct", "recall", "precision", "f1")
    rows = ([row[column] for column in columns] for row in evaluation.per_class())
    write_csv(files.evaluation_table(split, "per_class"), columns, rows)
    table = files.evaluation_table(split, "predictions")
    write_csv(table, PredictionRow._fields, predictions)
    with reading(table, "evaluate again"):
        predictions_checksum = checksum(read_bytes(table))
    kept = read_evaluations(files)
    entry = {
        **evaluation.to_dict(),
        "num_reads": kept.get(split, {}).get("num_reads", 0) + 1,
        "predictions_checksum": predictions_checksum,
    }
    if found.source is not None:
        entry["data"] = found.source
    write_json(files.evaluation_path, {name: sealed(of_it) for name, of_it in {**kept, split: entry}.items()})
    return path.parent


def read_evaluations(files: RunFolder) -> dict[str, dict[str, Any]]:
    """Return the entries of evaluation.json by split; none before the first evaluation.

    Raises:
        RunFolderError: the file is damaged.
    """
    path, entries = files.evaluation_path, {}
    with suppress(FileNotFoundError), reading(path, "delete it to evaluate again"):
        for split, written in read_json(path).items():
            entries[split] = _entry(unsealed(written))
            if entries[split]["split"] != split:
                raise ValueError(f"{split!r} holds {entries[split]['split']!r}")
    return entries


def _entry(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with its ratios as they follow from its counts."""
    _Entry.model_validate(written)
    rest = {key: written[key] for key in _BESIDE if key in written}
    try:
        return {**Evaluation.from_dict(written).to_dict(), **rest}
    except InputError as error:
        raise ValueError(str(error)) from None


def read_predictions(files: RunFolder, split: str) -> list[PredictionRow]:
    """Return the rows of an evaluated split's predictions.csv, one per image, in the order of the split.

    Raises:
        RunFolderError: the file is missing or damaged.
    """
    path = files.evaluation_table(split, "predictions")
    expected = read_evaluations(files).get(split, {}).get("predictions_checksum")
    try:
        with reading(path, "evaluate again", "missing or damaged"):
            content = read_bytes(path, MAX_TABLE_BYTES)
            if expected not in (None, checksum(content)):
                raise ValueError("it is not the table that evaluation.json is about")
            rows = [
                PredictionRow(
                    name=from_cell(row["name"]),
                    truth=from_cell(row["truth"]),
                    predicted=from_cell(row["predicted"]),
                    confidence=float(row["confidence"]),
                    loss=float(row["loss"]),
                    # Earlier versions wrote this one alone.
                    uncalibrated_confidence=float(row.get("uncalibrated_confidence", row["confidence"])),
                )
                for row in parse_csv(content.decode())
            ]
    except FileNotFoundError:
        raise RunFolderError(f"{path}: missing or damaged (not there); evaluate again") from None
    return rows


def read_calibration(files: RunFolder) -> Calibration | None:
    """Return what the run keeps, or None where it keeps nothing, or something of other weights.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = files.calibration_path
    try:
        with reading(path, "delete it, `kilnet evaluate` makes it again"):
            calibration = _CALIBRATION.validate_json(json.dumps(unsealed(read_json(path))), strict=True)
    except FileNotFoundError:
        return None
    return calibration if calibration.weights == file_digest(files.weights_path) else None


def write_calibration(files: RunFolder, calibration: Calibration) -> None:
    """Write calibration.json."""
    write_json(files.calibration_path, sealed({"target_accuracy": TARGET_ACCURACY, **asdict(calibration)}))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as hex; "" where there is none."""
    with suppress(FileNotFoundError), reading(path, "train again into another folder"):
        return hashlib.sha256(read_bytes(path)).hexdigest()
    return ""
