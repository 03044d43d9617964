"""Names and numbers, fit to be shown; class names are user text and may hold anything."""

import math
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kilnet.config import ViewsConfig
    from kilnet.metrics.classification import Evaluation
    from kilnet.training.records import EpochRecord

WORDS: ContextVar[Callable[[str], str]] = ContextVar("WORDS", default=str)
"""How progress is told: the command line puts its options for the library's arguments, as it does in errors."""
IN_DETAIL: ContextVar[bool] = ContextVar("IN_DETAIL", default=False)
"""Whether progress also tells what was measured, and how it was chosen."""
MAX_CHARACTERS = 5000
"""Of a line that is printed: the longest path of Linux, 4,096 bytes, and words around it."""
# Embedding, override and isolate marks would reorder the text around the name, not only the name.
_REORDERING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_MANY = 3  # lines of one kind that are told as one
_UNPRINTABLE = frozenset({"Cc", "Cs"})


def printable(text: str) -> str:
    """Return text from anywhere as one line that a terminal shows and does not obey.

    White space becomes plain spaces, control characters, halves of characters and marks that reorder the text around
    them become U+FFFD, and what is longer than `MAX_CHARACTERS` loses its middle.
    """
    if len(text) > MAX_CHARACTERS:
        text = _without_middle(text, MAX_CHARACTERS)
    return text if text.isprintable() else "".join(map(_shown, text))


def one_line(name: str) -> str:
    """Return a name as `printable` does, its white space as single spaces."""
    return printable(" ".join(name.split()))


def shorten(name: str, max_characters: int) -> str:
    """Return `name` on one line; where it is too long, its middle becomes an ellipsis."""
    name = one_line(name)
    return name if len(name) <= max_characters else _without_middle(name, max_characters)


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    is_hidden = unicodedata.category(character) in _UNPRINTABLE
    return "\ufffd" if is_hidden or unicodedata.bidirectional(character) in _REORDERING else character


def _without_middle(name: str, max_characters: int) -> str:
    tail = (max_characters - 1) // 3  # names that start alike often differ in their ends
    return f"{name[: max_characters - 1 - tail].rstrip()}…{name[len(name) - tail :].lstrip()}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: `1 class`, `1,234 images`; the plural ends with s or es unless it is given."""
    several = plural or (f"{noun}es" if noun.endswith(("s", "x")) else f"{noun}s")
    return f"{number:,} {noun if number == 1 else several}"


def listed(names: Iterable[str], max_names: int = 3) -> str:
    """Return the first names of a list and how many more there are: `cat, dog, frog and 34 more`."""
    names = [one_line(name) for name in names]
    num_more = len(names) - max_names
    return ", ".join(names[:max_names]) + (f" and {num_more:,} more" if num_more > 0 else "")


def told_together(lines: Iterable[str]) -> list[str]:
    """Return lines `name: what is wrong` with those of one kind in one line, where there are three or more.

    `37 times: not readable (a.png, b.png, c.png and 34 more)` stands where the first of them stood.
    """
    kinds: dict[str, list[str]] = {}
    for line in lines:
        name, colon, what = line.partition(": ")
        kinds.setdefault(what if colon else line, []).append(name)
    told = []
    for what, names in kinds.items():
        if len(names) >= _MANY:
            told.append(f"{len(names):,} times: {what} ({listed(names)})")
        else:
            told += [what if name == what else f"{name}: {what}" for name in names]
    return told


def duration(seconds: float) -> str:
    """Return a duration as people write it: 0.8 s, 42 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def speaks_ascii() -> bool:
    """Whether the user's locale is the plain one, LANG=C, whose terminals may know no other characters.

    So it is where PYTHONIOENCODING says ascii.

    Python writes UTF-8 there nevertheless; it sets LC_CTYPE=C.UTF-8 itself for that (PEP 538, PEP 540).
    """
    if any(getattr(stream, "encoding", None) == "ascii" for stream in (sys.stdout, sys.stderr)):
        return True
    chosen = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE", "")
    if chosen in ("", "C.UTF-8"):
        chosen = os.environ.get("LANG", "")
    return chosen in ("C", "POSIX")


_PLAIN = str.maketrans("–—−…×±━─█▁▂▃▄▅▆▇°→≥≤·’“”", '---~x+=-#.,:;=+*o>><.\'""')


def in_ascii(text: str) -> str:
    """Return text in ASCII, character by character: hyphens for dashes, x for ×; ? for what has no likeness."""
    return text.translate(_PLAIN).encode("ascii", "replace").decode("ascii")


def percent(ratio: float) -> str:
    """Return a fraction as a percentage with one decimal; a dash where it is NaN."""
    return "–" if math.isnan(ratio) else f"{ratio:.1%}"


def accuracy_with_interval(evaluation: "Evaluation") -> str:
    """Return, for example, `71.9% (71.0–72.8, 95% Wilson, n=10,000)`."""
    from kilnet.metrics.intervals import CONFIDENCE_LEVEL  # --help does without it

    low, high = evaluation.accuracy_interval
    return (
        f"{percent(evaluation.accuracy)} ({100 * low:.1f}–{100 * high:.1f}, "
        f"{CONFIDENCE_LEVEL:.0%} Wilson, n={evaluation.num_images:,})"
    )


def macro_recall_with_interval(evaluation: "Evaluation") -> str:
    """Return, for example, `63.2% (60.1–66.0, 95% bootstrap)`."""
    from kilnet.metrics.intervals import CONFIDENCE_LEVEL

    low, high = evaluation.macro_recall_interval
    return f"{percent(evaluation.macro_recall)} ({100 * low:.1f}–{100 * high:.1f}, {CONFIDENCE_LEVEL:.0%} bootstrap)"


def calibration_error(evaluation: "Evaluation") -> str:
    """Return, for example, `1.2%; 20.3% before calibration`."""
    before = evaluation.uncalibrated_error
    return percent(evaluation.calibration_error) + (
        "" if before is None else f"; {percent(before)} before calibration"
    )


def why_it_differs(best: "EpochRecord", evaluation: "Evaluation", views: "ViewsConfig") -> str | None:
    """Return why a run's validation accuracy is not what training noted, in one line; None where it is the same.

    Args:
        best: the record of the epoch whose weights are kept.
        evaluation: of the validation images.
        views: which the network averages when it is used.
    """
    if best.num_validation_correct == evaluation.num_correct:
        return None
    noted = f"training noted {percent(best.validation_accuracy)} on these images"
    if views.mirror or views.shift_px:
        return (
            f"{noted}: it looks at each once; evaluation also at further views (views.mirror, views.shift_px)"
        )
    return f"{noted}: it may compute in another precision; evaluation computes in fp32"


def hidden_by_accuracy(evaluation: "Evaluation") -> list[str]:
    """Return what an accuracy does not show, one line each: a class that is most of the images, classes never named.

    There are none where all classes have about as many images, and each is predicted.
    """
    from kilnet.metrics.class_counts import LARGEST_BALANCED

    lines = []
    if evaluation.num_images and evaluation.imbalance > LARGEST_BALANCED:
        lines.append(
            f"always saying {shorten(evaluation.majority_class, 40)} would be right for "
            f"{percent(evaluation.majority_share)}"
        )
    for names, what in (
        (evaluation.never_predicted, "never predicted"),
        (evaluation.without_images, "without images: recall counts as 0"),
    ):
        if names and evaluation.num_images:
            lines.append(f"{counted(len(names), 'class')} {what} ({_some(names)})")
    return lines


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(shorten(name, 24) for name in names[:most]) + (", …" if len(names) > most else "")
