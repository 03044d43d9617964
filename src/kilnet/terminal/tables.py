"""An evaluation as tables for a terminal."""

import math
from collections.abc import Mapping

import numpy as np
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kilnet.metrics.classification import NUM_CALIBRATION_BINS, Evaluation
from kilnet.runs.wording import (
    accuracy_with_interval,
    calibration_error,
    counted,
    hidden_by_accuracy,
    macro_recall_with_interval,
    one_line,
    percent,
)
from kilnet.terminal.fitted_table import Column, FittedTable

MAX_CONFUSION_CLASSES = 12
MAX_CLASSES = 30
"""With more classes, only the worst are listed."""
_NUM_WORST = 20


def evaluation_tables(evaluation: Evaluation) -> Group:
    """Return a summary, the scores of each class, the confusion matrix (if it fits) and the commonest mistakes."""
    parts: list[RenderableType] = [summary_table(evaluation), per_class_table(evaluation)]
    confusion = confusion_table(evaluation)
    if confusion is not None:
        parts.append(confusion)
    if evaluation.num_correct < evaluation.num_images:
        parts.append(most_confused_table(evaluation))
    return Group(*(line for part in parts for line in (part, Text())))


def summary_table(evaluation: Evaluation) -> Table:
    """Return the accuracy with its interval, the loss, the macro averages and the calibration error."""
    rows = {
        "split": one_line(evaluation.split),
        "accuracy": accuracy_with_interval(evaluation),
        "macro recall": macro_recall_with_interval(evaluation),
        **({"but": "; ".join(hidden)} if (hidden := hidden_by_accuracy(evaluation)) else {}),
        "loss": "–" if math.isnan(evaluation.loss) else f"{evaluation.loss:.4f} nats per image",
        "macro average": f"precision {percent(evaluation.macro_precision)}, F1 {percent(evaluation.macro_f1)}",
        "calibration error": calibration_error(evaluation) + f" ({NUM_CALIBRATION_BINS} bins)",
    }
    return facts_table(rows)


def facts_table(facts: Mapping[str, str]) -> Table:
    """Return names and values, one per line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(value))
    return table


def per_class_table(evaluation: Evaluation) -> Group:
    """Return recall, precision, F1 and number of images of each class, in the order of the labels.

    Of many classes the worst are listed: those with the lowest recall first.
    """
    columns = (evaluation.classes, evaluation.recall, evaluation.precision, evaluation.f1, evaluation.support)
    rows = list(zip(*columns, strict=True))
    order = range(len(rows))
    title, notes = "Classes", []
    if len(rows) > MAX_CLASSES:
        # Of equally bad ones the larger class first; those without images, whose recall is unknown, last.
        worst = np.lexsort((-evaluation.support, np.nan_to_num(evaluation.recall, nan=2.0)))
        order, title = worst[:_NUM_WORST].tolist(), "Worst classes, lowest recall first"
        notes.append(Text(f"and {counted(len(rows) - _NUM_WORST, 'better class')}", "dim"))
    table = FittedTable(
        title,
        [
            Column("class", "name"),
            Column("recall"),
            Column("precision", rank=1),
            Column("F1", rank=2),
            Column("images", rank=1),
        ],
    )
    for index in order:
        name, recall, precision, f1, support = rows[index]
        table.add_row(name, percent(recall), percent(precision), percent(f1), f"{support:,}")
    return Group(table, *notes)


def confusion_table(evaluation: Evaluation) -> FittedTable | None:
    """Return the confusion matrix in counts, or None for many classes.

    If the names do not fit above their columns, letters replace them; the rows say which.
    """
    num_classes = len(evaluation.classes)
    if num_classes > MAX_CONFUSION_CLASSES:
        return None
    names = [one_line(name) for name in evaluation.classes]
    width = len(str(evaluation.confusion.max()))
    heads = names
    if any(cell_len(name) > max(width, 3) for name in names):
        heads = [chr(ord("A") + i) for i in range(num_classes)]
        names = [f"{head} {name}" for head, name in zip(heads, names, strict=True)]
    table = FittedTable(
        "Confusion matrix: truth in rows, prediction in columns",
        [Column("truth", "name"), *map(Column, heads)],
        instead="needs a wider terminal",
    )
    for truth, (name, counts) in enumerate(zip(names, evaluation.confusion.tolist(), strict=True)):
        cells = [
            Text(str(count) if count else ".", "bold" if truth == predicted else "" if count else "dim")
            for predicted, count in enumerate(counts)
        ]
        table.add_row(name, *cells)
    return table


def most_confused_table(evaluation: Evaluation, k: int = 5) -> FittedTable:
    """Return the `k` commonest mistakes, with their share of the true class."""
    names = [Column("truth", "name"), Column("predicted", "name")]
    table = FittedTable("Most confused", [*names, Column("images"), Column("of the class", rank=1)])
    support = dict(zip(evaluation.classes, evaluation.support.tolist(), strict=True))
    for truth, predicted, count in evaluation.most_confused(k):
        table.add_row(truth, predicted, f"{count:,}", percent(count / support[truth]))
    return table
