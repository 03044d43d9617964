"""Predictions as a table, as CSV or as JSON."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kilnet.inference.classifier import Prediction
from kilnet.runs.wording import counted, one_line, percent
from kilnet.terminal.fitted_table import Column, FittedTable

UNSURE = "unsure"
UNKNOWN = "unknown"
_ORDINALS = ("2nd", "3rd")
_MAX_CLASSES = 5
"""Most classes that the summary names."""


def table(predictions: Iterable[Prediction], top: int, mark_unsure: bool) -> FittedTable:
    """Return one row per picture: file, class, confidence, the next classes, and whether a person should check it."""
    found = list(predictions)
    num_next = min(top, max((len(one.classes) for one in found), default=1)) - 1
    heads = [_ORDINALS[rank] if rank < len(_ORDINALS) else f"{rank + 2}th" for rank in range(num_next)]
    columns = [Column("file", "path"), Column("class", "name"), Column("confidence")]
    for rank, head in enumerate(heads, 1):  # the likeliest stays longest
        columns += [Column(head, "name", 2 * rank), Column("", "number", 2 * rank)]
    rows = FittedTable("", [*columns, *([Column("look", "text")] if mark_unsure else [])])
    for prediction in found:
        ranked = zip(prediction.classes, prediction.probabilities, strict=True)
        others = [cell for name, value in list(ranked)[1 : num_next + 1] for cell in (name, percent(value))]
        others += [""] * (2 * num_next - len(others))
        look = [UNKNOWN if prediction.unknown else _mark(prediction)] if mark_unsure else []
        rows.add_row(prediction.name, prediction.label, percent(prediction.confidence), *others, *look)
    return rows


def summary(predictions: Sequence[Prediction], mark_unsure: bool) -> str:
    """Return how many pictures there were, how many of each class, and how many a person should look at."""
    classes = Counter(prediction.label for prediction in predictions).most_common()
    told = [f"{count:,} {one_line(name)}" for name, count in classes[:_MAX_CLASSES]]
    if (num_more := len(classes) - _MAX_CLASSES) > 0:
        told.append(f"and {counted(num_more, 'more class', 'more classes')}")
    text = counted(len(predictions), "picture") + (f": {', '.join(told)}" if told else "")
    num_unsure = sum(bool(prediction.unsure) for prediction in predictions)
    num_unknown = sum(bool(prediction.unknown) for prediction in predictions)
    text += f"; {num_unknown:,} like none of the classes" if num_unknown else ""
    return f"{text}; {num_unsure:,} unsure" if mark_unsure else text


def csv_rows(
    predictions: Iterable[Prediction], top: int, mark_unsure: bool, mark_unknown: bool
) -> Iterator[list[str]]:
    """Yield a header and one row per picture, each as soon as it is known."""
    ranks = [column for rank in range(1, top + 1) for column in (f"class_{rank}", f"probability_{rank}")]
    yield ["file", *ranks, *([UNSURE] if mark_unsure else []), *([UNKNOWN] if mark_unknown else [])]
    for prediction in predictions:
        marks = [_mark(prediction)] if mark_unsure else []
        marks += [UNKNOWN if prediction.unknown else ""] if mark_unknown else []
        yield [*_cells(prediction, top), *marks]


def as_dict(prediction: Prediction, top: int, mark_unsure: bool) -> dict[str, Any]:
    """Return the file, its classes (the most probable first) and, if wanted, "unsure" as JSON-able values."""
    ranked = zip(prediction.classes[:top], prediction.probabilities[:top], strict=True)
    content: dict[str, Any] = {
        "file": prediction.name,
        "classes": [{"class": name, "probability": round(value, 6)} for name, value in ranked],
    }
    if prediction.unknown is not None:
        content[UNKNOWN] = prediction.unknown
    return {**content, UNSURE: prediction.unsure} if mark_unsure else content


def _cells(prediction: Prediction, top: int) -> list[str]:
    ranked = zip(prediction.classes[:top], prediction.probabilities[:top], strict=True)
    return [prediction.name, *(cell for name, value in ranked for cell in (name, f"{value:.6f}"))]


def _mark(prediction: Prediction) -> str:
    return UNSURE if prediction.unsure else ""
