"""A table of corrections: what a person says of the labels of single images; no file of the data is changed by it."""

import csv
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from kilnet.errors import DataError, nearest
from kilnet.recipes.reading import as_text
from kilnet.storage import MAX_TABLE_BYTES, from_cell, read_bytes, reading

Verdict = Literal["right", "wrong", "remove", "unsure"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
COLUMNS = ("file", "label", "verdict", "correction")
"""What the table must have; further columns are for people."""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What is said of one image.

    Attributes:
        line: of the file, from 1.
        name: of the image, as its split has it.
        label: the class that the data gives it.
        verdict: "wrong" gives it the class `correction`, "remove" leaves it out; "right" and "unsure" change nothing.
        correction: a class, or None.
    """

    line: int
    name: str
    label: str
    verdict: Verdict
    correction: str | None


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """A table of corrections as it was read.

    Attributes:
        path: of the file.
        content: its text.
        sha256: of the file, in hexadecimal digits.
        rows: one for each image in it, by its name.
    """

    path: str
    content: str
    sha256: str
    rows: Mapping[str, Correction]

    def where(self, row: Correction) -> str:
        """Return what a person finds a row by."""
        return f"{self.path}: line {row.line} ({row.name})"


@dataclass(frozen=True, kw_only=True)
class AppliedCorrections:
    """What a table of corrections did to a data set.

    Attributes:
        path, sha256, content: of the table, see `Corrections`.
        changed, removed: how many images of each split have another label, or are left out.
        digest: SHA-256 of these changes, whatever else the table says.
    """

    path: str
    sha256: str
    content: str
    changed: dict[str, int]
    removed: dict[str, int]
    digest: str

    @property
    def told(self) -> str:
        """What was done, in one line."""
        changed, removed = sum(self.changed.values()), sum(self.removed.values())
        labels = "1 label is" if changed == 1 else f"{changed:,} labels are"
        images = "1 image is" if removed == 1 else f"{removed:,} images are"
        table = re.split(r"[/\\]", self.path)[-1]
        line = f"{labels} changed and {images} removed by {table}"
        of_test = self.changed.get("test", 0) + self.removed.get("test", 0)
        return line + (f", {of_test:,} of them test images, which somebody has looked at" if of_test else "")


def read_corrections(path: Path) -> Corrections:
    """Read a table of corrections.

    Raises:
        DataError: it is missing or no such table; a line says what is not understood, or an image has two.
    """
    advice = "`data.corrections` names a table with the columns file, label, verdict and correction"
    try:
        with reading(path, advice, "cannot be read", DataError):
            content = read_bytes(path, MAX_TABLE_BYTES)
            text = as_text(content)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {advice}") from None
    rows: dict[str, Correction] = {}
    for line, cells in table_rows(text, str(path)):
        name = cells["file"]
        try:
            row = _row(line, cells)
            if other := rows.get(name):
                raise DataError(f"line {other.line} has this image too")
        except DataError as error:
            raise DataError(f"{path}: line {line} ({name or 'no file'}): {error}") from None
        rows[name] = row
    digest = hashlib.sha256(content).hexdigest()
    return Corrections(path=str(path), content=text, sha256=digest, rows=rows)


def table_rows(text: str, where: str) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a table of corrections with their lines, each by column; blank lines are left out.

    Args:
        text: of the file.
        where: its path.

    Raises:
        DataError: it lacks a column, or a line has another number of cells.
    """
    head = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    found = []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if missing := [name for name in COLUMNS if header.count(name) != 1]:
            raise DataError(f"{where}: no table of corrections: it needs one column {missing[0]}")
        end = reader.line_num
        for cells in reader:
            line, end = end + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{where}: line {line}: {len(cells)} cells, where the header has {len(header)}"
                )
            found.append((line, dict(zip(header, map(from_cell, cells), strict=True))))
    except csv.Error as error:
        raise DataError(f"{where}: line {reader.line_num} is not CSV: {error}") from None
    return found


def digest_of(changes: Mapping[str, str | None]) -> str:
    """Return the SHA-256 of what becomes of images, by name: a class, or None where they are left out."""
    return hashlib.sha256(json.dumps(sorted(changes.items()), default=str).encode()).hexdigest()


def _row(line: int, cells: Mapping[str, str]) -> Correction:
    label, verdict, correction = (
        unicodedata.normalize("NFC", cells[name].strip()) for name in ("label", "verdict", "correction")
    )
    if not cells["file"]:
        raise DataError("no file")
    if not label:
        raise DataError("no label, which says what the data has")
    verdict = verdict.lower() or ("wrong" if correction else "")
    if verdict not in VERDICTS:
        named = f"verdict {verdict!r}" if verdict else "no verdict"
        raise DataError(f"{named}{nearest(verdict, list(VERDICTS))}")
    if verdict == "wrong" and not correction:
        raise DataError("it is wrong, but the correction is empty; name the right class")
    if verdict != "wrong" and correction:
        raise DataError(
            f"the verdict is {verdict}, but there is a correction, {correction}; leave one of them out"
        )
    return Correction(
        line=line,
        name=cells["file"],
        label=label,
        verdict=verdict,
        correction=correction or None,
    )
