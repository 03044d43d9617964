"""Names and numbers, fit to be shown; class names are user text and may hold anything."""

import math
import unicodedata

from kilnet.metrics import CONFIDENCE_LEVEL, Evaluation

# Embedding, override and isolate marks would reorder the text around the name, not only the name.
_REORDERING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_UNPRINTABLE = frozenset({"Cc", "Cs"})


def one_line(name: str) -> str:
    """Return `name` on one line: white space becomes single spaces, control characters become U+FFFD."""
    return "".join(
        "\ufffd"
        if unicodedata.category(character) in _UNPRINTABLE
        or unicodedata.bidirectional(character) in _REORDERING
        else character
        for character in " ".join(name.split())
    )


def shorten(name: str, max_characters: int) -> str:
    """Return `name` on one line; where it is too long, its middle becomes an ellipsis."""
    name = one_line(name)
    if len(name) <= max_characters:
        return name
    tail = (max_characters - 1) // 3  # names that start alike often differ in their ends
    return f"{name[: max_characters - 1 - tail].rstrip()}…{name[len(name) - tail :].lstrip()}"


def percent(ratio: float) -> str:
    """Return a fraction as a percentage with one decimal; a dash where it is NaN."""
    return "–" if math.isnan(ratio) else f"{ratio:.1%}"


def accuracy_with_interval(evaluation: Evaluation) -> str:
    """Return, for example, `71.9% (71.0–72.8, 95% Wilson, n=10,000)`."""
    low, high = evaluation.accuracy_interval
    return (
        f"{percent(evaluation.accuracy)} ({100 * low:.1f}–{100 * high:.1f}, "
        f"{CONFIDENCE_LEVEL:.0%} Wilson, n={evaluation.num_images:,})"
    )
