"""An evaluation as files: JSON for programs, CSV for spreadsheets."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.errors import StorageError
from kilnet.metrics import Evaluation, PredictionRow, prediction_rows
from kilnet.storage import write_json, write_text


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    names: Sequence[str],
    logits: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.int64],
) -> Path:
    """Write `evaluation-<split>/` into `folder` and return it; files of the same split are replaced.

    It holds confusion.csv (counts; rows are the truth), per_class.csv, predictions.csv (a row an image) and,
    written last, evaluation.json: where that exists, all are whole. The CSV files follow RFC 4180.

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
        (target / "evaluation.json").unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror or error}") from error

    counts = zip(evaluation.classes, evaluation.confusion.tolist(), strict=True)
    _write_csv(
        target / "confusion.csv",
        ["truth \\ predicted", *evaluation.classes],
        ([name, *row] for name, row in counts),
    )
    columns = ("class", "support", "num_correct", "recall", "precision", "f1")
    _write_csv(
        target / "per_class.csv",
        columns,
        ([row[column] for column in columns] for row in evaluation.per_class()),
    )
    _write_csv(target / "predictions.csv", PredictionRow._fields, predictions)
    write_json(target / "evaluation.json", evaluation.to_dict())
    return target


def _write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _file_name(split: str) -> str:
    """Return a name for one folder whatever the data are called; other data may be named by their path."""
    return re.sub(r"[^\w-]+", "-", split).strip("-")[-60:] or "data"
