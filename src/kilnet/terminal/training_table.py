"""A training as a table that grows by one line per epoch, and the time that is left."""

from collections.abc import Sequence

from kilnet.metrics.intervals import wilson_interval
from kilnet.runs.wording import duration
from kilnet.training.records import EpochRecord

_GAP = "  "
_BARS = "▁▂▃▄▅▆▇█"
# (head, width, rank): where there is no room, columns with the highest rank are left out first.
_COLUMNS = (
    ("epoch", 5, 0),
    ("train loss", 10, 2),
    ("val. loss", 9, 5),
    ("val. acc.", 9, 0),
    ("95% interval", 12, 3),
    ("", 4, 1),
    ("images/s", 8, 4),
    ("time", 11, 6),
    ("left", 11, 1),
)


class TrainingTable:
    """Writes one line per epoch, in columns that are chosen once.

    Args:
        room: cells of a line.
        num_epochs: of the training; None if it ends by time.
    """

    def __init__(self, room: int, num_epochs: int | None) -> None:
        self._num_epochs = num_epochs
        widths = {head: width for head, width, _ in _COLUMNS}
        widths["epoch"] = max(5, 2 * len(str(num_epochs)) + 1 if num_epochs else 5)
        shown = list(_COLUMNS)
        while sum(widths[head] for head, *_ in shown) + len(_GAP) * (len(shown) - 1) > room and any(
            rank for *_, rank in shown
        ):
            shown.remove(max(shown, key=lambda column: column[2]))
        self._widths = {head: widths[head] for head, *_ in shown}

    def head(self) -> str:
        """Return the names of the columns."""
        return self._line({head: head for head in self._widths})

    def line(self, record: EpochRecord, seconds: float, num_images: int, left: float | None) -> str:
        """Return the line of an epoch.

        Args:
            record: of the epoch.
            seconds: that it took.
            num_images: that it trained on.
            left: seconds until the training ends; None where nobody knows, 0 at its end.
        """
        low, high = wilson_interval(record.num_validation_correct, record.num_validation)
        return self._line(
            {
                "epoch": f"{record.epoch}/{self._num_epochs}" if self._num_epochs else str(record.epoch),
                "train loss": f"{record.train_loss:.4f}",
                "val. loss": f"{record.validation_loss:.4f}",
                "val. acc.": f"{record.validation_accuracy:.2%}",
                "95% interval": f"{100 * low:.1f}–{100 * high:.1f}",
                "": "kept" if record.is_best else "",
                "images/s": f"{num_images / seconds:,.0f}" if num_images and seconds else "",
                "time": duration(seconds),
                "left": duration(left) if left else "",
            }
        )

    def _line(self, cells: dict[str, str]) -> str:
        aligned = (
            cells[head].ljust(width) if head == "" else cells[head].rjust(width)
            for head, width in self._widths.items()
        )
        return _GAP.join(aligned).rstrip()


class Pace:
    """How long a training of so many epochs still takes, from the pace of the last two.

    Args:
        num_epochs: of the training.
    """

    def __init__(self, num_epochs: int) -> None:
        self._num_epochs = num_epochs
        self._marks: list[tuple[float, float]] = []  # (moment, epochs done), the oldest first

    def left(self, now: float, num_done: float, is_epoch: bool) -> float | None:
        """Return the seconds left; None while nobody can know.

        Args:
            now: seconds that never go back.
            num_done: epochs that are done, with the part of the present one.
            is_epoch: whether an epoch has just ended, its validation included.
        """
        if num_done < 0:  # the last layer of a pretrained network is fitted, at another pace
            return None
        since, before = self._marks[0] if self._marks else (now, num_done)
        if is_epoch or not self._marks:
            self._marks = [*self._marks[-2:], (now, num_done)]
        if num_done >= self._num_epochs:
            return 0.0
        if num_done <= before:
            return None
        return (self._num_epochs - num_done) * (now - since) / (num_done - before)


def spark_line(values: Sequence[float], width: int) -> str:
    """Return values as bars of one character each, from the lowest to the highest; the last `width` of them."""
    shown = values[-width:] if width > 0 else ()
    if len(shown) < 2:
        return ""
    low, high = min(shown), max(shown)
    steps = (round((value - low) / (high - low) * (len(_BARS) - 1)) if high > low else 0 for value in shown)
    return "".join(_BARS[step] for step in steps)
