"""A search as tables for a terminal."""

from collections import Counter
from collections.abc import Sequence, Set

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kilnet.metrics.classification import Evaluation
from kilnet.runs.wording import accuracy_with_interval, counted, duration, percent
from kilnet.terminal.fitted_table import Column, FittedTable
from kilnet.terminal.tables import facts_table
from kilnet.tuning.search_config import describe, shown
from kilnet.tuning.summary import Summary, TrialRow

_MAX_ROWS = 20
_BAR = 20  # characters of the longest bar


def search_tables(summary: Summary, evaluation: Evaluation | None = None) -> Group:
    """Return the trials, the finalists, the importance of each setting, and the winner with its test accuracy."""
    parts: list[RenderableType] = [head_table(summary), trials_table(summary)]
    if summary.finals:
        parts.append(finals_table(summary))
    if summary.importance:
        parts.append(importance_table(summary))
    if summary.winner is not None:
        parts.append(winner_text(summary, evaluation))
    return Group(*(line for part in parts for line in (part, Text())))


def head_table(summary: Summary) -> Table:
    """Return how far the search has come and what it has cost."""
    config = summary.config
    halving = ", halving" if config.halving else ""
    counts = Counter(row.status for row in summary.trials)
    known = [status for status in ("finished", "stopped", "failed", "waiting") if counts[status]]
    by_status = ", ".join(f"{counts[status]} {status}" for status in known)
    passes = counted(summary.num_image_passes, "image")
    if summary.num_finalist_image_passes:
        passes += f", and {summary.num_finalist_image_passes:,} for the finalists"
    rows = {
        "search": str(summary.folder),
        "strategy": f"{config.strategy}{halving}, seed {config.run.seed}",
        "trials": f"{len(summary.trials)} of {config.num_trials}" + (f": {by_status}" if by_status else ""),
        "trained on": passes,
        "computed": f"{duration(summary.seconds)}, added up over the workers",
    }
    if not summary.is_complete:
        rows["state"] = "not finished; run the same command again to resume it"
    return facts_table(rows)


def trials_table(summary: Summary, max_rows: int = _MAX_ROWS, training: Set[int] = frozenset()) -> Group:
    """Return the trials, the best first, with every setting that was searched; the winner and its equals are marked.

    Args:
        summary: what the search has found.
        max_rows: number of trials that are listed; the others are only counted.
        training: numbers of the trials that are training now.
    """
    keys = summary.config.parsed_space().keys
    # The last part of each key, or the whole key where two would be the same.
    last = Counter(key.rpartition(".")[2] for key in keys)
    names = [key if last[short := key.rpartition(".")[2]] > 1 else short for key in keys]
    table = FittedTable(
        "Trials",
        [
            Column("", "text"),
            Column("no."),
            Column("accuracy"),
            Column("95%", rank=3),
            Column("loss", rank=4),
            *(Column(name, rank=5 + place if place > 3 else 1) for place, name in enumerate(names)),
            Column("epochs", rank=2),
            Column("status", "text"),
        ],
    )
    tied = {final.number for final in summary.finals if final.is_tied}
    for row in summary.trials[:max_rows]:
        mark = "*" if row.number == summary.winner else "=" if row.number in tied else ""
        status = "training" if row.number in training else row.status
        table.add_row(mark, *_cells(row, keys), status, style="bold" if mark == "*" else "")
    notes = []
    if len(summary.trials) > max_rows:
        notes.append(Text(f"{len(summary.trials) - max_rows:,} more in search.csv", style="dim"))
    if summary.finals:
        notes.append(Text("* the winner of the finalists; = not clearly worse than the winner", style="dim"))
    failed = [row for row in summary.trials[:max_rows] if row.status == "failed"]
    notes += [Text(f"trial {row.number}: {row.reason}") for row in failed]
    return Group(table, *notes)


def finals_table(summary: Summary) -> FittedTable:
    """Return the finalists with their accuracy over all seeds, each compared with the winner."""
    table = FittedTable(
        f"Finalists, validation accuracy over {counted(summary.finals[0].accuracy.num_seeds, 'seed')}",
        [
            Column("", "text"),
            Column("no."),
            Column("settings", "name", rank=2),
            Column("mean"),
            Column("95%", rank=1),
            Column("behind the winner, points"),
        ],
    )
    values = {row.number: row.values for row in summary.trials}
    for final in summary.finals:
        mark = "*" if final.behind is None else "=" if final.is_tied else ""
        settings, mean = describe(values[final.number]), f"{final.accuracy.mean:.2%}"
        interval = f"{max(0, final.accuracy.low):.1%}–{min(1, final.accuracy.high):.1%}"
        behind = ""
        if (gap := final.behind) is not None:
            behind = f"{100 * gap.mean:.2f} ({100 * gap.low:.2f} to {100 * gap.high:.2f})"
        table.add_row(mark, str(final.number), settings, mean, interval, behind)
    return table


def importance_table(summary: Summary) -> FittedTable:
    """Return each setting's share of the differences between trials, as bars."""
    columns = [Column("setting", "name"), Column("share"), Column("", "text", rank=1)]
    table = FittedTable("What matters (fANOVA)", columns)
    longest = max(summary.importance.values()) or 1
    for key, part in summary.importance.items():
        table.add_row(key, percent(part), Text("█" * round(_BAR * part / longest), style="cyan"))
    return table


def winner_text(summary: Summary, evaluation: Evaluation | None) -> Group:
    """Return the best settings, their run folder, and their test accuracy."""
    values = next(row.values for row in summary.trials if row.number == summary.winner)
    lines = [Text(f"best: trial {summary.winner}, {describe(values)}", style="bold")]
    if tied := sorted(final.number for final in summary.finals if final.behind and final.is_tied):
        lines.append(Text(f"not clearly worse: trial {', '.join(map(str, tied))}"))
    lines.append(Text(f"its run folder: {summary.winner_folder}"))
    if evaluation is not None:
        lines.append(Text(f"test accuracy {accuracy_with_interval(evaluation)}, read once"))
    return Group(*lines)


def _cells(row: TrialRow, keys: Sequence[str]) -> list[str]:
    interval = (
        "–" if row.accuracy_interval is None else "–".join(f"{end:.1%}" for end in row.accuracy_interval)
    )
    accuracy = "–" if row.accuracy is None else f"{row.accuracy:.2%}"
    loss = "–" if row.loss is None else f"{row.loss:.4f}"
    values = (shown(row.values[key]) if key in row.values else "" for key in keys)
    return [str(row.number), accuracy, interval, loss, *values, f"{row.num_epochs:g}"]
