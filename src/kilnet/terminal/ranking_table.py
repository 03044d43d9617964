"""Any number of runs beside each other, the most accurate first."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from kilnet.inspection.comparison import PairedOutcome
from kilnet.metrics.classification import Evaluation
from kilnet.metrics.intervals import CONFIDENCE_LEVEL
from kilnet.runs.wording import counted, one_line
from kilnet.terminal.fitted_table import Column, FittedTable

_GROUPS = ("seed", "model", "optimizer", "training", "budget", "augment")
"""What is shown first of the settings that differ."""


def ranking_tables(
    names: Sequence[str],
    split: str,
    settings: Mapping[str, Sequence[Any]],
    evaluations: Sequence[Evaluation],
    against_best: Sequence[tuple[PairedOutcome, float]],
    num_pairs: int,
) -> Group:
    """Return the runs with their accuracies, how each compares with the first, and the settings in which they differ.

    Args:
        names: of the runs, the best first.
        split: on which they were evaluated.
        settings: that differ: their values in the order of the names.
        evaluations: of each run.
        against_best: for each run but the first, as of `RunRanking`.
        num_pairs: for how many tests p-values were corrected.
    """
    table = FittedTable(
        f"Accuracy, {one_line(split)}",
        [
            Column("", "text"),
            Column("run", "path"),
            Column("accuracy"),
            Column("95% Wilson", rank=3),
            Column("macro recall", rank=4),
            Column("behind, points", rank=1),
            Column("95% paired", rank=2),
            Column("p"),
        ],
    )
    tied = 0
    for place, (name, found) in enumerate(zip(names, evaluations, strict=True)):
        low, high = found.accuracy_interval
        mark, behind, interval, shown = "*", "", "", ""
        if place:
            outcome, p_value = against_best[place - 1]
            is_tied = p_value >= 1 - CONFIDENCE_LEVEL
            tied += is_tied
            mark, shown = "=" if is_tied else "", f"{p_value:.2g}"
            behind = f"{-100 * outcome.difference:.2f}"
            interval = " to ".join(f"{-100 * bound:.2f}" for bound in reversed(outcome.interval))
        accuracy, macro = f"{found.accuracy:.2%}", f"{found.macro_recall:.2%}"
        table.add_row(
            mark, name, accuracy, f"{100 * low:.1f}–{100 * high:.1f}", macro, behind, interval, shown
        )
    are = "is" if tied == 1 else "are"
    verdict = (
        f"{counted(tied, 'run')} {are} not clearly worse than the first"
        if tied
        else "the first is clearly the best"
    )
    notes = [
        Text(f"{counted(evaluations[0].num_images, 'image')}; {verdict}"),
        Text(
            "* the most accurate, = not clearly worse; p of the exact McNemar test, corrected for "
            f"{counted(num_pairs, 'comparison')} (Holm)"
            + ("; each interval stands on its own" if num_pairs > 1 else ""),
            "dim",
        ),
    ]
    parts: list[RenderableType] = [_settings(settings, names), Text(), table, *notes]
    return Group(*parts)


def _settings(settings: Mapping[str, Sequence[Any]], names: Sequence[str]) -> RenderableType:
    if not settings:
        return Text("The runs have the same settings.")
    keys = sorted(settings, key=lambda key: _place(key.partition(".")[0]))
    table = FittedTable(
        "Settings that differ",
        [
            Column("run", "path"),
            *(Column(key.rpartition(".")[2], "name", rank=1 + place) for place, key in enumerate(keys)),
        ],
    )
    for place, name in enumerate(names):
        values = (settings[key][place] for key in keys)
        table.add_row(name, *("" if value is None else str(value) for value in values))
    return Group(table, Text(f"{counted(len(settings), 'setting')}; the JSON has all", "dim"))


def _place(group: str) -> int:
    """Return how soon settings of a group are shown."""
    return _GROUPS.index(group) if group in _GROUPS else len(_GROUPS)
