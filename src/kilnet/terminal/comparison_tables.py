"""The comparison of two runs as tables for a terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from kilnet.inspection.comparison import Disagreement, PairedOutcome
from kilnet.metrics.classification import Evaluation
from kilnet.runs.wording import counted, hidden_by_accuracy, one_line, percent, shorten
from kilnet.terminal.fitted_table import Column, FittedTable

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


def _accuracies(names: tuple[str, str], evaluations: tuple[Evaluation, Evaluation]) -> FittedTable:
    columns = [
        Column("run", "path"),
        Column("right", rank=2),
        Column("accuracy"),
        Column("95% Wilson", rank=3),
        Column("macro recall", rank=1),
    ]
    table = FittedTable(f"Accuracy, {one_line(evaluations[0].split)}", columns)
    for name, found in zip(names, evaluations, strict=True):
        low, high = found.accuracy_interval
        interval = f"{100 * low:.1f}–{100 * high:.1f}"
        row = (f"{found.num_correct:,}", f"{found.accuracy:.2%}", interval, f"{found.macro_recall:.2%}")
        table.add_row(name, *row)
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
            f"{counted(outcome.num_images, 'image')}: both right {outcome.num_both:,}, "
            f"only the first {outcome.num_first:,}, only the second {outcome.num_second:,}, "
            f"neither {outcome.num_neither:,} "
            f"(they differ on {percent((outcome.num_first + outcome.num_second) / outcome.num_images)})",
            overflow="fold",
        ),
    )


def _images(title: str, found: Sequence[Disagreement], wrong: int) -> RenderableType:
    heading = Text(f"{title}: {counted(len(found), 'image')}", "bold", overflow="fold")
    columns = [Column("image", "path"), Column("truth", "name"), Column("the other predicts", "name")]
    table = FittedTable("", columns)
    for one in found[:MAX_LINES]:
        table.add_row(one.name, one.truth, (one.first, one.second)[wrong])
    more = f"and {len(found) - MAX_LINES:,} more: the JSON lists all"
    return Group(heading, table, *([Text(more, "dim")] if len(found) > MAX_LINES else []))
