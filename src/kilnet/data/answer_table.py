"""What a person says of single images, kept in a table after each answer."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from kilnet.data.corrections import COLUMNS, table_rows
from kilnet.errors import DataError
from kilnet.recipes.reading import as_text
from kilnet.storage import MAX_TABLE_BYTES, read_bytes, reading, write_csv

FURTHER = ("split", "network_says", "confidence", "reason")
"""Columns for people, which say what was shown when the answer was given."""


class AnswerTable:
    """A table of corrections that grows. The file is read before each change, so that it may be edited meanwhile.

    Args:
        path: of the file; it need not exist.
        begun_with: rows that it begins with, where there is none.

    Raises:
        DataError: there is a file, and it is no such table.
    """

    def __init__(self, path: Path, begun_with: Sequence[Mapping[str, str]] = ()) -> None:
        self.path = path
        self._begun_with = {row["file"]: dict(row) for row in begun_with}
        self.rows()

    def rows(self) -> dict[str, dict[str, str]]:
        """Return the rows by image, in the order of the answers.

        Raises:
            DataError: the file has become something else.
        """
        with (
            suppress(FileNotFoundError),
            reading(self.path, "choose another `out`", "cannot be read", DataError),
        ):
            text = as_text(read_bytes(self.path, MAX_TABLE_BYTES))
            return {cells["file"]: cells for _, cells in table_rows(text, str(self.path))}
        return {name: dict(row) for name, row in self._begun_with.items()}

    def put(self, row: Mapping[str, str]) -> dict[str, str] | None:
        """Write an answer as the last row, in place of an earlier one of the same image, which is returned.

        Raises:
            DataError: the file has become something else.
            StorageError: it cannot be written, and is as it was.
        """
        rows = self.rows()
        before = rows.pop(row["file"], None)
        rows[row["file"]] = {**(before or {}), **row}
        self._write(rows)
        return before

    def take_back(self, name: str, before: Mapping[str, str] | None) -> None:
        """Write the answer that an image had before, or none; raises as `put`."""
        rows = self.rows()
        rows.pop(name, None)
        if before is not None:
            rows[name] = dict(before)
        self._write(rows)

    def _write(self, rows: Mapping[str, Mapping[str, str]]) -> None:
        header = dict.fromkeys([*COLUMNS, *FURTHER, *(name for row in rows.values() for name in row)])
        write_csv(self.path, header, ([row.get(name, "") for name in header] for row in rows.values()), "\n")


def counted(rows: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """Return how many rows have each verdict."""
    found: dict[str, int] = {}
    for row in rows.values():
        found[row["verdict"]] = found.get(row["verdict"], 0) + 1
    return found
