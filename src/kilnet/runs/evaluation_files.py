"""An evaluation as files: JSON for programs, CSV for spreadsheets."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.errors import RunFolderError, StorageError
from kilnet.inference.calibration import Calibration
from kilnet.metrics import Evaluation, PredictionRow, prediction_rows
from kilnet.storage import write_json, write_text
from kilnet.training.run_folder import RunFolder


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    names: Sequence[str],
    logits: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.int64],
) -> Path:
    """Write an evaluation into a run folder; files of the same split are replaced. Returns the folder of CSV files.

    `evaluation-<split>/` holds confusion.csv (counts; rows are the truth), per_class.csv and predictions.csv (a row an
    image), all RFC 4180. evaluation.json, written last, has an entry a split: `Evaluation.to_dict` and
    `num_reads`, how often this split has been evaluated, so that nobody selects on the test split unseen.

    Args:
        folder: the run folder.
        evaluation: what `Evaluation.from_logits` made of the same logits and labels.
        names: one an image.
        logits: floating point (num_images, num_classes).
        labels: int64 (num_images,).

    Raises:
        InputError: names, logits, labels and classes do not match.
        StorageError: a file cannot be written.
    """
    predictions = prediction_rows(evaluation.classes, names, logits, labels)
    target = folder / f"evaluation-{_file_name(evaluation.split)}"
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror or error}") from error

    counts = zip(evaluation.classes, evaluation.confusion.tolist(), strict=True)
    write_csv(
        target / "confusion.csv",
        ["truth \\ predicted", *evaluation.classes],
        ([name, *row] for name, row in counts),
    )
    columns = ("class", "support", "num_correct", "recall", "precision", "f1")
    write_csv(
        target / "per_class.csv",
        columns,
        ([row[column] for column in columns] for row in evaluation.per_class()),
    )
    write_csv(target / "predictions.csv", PredictionRow._fields, predictions)
    kept = read_evaluations(folder)
    num_reads = kept.get(evaluation.split, {}).get("num_reads", 0) + 1
    entry = {**evaluation.to_dict(), "num_reads": num_reads}
    write_json(folder / "evaluation.json", {**kept, evaluation.split: entry})
    return target


def read_evaluations(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of evaluation.json by split; none before the first evaluation.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = folder / "evaluation.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise RunFolderError(f"{path}: damaged ({error}); delete it to evaluate again") from None


def read_predictions(folder: Path, split: str) -> list[PredictionRow]:
    """Return the rows of an evaluated split's predictions.csv, an image each, in the order of the split.

    Raises:
        RunFolderError: the file is missing or damaged.
    """
    path = folder / f"evaluation-{_file_name(split)}" / "predictions.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                PredictionRow(
                    row["name"], row["truth"], row["predicted"], float(row["confidence"]), float(row["loss"])
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunFolderError(f"{path}: missing or damaged ({error}); evaluate again") from None


def read_calibration(run: RunFolder) -> Calibration | None:
    """Return what the run keeps, or None where it keeps nothing, or something of other weights.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = run.calibration_path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        calibration = Calibration(**{field.name: content[field.name] for field in fields(Calibration)})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunFolderError(
            f"{path}: damaged ({error}); delete it, `kilnet evaluate` makes it again"
        ) from None
    return calibration if calibration.weights == file_digest(run.weights_path) else None


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table as RFC 4180.

    Raises:
        StorageError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _file_name(split: str) -> str:
    """Return a name for one folder whatever the data are called; other data may be named by their path."""
    return re.sub(r"[^\w-]+", "-", split).strip("-")[-60:] or "data"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
