"""The one table of the command line: it leaves out columns where there is no room, and never breaks a number."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.text import Text

from kilnet.runs.wording import one_line

_GAP = 2
"""Cells between columns."""
_NAME_WIDTH, _MINOR_NAME_WIDTH = 20, 12
"""What a column of names gets before one of a higher rank has room: where it always stays, and where it may go."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        head: its name.
        kind: a "number" is shown whole and to the right; a "name" may lose its "middle" or its start ("path"); "text"
            is shown whole and to the left.
        rank: 0 is always shown; of the others those with the highest rank are left out first.
    """

    head: str
    kind: Literal["name", "path", "number", "text"] = "number"
    rank: int = 0

    @property
    def may_be_cut(self) -> bool:
        """Whether its cells may be shortened."""
        return self.kind in ("name", "path")


Cell = str | Text


class FittedTable:
    """A table that decides what it shows when it knows how much room there is.

    Args:
        title: above it; may be empty.
        columns: from left to right.
        instead: what is shown where there is no room even for the columns that stay.
    """

    def __init__(self, title: str, columns: Sequence[Column], instead: str = "") -> None:
        self.title = title
        self.instead = instead
        self.columns = tuple(columns)
        self.rows: list[tuple[tuple[Text, ...], str]] = []
        self._sections: set[int] = set()

    def add_row(self, *cells: Cell, style: str = "") -> None:
        """Add a row with a cell for each column."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns")
        self.rows.append((tuple(map(_on_one_line, cells)), style))

    def add_section(self) -> None:
        """Draw a line below the rows so far."""
        self._sections.add(len(self.rows) - 1)

    def widths(self, room: int) -> list[int]:
        """Return how many cells wide each column is in a table of so many; 0 where it is left out."""
        natural = [self._natural(index) for index in range(len(self.columns))]
        least = [
            min(width, _MINOR_NAME_WIDTH if column.rank else _NAME_WIDTH) if column.may_be_cut else width
            for column, width in zip(self.columns, natural, strict=True)
        ]
        shown = [index for index, width in enumerate(natural) if width]
        while _total(shown, least) > room and any(self.columns[index].rank for index in shown):
            shown.remove(max(shown, key=lambda index: (self.columns[index].rank, index)))
        widths = [least[index] if index in shown else 0 for index in range(len(least))]
        names = [index for index in shown if self.columns[index].may_be_cut]
        while _total(shown, widths) > room and any(widths[index] > 3 for index in names):
            widths[max(names, key=lambda index: widths[index])] -= 1
        while _total(shown, widths) < room and (
            growing := [index for index in names if widths[index] < natural[index]]
        ):
            widths[min(growing, key=lambda index: widths[index])] += 1
        return widths

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        widths = self.widths(options.max_width)
        width = _total([index for index, width in enumerate(widths) if width], widths)
        return Measurement(width, width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self.widths(options.max_width)
        shown = [index for index, width in enumerate(widths) if width]
        if self.title:
            yield Text(self.title, "bold")
        if self.instead and _total(shown, widths) > options.max_width:
            yield Text(self.instead)
            return
        # Not by rich's own table, which takes a millisecond for each row.
        yield from self._line([Text(column.head, "bold") for column in self.columns], widths, console, "")
        rule = Segment("─" * min(_total(shown, widths), options.max_width) + "\n")
        yield rule
        for number, (cells, style) in enumerate(self.rows):
            yield from self._line(cells, widths, console, style)
            if number in self._sections:
                yield rule

    def _line(
        self, cells: Sequence[Text], widths: Sequence[int], console: Console, style: str
    ) -> Iterator[Segment]:
        # What has no style is one segment: rich takes longer for each than the table does.
        plain = gap = ""
        for cell, width, column in zip(cells, widths, self.columns, strict=True):
            if not width:
                continue
            text = fitted(cell.plain, width, column.kind == "path") if column.may_be_cut else cell.plain
            space = " " * (width - cell_len(text))
            before, after = (gap + space, "") if column.kind == "number" else (gap, space)
            plain += before
            if own := cell.style or style:
                yield Segment(plain)
                yield Segment(text, console.get_style(own))
                plain = ""
            else:
                plain += text
            gap = after + " " * _GAP  # nothing stands behind the last column
        yield Segment(plain + "\n")

    def _natural(self, index: int) -> int:
        """Return how wide a column would like to be; 0 where it has nothing to show."""
        cells = [cells[index].cell_len for cells, _ in self.rows]
        if self.rows and not any(cells) and self.columns[index].rank:
            return 0
        return max([cell_len(self.columns[index].head), 1, *cells])


def _total(shown: Sequence[int], widths: Sequence[int]) -> int:
    return sum(widths[index] for index in shown) + _GAP * max(len(shown) - 1, 0)


def _on_one_line(cell: Cell) -> Text:
    return Text(one_line(cell)) if isinstance(cell, str) else Text(one_line(cell.plain), cell.style)


def fitted(text: str, width: int, at_start: bool = False) -> str:
    """Return text on one line of so many cells at most, with an ellipsis for its middle or, of paths, its start."""
    text = one_line(text)
    if cell_len(text) <= width:
        return text
    tail_width = (
        width - 1 if at_start else (width - 1) // 3
    )  # names that start alike often differ in their ends
    head = _first_cells(text, width - 1 - tail_width).rstrip()
    tail = _first_cells(reversed(text), tail_width)[::-1].lstrip()
    return f"{head}…{tail}"


def _first_cells(text: Iterable[str], width: int) -> str:
    """Return the first characters that fit into so many cells."""
    taken = ""
    for character in text:
        if cell_len(taken + character) > width:
            break
        taken += character
    return taken
