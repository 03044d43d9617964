"""Sections about what a network gets right and wrong."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kilnet.metrics.classification import NUM_CALIBRATION_BINS, Evaluation
from kilnet.metrics.intervals import wilson_interval
from kilnet.page.album import Selection
from kilnet.page.document import Section, percent
from kilnet.page.likeness import order_by_likeness
from kilnet.page.svg import Axis, histogram, reliability_chart
from kilnet.page.verdict import Head
from kilnet.runs.wording import one_line

MAX_GRID_CLASSES = 40
"""With more classes the confusion matrix is a picture in which one moves, and tables begin with the worst."""
_PAIRS = 50
_FEW_CLASSES = 20  # these stay in their order, with all of them in view

Entry = Mapping[str, Any]


_RESULT_ROWS: dict[str, Callable[[Entry], str]] = {
    "images": lambda entry: f"{entry['num_images']:,}",
    "accuracy": lambda entry: percent(entry["accuracy"]),
    "its 95% interval": lambda entry: " to ".join(map(percent, entry["accuracy_interval"])),
    "loss (nats per image)": lambda entry: f"{entry['loss']:.4f}",
    "macro recall": lambda entry: percent(entry["macro_recall"]),
    "macro precision": lambda entry: percent(entry["macro_precision"]),
    "macro F1": lambda entry: percent(entry["macro_f1"]),
    "calibration error": lambda entry: percent(entry["calibration_error"]),
    "before calibration": lambda entry: percent(entry.get("uncalibrated_error")),
    "times evaluated": lambda entry: f"{entry.get('num_reads', 1):,}",
}


def result(
    split: str,
    num_correct: int,
    num_images: int,
    entries: Mapping[str, Entry],
    notes: Sequence[str],
    head: Head | None = None,
) -> Section:
    """Return what the run is worth, then a table of all its evaluations.

    Args:
        split, num_correct, num_images: what the page shows.
        entries: all evaluations in evaluation.json.
        notes: sentences that the reader must not miss.
        head: verdict, cards and worst mistakes; without it the accuracy stands alone.
    """
    content = {
        "split": split,
        "accuracy": num_correct / num_images if num_images else None,
        "interval": wilson_interval(num_correct, num_images),
        "num_correct": num_correct,
        "num_images": num_images,
        "entries": list(entries),
        "rows": [
            {"title": title, "cells": [write(entry) for entry in entries.values()]}
            for title, write in _RESULT_ROWS.items()
        ],
        "notes": notes,
        "head": head,
    }
    return Section("result", "Result", "result", content)


def confusion(evaluation: Evaluation, selection: Selection) -> Section:
    """Return the confusion matrix as a heat map; it switches units, and each cell shows its images."""
    num_classes = len(evaluation.classes)
    numbers = {name: number for number, name in enumerate(evaluation.classes)}
    counts = evaluation.confusion.tolist()
    pairs = [
        {
            "truth": truth,
            "predicted": predicted,
            "count": count,
            "share": count / evaluation.support[numbers[truth]],
            "cell": f"{numbers[truth]}-{numbers[predicted]}",
        }
        for truth, predicted, count in evaluation.most_confused(_PAIRS)
    ]
    has_grid = num_classes <= MAX_GRID_CLASSES
    content = {
        "split": evaluation.split,
        "classes": evaluation.classes,
        "counts": counts,
        "has_grid": has_grid,
        "size": "few" if num_classes <= 12 else "some" if num_classes <= 30 else "many",
        "pairs": pairs,
    }
    data = {
        "classes": [one_line(name) for name in evaluation.classes],
        "order": order_by_likeness(evaluation.confusion),
        **({"counts": counts} if has_grid else {"entries": _entries(evaluation)}),
        "cells": {f"{truth}-{predicted}": places for (truth, predicted), places in selection.cells.items()},
    }
    return Section("confusion", "Confusion matrix", "confusion", content, data)


def _entries(evaluation: Evaluation) -> list[list[int]]:
    """Return the confusion matrix as (truth, predicted, images) where there are any."""
    places = np.argwhere(evaluation.confusion)
    return [[int(row), int(column), int(evaluation.confusion[row, column])] for row, column in places]


def per_class(evaluation: Evaluation) -> Section:
    """Return the sortable table of classes; where there are many, the worst come first."""
    classes = evaluation.per_class()
    rows = [{**row, "interval": wilson_interval(row["num_correct"], row["support"])} for row in classes]
    if is_long := len(rows) > _FEW_CLASSES:
        rows.sort(key=lambda row: (row["recall"] is None, row["recall"], -row["support"]))
    content = {"split": evaluation.split, "rows": rows, "is_long": is_long}
    return Section("classes", "Classes", "per_class", content)


def calibration(evaluation: Evaluation) -> Section:
    """Return how well confidence and accuracy agree."""
    found = (evaluation.bin_num_images, evaluation.bin_num_correct, evaluation.bin_confidence_sum)
    columns = zip(*(values.tolist() for values in found), strict=True)
    bins = [
        {
            "low": number / NUM_CALIBRATION_BINS,
            "high": (number + 1) / NUM_CALIBRATION_BINS,
            "num_images": num_images,
            "num_correct": num_correct,
            "confidence": confidence_sum / num_images if num_images else None,
            "accuracy": num_correct / num_images if num_images else None,
            "interval": wilson_interval(num_correct, num_images),
        }
        for number, (num_images, num_correct, confidence_sum) in enumerate(columns)
    ]
    mean_confidence = math.fsum(evaluation.bin_confidence_sum) / evaluation.num_images
    summary = (
        f"The mean confidence is {mean_confidence:.1%}, the accuracy {evaluation.accuracy:.1%}. The expected "
        f"calibration error, the mean gap between the two over {NUM_CALIBRATION_BINS} steps of confidence, is "
        f"{evaluation.calibration_error:.1%}"
        + (
            "."
            if evaluation.uncalibrated_error is None
            else f", and {evaluation.uncalibrated_error:.1%} before "
        )
        + ("" if evaluation.uncalibrated_error is None else f"calibration ({evaluation.scale}).")
    )
    bars = [
        (entry["confidence"], entry["accuracy"], *entry["interval"]) if entry["num_images"] else None
        for entry in bins
    ]
    content = {
        "summary": summary,
        "bins": bins,
        "reliability": reliability_chart(
            f"Accuracy by confidence. {summary} The table below lists the numbers.", bars
        ),
        "histogram": histogram(
            "Number of images by confidence; the table below lists the numbers.",
            Axis("confidence (%)", 0, 100),
            "images",
            evaluation.bin_num_images.tolist(),
        ),
    }
    return Section("calibration", "Calibration", "calibration", content)


def samples(evaluation: Evaluation, selection: Selection) -> Section:
    """Return random images with their predictions."""
    hint = (
        f"{len(selection.samples)} of {evaluation.num_images:,} {one_line(evaluation.split)} images, chosen at random. "
        "The first line is the prediction, the second its confidence. Choose an image to enlarge it."
    )
    content = {"hint": hint, "images": selection.samples}
    return Section("samples", "Sample predictions", "images", content, is_half=True)


def mistakes(evaluation: Evaluation, selection: Selection) -> Section:
    """Return the most confident mistakes."""
    num_wrong = evaluation.num_images - evaluation.num_correct
    hint = (
        f"{len(selection.mistakes)} of {num_wrong:,} mistakes, the most confident first. "
        "If the picture looks like the prediction, the label may be wrong."
    )
    content = {"hint": hint if num_wrong else "There are none.", "images": selection.mistakes}
    return Section("mistakes", "Most confident mistakes", "images", content, is_half=True)
