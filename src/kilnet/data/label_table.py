"""A table of labels: one row per picture, in a CSV, TSV or Parquet file."""

import csv
import io
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kilnet.data.class_folders import Problem
from kilnet.data.split_folders import read_name
from kilnet.errors import DataError, MissingPackageError, nearest
from kilnet.recipes.reading import as_text
from kilnet.storage import from_cell

# What columns are called where nobody says it, best first; without case, and with words joined by "_".
NAMES = {
    "path": "path file filename file_name filepath file_path image image_path image_name image_file img picture photo",
    "label": "label labels class class_name classname category target species",
    "split": "split subset partition set",
    "group": "group group_id patient patient_id subject subject_id",
    "weight": "weight sample_weight weights",
}
_MAX_COLUMNS_NAMED = 12


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a table says of one picture.

    Attributes:
        line: of the file, or the number of the row where it has no lines; both from 1.
        path: of the picture below the folder that all are in.
        label: in Unicode's normal form C.
        split: train, validation or test; None where the table has no such column.
        group, weight: None where the table has no such column.
    """

    line: int
    path: str
    label: str
    split: str | None
    group: str | None
    weight: float | None

    @property
    def where(self) -> str:
        """What a person finds it by."""
        return _where(self.line, self.path)


@dataclass(frozen=True)
class LabelTable:
    """The rows that can be used, and the others."""

    columns: Mapping[str, str]
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]


def parse_columns(text: str | None) -> dict[str, str]:
    """Return the columns that `label=diagnosis,group=patient` names, by what they hold.

    Raises:
        DataError: it is written otherwise, or names something else.
    """
    columns = {}
    for part in (text or "").split(",") if text else ():
        kind, equals, name = part.partition("=")
        if not equals or not name.strip():
            raise DataError(f"`data.columns={text!r}`: write it as label=diagnosis,group=patient")
        if kind.strip() not in NAMES:
            raise DataError(
                f"`data.columns={text!r}`: no {kind.strip()!r} in it{nearest(kind.strip(), list(NAMES))}"
            )
        columns[kind.strip()] = name.strip()
    return columns


def read_label_table(
    where: str, content: bytes, columns: Mapping[str, str], locate: Callable[[str], str]
) -> LabelTable:
    """Read a table of labels.

    Args:
        where: its path; the ending says what it is.
        content: of the file.
        columns: that the user has named, by what they hold.
        locate: turns a path as it is written into one below the folder; raises DataError with the reason where it
            leads out of it.

    Raises:
        DataError: it is no such table, or has no such column.
        MissingPackageError: it is a Parquet file, and pyarrow is not installed.
    """
    if where.lower().endswith(".parquet"):
        header, lines = _parquet(where, content)
    else:
        header, lines = _text(where, content)
    chosen = _choose(where, header, columns)
    if len(lines) == 0:
        raise DataError(f"{where}: no rows below its header")
    rows: list[Row] = []
    problems: list[Problem] = []
    first: dict[str, Row] = {}
    for number, cells in lines:
        if len(cells) != len(header):
            problems.append(
                Problem(f"line {number}", f"{len(cells)} cells, where the header has {len(header)}")
            )
            continue
        by_kind = {kind: cells[header.index(name)].strip() for kind, name in chosen.items()}
        try:
            row = _row(number, by_kind, locate)
            if other := first.get(row.path):
                says = "too" if other.label == row.label else f"with another label, {other.label}"
                raise DataError(f"line {other.line} has this picture {says}")
        except DataError as error:
            problems.append(Problem(_where(number, by_kind["path"]), str(error)))
        else:
            first[row.path] = row
            rows.append(row)
    return LabelTable(chosen, tuple(rows), tuple(problems))


def has_columns(where: str, content: bytes) -> bool:
    """Whether a table's header names paths and labels."""
    try:
        header = (_parquet if where.lower().endswith(".parquet") else _text)(where, content)[0]
    except DataError:
        return False
    return all(_found(header, kind) for kind in ("path", "label"))


def _row(number: int, cells: Mapping[str, str], locate: Callable[[str], str]) -> Row:
    for kind in ("path", "label", "split", "group"):
        if cells.get(kind) == "":
            raise DataError(f"no {kind}")
    split, weight = None, None
    if "split" in cells:
        name = read_name(cells["split"])
        if name is None:
            raise DataError(f"split {cells['split']!r} is none of train, validation and test")
        split = name.split
    if "weight" in cells:
        try:
            weight = float(cells["weight"])
        except ValueError:
            raise DataError(f"weight {cells['weight']!r} is no number") from None
        if not (math.isfinite(weight) and weight >= 0):
            raise DataError(f"weight {cells['weight']}: it must be 0 or more")
    return Row(
        line=number,
        path=locate(cells["path"]),
        label=unicodedata.normalize("NFC", cells["label"]),
        split=split,
        group=cells.get("group"),
        weight=weight,
    )


def _where(number: int, path: str) -> str:
    return f"line {number} ({path})" if path else f"line {number}"


_Lines = list[tuple[int, Sequence[str]]]


def _text(where: str, content: bytes) -> tuple[list[str], _Lines]:
    try:
        text = as_text(content)
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text ({error.reason}); save it as CSV UTF-8") from None
    head = text.split("\n", 1)[0]
    delimiter = (
        "\t" if where.lower().endswith(".tsv") else max(",;\t", key=head.count)
    )  # Excel's depends on the country
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        start = reader.line_num
        lines: _Lines = []
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append((start + 1, [from_cell(cell) for cell in cells]))
            start = reader.line_num
    except csv.Error as error:
        raise DataError(f"{where}: line {reader.line_num} is not CSV: {error}") from None
    if not any(header):
        raise DataError(f"{where}: empty; its first line must name the columns")
    return header, lines


def _parquet(where: str, content: bytes) -> tuple[list[str], _Lines]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingPackageError(
            f"{where}: Parquet needs pyarrow; run pip install 'kilnet[parquet]', or save the table as CSV"
        ) from None
    try:
        table = parquet.read_table(io.BytesIO(content))
        named = [(name, column) for name, column in zip(table.column_names, table.columns, strict=True)]
        flat = [(name, column) for name, column in named if not pyarrow.types.is_nested(column.type)]
        columns = [["" if cell is None else str(cell) for cell in column.to_pylist()] for _, column in flat]
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{where}: no Parquet that can be read: {reason}") from None
    return [name for name, _ in flat], list(enumerate(zip(*columns, strict=True), 1))


def _choose(where: str, header: Sequence[str], named: Mapping[str, str]) -> dict[str, str]:
    present = ", ".join(header[:_MAX_COLUMNS_NAMED]) + (
        " and more" if len(header) > _MAX_COLUMNS_NAMED else ""
    )
    for name in named.values():
        if header.count(name) != 1:
            how_many = "two columns" if name in header else "no column"
            hint = nearest(name, list(header)) if name not in header else "; rename one of them"
            raise DataError(f"{where}: {how_many} called {name}{hint}")
    chosen = dict(named)
    for kind in NAMES:
        found = _found([name for name in header if name not in chosen.values()], kind)
        if kind not in chosen and found is not None:
            chosen[kind] = found
    for kind, what in (("path", "paths"), ("label", "labels")):
        if kind not in chosen:
            raise DataError(
                f"{where}: which column has the {what}? there are {present}; name one: `data.columns='{kind}=...'`"
            )
    return chosen


def _found(header: Sequence[str], kind: str) -> str | None:
    plain = {"_".join(name.casefold().split()): name for name in header if header.count(name) == 1}
    return next((plain[word] for word in NAMES[kind].split() if word in plain), None)
