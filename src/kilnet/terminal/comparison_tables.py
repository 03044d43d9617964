"""The comparison of two runs as tables for a terminal of 80 columns."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kilnet.inspection.comparison import Disagreement, PairedOutcome
from kilnet.metrics import Evaluation
from kilnet.runs.wording import hidden_by_accuracy, one_line, percent, shorten
from kilnet.terminal.tables import empty_table

MAX_LINES = 10
"""Most images of each kind that are listed; the JSON lists all."""


def comparison_tables(
    names: tuple[str, str],
    evaluations: tuple[Evaluation, Evaluation],
    differences: Sequence[str],
    outcome: PairedOutcome,
    disagreements: Sequence[Disagreement],
) -> Group:
    """Return the settings that differ, both accuracies and their difference, and images that one run gets wrong."""
    parts: list[RenderableType] = [
        _settings(differences),
        _accuracies(names, evaluations),
        *_hidden(names, evaluations),
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


def _accuracies(names: tuple[str, str], evaluations: tuple[Evaluation, Evaluation]) -> Table:
    numbers = ["right", "accuracy", "95% Wilson", "macro recall"]
    table = empty_table(f"Accuracy, {one_line(evaluations[0].split)}", ["run"], numbers, name_width=34)
    for name, found in zip(names, evaluations, strict=True):
        low, high = found.accuracy_interval
        interval = f"{100 * low:.1f}–{100 * high:.1f}"
        row = (f"{found.num_correct:,}", f"{found.accuracy:.2%}", interval, f"{found.macro_recall:.2%}")
        table.add_row(Text(shorten(name, 34)), *row)
    return table


def _hidden(names: tuple[str, str], evaluations: tuple[Evaluation, Evaluation]) -> list[RenderableType]:
    """Return what accuracy does not show of each run, if anything."""
    lines = [
        Text(f"{shorten(name, 34)}: {'; '.join(hidden)}", overflow="fold")
        for name, found in zip(names, evaluations, strict=True)
        if (hidden := hidden_by_accuracy(found))
    ]
    return [Group(*lines)] if lines else []


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
