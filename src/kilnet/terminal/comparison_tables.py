"""The comparison of two runs as tables for a terminal of 80 columns."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kilnet.inspection.comparison import Disagreement, PairedOutcome
from kilnet.metrics import wilson_interval
from kilnet.runs.wording import one_line, percent, shorten
from kilnet.terminal.tables import empty_table

MAX_LINES = 10
"""Most images of each kind that are listed; the JSON lists all."""


def comparison_tables(
    names: tuple[str, str],
    split: str,
    differences: Sequence[str],
    outcome: PairedOutcome,
    disagreements: Sequence[Disagreement],
) -> Group:
    """Return the settings that differ, both accuracies and their difference, and images that one run gets wrong."""
    parts: list[RenderableType] = [
        _settings(differences),
        _accuracies(names, split, outcome),
        _verdict(outcome),
    ]
    for place, name in enumerate(names):
        found = [one for one in disagreements if (one.first, one.second)[place] == one.truth]
        if found:
            parts.append(_images(f"Only {one_line(name)} is right", found, 1 - place))
    return Group(*(line for part in parts for line in (part, Text())))


def _settings(differences: Sequence[str]) -> Group:
    lines = [Text(f"  {one_line(line)}", overflow="fold") for line in differences]
    return Group(Text("Settings that differ", "bold"), *(lines or [Text("  none")]))


def _accuracies(names: tuple[str, str], split: str, outcome: PairedOutcome) -> Table:
    table = empty_table(f"Accuracy, {split}", ["run"], ["right", "accuracy", "95% Wilson"], name_width=40)
    for name, num_alone in zip(names, (outcome.num_first, outcome.num_second), strict=True):
        num_right = outcome.num_both + num_alone
        low, high = wilson_interval(num_right, outcome.num_images)
        row = (f"{num_right:,}", f"{num_right / outcome.num_images:.2%}", f"{100 * low:.1f}–{100 * high:.1f}")
        table.add_row(Text(shorten(name, 40)), *row)
    return table


def _verdict(outcome: PairedOutcome) -> Group:
    low, high = outcome.interval
    noise = "" if outcome.is_clear else "; within the noise: this may be chance"
    return Group(
        Text(
            f"difference {100 * outcome.difference:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f}, 95% paired "
            f"Newcombe), p = {outcome.p_value:.2g} (exact McNemar){noise}",
            overflow="fold",
        ),
        Text(
            f"{outcome.num_images:,} images: both right {outcome.num_both:,}, only the first {outcome.num_first:,}, "
            f"only the second {outcome.num_second:,}, neither {outcome.num_neither:,} "
            f"(they differ on {percent((outcome.num_first + outcome.num_second) / outcome.num_images)})",
            overflow="fold",
        ),
    )


def _images(title: str, found: Sequence[Disagreement], wrong: int) -> RenderableType:
    heading = Text(f"{title}: {len(found):,} images", "bold", overflow="fold")  # wider than its table
    table = empty_table("", ["image", "truth", "the other predicts"], [], 28)
    for one in found[:MAX_LINES]:
        names = (one.name, one.truth, (one.first, one.second)[wrong])
        table.add_row(*(Text(shorten(name, 28)) for name in names))
    more = f"and {len(found) - MAX_LINES:,} more: the JSON lists all"
    return Group(heading, table, *([Text(more, "dim")] if len(found) > MAX_LINES else []))
