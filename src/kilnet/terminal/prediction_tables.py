"""Predictions as a table, as CSV or as JSON."""

from collections.abc import Iterable
from typing import Any, TextIO

from rich.table import Table
from rich.text import Text

from kilnet.inference.classifier import Prediction
from kilnet.runs.wording import one_line, percent, shorten
from kilnet.storage import write_rows
from kilnet.terminal.tables import empty_table

UNSURE = "unsure"
_FILE_WIDTH = 32


def table(predictions: Iterable[Prediction], top: int, mark_unsure: bool) -> Table:
    """Return one row per picture: file, class, confidence, the next classes, and whether a person should check it."""
    rows = empty_table("", ["file", "class"], ["confidence"], name_width=_FILE_WIDTH)
    if top > 1:
        rows.add_column("then")  # wraps in a narrow terminal; the other columns keep their width
    if mark_unsure:
        rows.add_column("look", no_wrap=True)
    for prediction in predictions:
        ranked = list(zip(prediction.classes, prediction.probabilities, strict=True))[1:top]
        cells = [
            Text(_end(prediction.name, _FILE_WIDTH)),
            Text(shorten(prediction.label, 24)),
            Text(percent(prediction.confidence)),
        ]
        if top > 1:
            cells.append(Text(", ".join(f"{shorten(name, 24)} {percent(value)}" for name, value in ranked)))
        if mark_unsure:
            cells.append(Text(_mark(prediction)))
        rows.add_row(*cells)
    return rows


def write_csv(file: TextIO, predictions: Iterable[Prediction], top: int, mark_unsure: bool) -> None:
    """Write a header and one row per picture (RFC 4180), each as soon as it is known."""
    ranks = [column for rank in range(1, top + 1) for column in (f"class_{rank}", f"probability_{rank}")]
    write_rows(file, [["file", *ranks, *([UNSURE] if mark_unsure else [])]])
    write_rows(file, (_row(prediction, top, mark_unsure) for prediction in predictions))


def as_dict(prediction: Prediction, top: int, mark_unsure: bool) -> dict[str, Any]:
    """Return the file, its classes (the most probable first) and, if wanted, "unsure" as JSON-able values."""
    ranked = zip(prediction.classes[:top], prediction.probabilities[:top], strict=True)
    content: dict[str, Any] = {
        "file": prediction.name,
        "classes": [{"class": name, "probability": round(value, 6)} for name, value in ranked],
    }
    return {**content, UNSURE: prediction.unsure} if mark_unsure else content


def _row(prediction: Prediction, top: int, mark_unsure: bool) -> list[str]:
    ranked = zip(prediction.classes[:top], prediction.probabilities[:top], strict=True)
    cells = [cell for name, value in ranked for cell in (name, f"{value:.6f}")]
    return [prediction.name, *cells, *([_mark(prediction)] if mark_unsure else [])]


def _mark(prediction: Prediction) -> str:
    return UNSURE if prediction.unsure else ""


def _end(path: str, width: int) -> str:
    path = one_line(path)
    return path if len(path) <= width else f"…{path[1 - width :]}"
