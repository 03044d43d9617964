"""An evaluation as tables for a terminal of 80 columns; the style of all tables."""

import math
from collections.abc import Iterable, Mapping

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kilnet.metrics import NUM_CALIBRATION_BINS, Evaluation
from kilnet.runs.wording import (
    accuracy_with_interval,
    hidden_by_accuracy,
    macro_recall_with_interval,
    one_line,
    percent,
    shorten,
)

MAX_CONFUSION_CLASSES = 12
_WIDTH = 80
_GAP = 2  # between columns
_MIN_NAME_WIDTH = 8


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
        "calibration error": f"{percent(evaluation.calibration_error)} ({NUM_CALIBRATION_BINS} bins)",
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


def per_class_table(evaluation: Evaluation) -> Table:
    """Return recall, precision, F1 and number of images of each class, in the order of the labels."""
    table = empty_table("Classes", ["class"], ["recall", "precision", "F1", "images"], name_width=30)
    columns = (evaluation.classes, evaluation.recall, evaluation.precision, evaluation.f1, evaluation.support)
    for name, recall, precision, f1, support in zip(*columns, strict=True):
        ratios = (percent(recall), percent(precision), percent(f1))
        table.add_row(Text(shorten(name, 30)), *ratios, f"{support:,}")
    return table


def confusion_table(evaluation: Evaluation) -> Table | None:
    """Return the confusion matrix in counts, or None if it is too wide for 80 columns.

    If the names do not fit above their columns, letters replace them; the rows say which.
    """
    num_classes = len(evaluation.classes)
    if num_classes > MAX_CONFUSION_CLASSES:
        return None
    names = [one_line(name) for name in evaluation.classes]
    width = max(len(str(evaluation.confusion.max())), 3)
    name_width = _WIDTH - num_classes * (width + _GAP)
    if name_width < _MIN_NAME_WIDTH:
        return None
    heads = names
    if any(cell_len(name) > width for name in names):
        heads = [chr(ord("A") + i) for i in range(num_classes)]
        names = [f"{head} {name}" for head, name in zip(heads, names, strict=True)]
    table = empty_table("Confusion matrix", ["truth \\ predicted"], heads, name_width)
    for truth, (name, counts) in enumerate(zip(names, evaluation.confusion.tolist(), strict=True)):
        cells = [
            Text(str(count) if count else ".", "bold" if truth == predicted else "" if count else "dim")
            for predicted, count in enumerate(counts)
        ]
        table.add_row(Text(name), *cells)
    return table


def most_confused_table(evaluation: Evaluation, k: int = 5) -> Table:
    """Return the `k` commonest mistakes, with their share of the true class."""
    table = empty_table("Most confused", ["truth", "predicted"], ["images", "of the class"], name_width=24)
    support = dict(zip(evaluation.classes, evaluation.support.tolist(), strict=True))
    for truth, predicted, count in evaluation.most_confused(k):
        names = (Text(shorten(name, 24)) for name in (truth, predicted))
        table.add_row(*names, f"{count:,}", percent(count / support[truth]))
    return table


def empty_table(title: str, names: Iterable[str], numbers: Iterable[str], name_width: int) -> Table:
    """Return an empty table; its columns of names are cut so that its numbers never are."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for head in names:
        table.add_column(Text(head), no_wrap=True, overflow="ellipsis", max_width=name_width)
    for head in numbers:
        table.add_column(Text(head), no_wrap=True, justify="right")
    return table
