"""A review in progress: what is shown, what has been answered, and how an answer is taken back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kilnet.data.answer_table import AnswerTable
from kilnet.data.corrections import VERDICTS, Verdict
from kilnet.errors import InputError
from kilnet.inspection.review_queue import ReviewItem

_TAKEN_BACK = 1000  # answers that can be undone


@dataclass(frozen=True)
class Told:
    """What a person said of an image: a verdict, and with "wrong" a class."""

    verdict: Verdict
    correction: str | None


class ReviewSession:
    """Items with their answers. Every answer is in the table before it counts.

    Args:
        classes: class names.
        items: what is shown, the first first.
        table: keeps the answers.
        original: the class that the data gives an image, by name, where corrections have changed it since.
        more: returns all items with those of the test split among them; None where there are none.
        answered: called after each change with the rows of the table.
    """

    def __init__(
        self,
        classes: Sequence[str],
        items: Sequence[ReviewItem],
        table: AnswerTable,
        original: Mapping[str, str] | None = None,
        more: Callable[[], Sequence[ReviewItem]] | None = None,
        answered: Callable[[Mapping[str, Mapping[str, str]]], None] = lambda _: None,
    ) -> None:
        self.classes = tuple(classes)
        self.items = list(items)
        self.table = table
        self._original = dict(original or {})
        self._more = more
        self._answered = answered
        shown = {item.image.name for item in items}
        # Where a process ends, the table tells what was answered last.
        self._done: list[tuple[str, dict[str, str] | None]] = []
        self._done += [(name, None) for name in table.rows() if name in shown][-_TAKEN_BACK:]

    @property
    def has_more(self) -> bool:
        """Whether the test split can be shown too, and is not."""
        return self._more is not None

    def show_more(self) -> None:
        """Show the test split too; items keep their place in the list, and others come behind them."""
        if self._more is None:
            return
        numbers = {item.image: number for number, item in enumerate(self.items)}
        for item in self._more():
            if item.image in numbers:
                self.items[numbers[item.image]] = item
            else:
                self.items.append(item)
        self._more = None

    def order(self) -> list[int]:
        """Return the numbers of the items, the most suspicious first."""
        return sorted(range(len(self.items)), key=lambda number: -self.items[number].suspicion)

    def told(self) -> dict[int, Told]:
        """Return what has been answered, by the number of the item."""
        rows = self.table.rows()
        found = {}
        for number, item in enumerate(self.items):
            row = rows.get(item.image.name)
            if row is not None and row["verdict"] in VERDICTS:
                verdict: Any = row["verdict"]
                found[number] = Told(verdict, row["correction"] or None)
        return found

    def answer(self, number: int, verdict: Verdict, correction: str | None) -> None:
        """Keep what a person says of an item.

        Args:
            number: of the item.
            verdict: "right" says that the label that is shown is right.
            correction: the right class, with "wrong".

        Raises:
            InputError: there is no such item or class, or an image without a label cannot be right.
            DataError, StorageError: see `AnswerTable.put`.
        """
        if not 0 <= number < len(self.items):
            raise InputError(f"there are {len(self.items)} pictures, numbered from 0")
        if verdict == "wrong" and correction not in self.classes:
            raise InputError("name one of the classes")
        item = self.items[number]
        image = item.image
        if verdict == "right" and not image.label:
            raise InputError("this picture has no label; name one of the classes")
        label = self._original.get(image.name, image.label)
        if verdict in ("right", "wrong"):  # as seen from the data, whose label may be an older one
            chosen = image.label if verdict == "right" else correction
            verdict, correction = ("right", None) if chosen == label else ("wrong", chosen)
        said, confidence = item.said[0]
        before = self.table.put(
            {
                "file": image.name,
                "label": label,
                "verdict": verdict,
                "correction": correction or "" if verdict == "wrong" else "",
                "split": image.split,
                "network_says": said,
                "confidence": f"{confidence:.3f}",
                "reason": "; ".join(item.reasons),
            }
        )
        self._done = [*self._done[1 - _TAKEN_BACK :], (image.name, before)]
        self._answered(self.table.rows())

    def undo(self) -> int | None:
        """Take the last answer back, and return the number of its item; None where there is none."""
        if not self._done:
            return None
        name, before = self._done[-1]
        self.table.take_back(name, before)
        self._done.pop()
        self._answered(self.table.rows())
        return next((number for number, item in enumerate(self.items) if item.image.name == name), None)
