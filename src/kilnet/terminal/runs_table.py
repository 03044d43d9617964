"""Runs and searches below each other, one line each."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Group

from kilnet.runs.leaderboard import interval_text
from kilnet.runs.listing import ListedRun
from kilnet.runs.wording import counted, duration
from kilnet.terminal.fitted_table import Column, FittedTable

_SHOWN = {"path", "model", "data", "accuracy", "test.accuracy", "epochs", "status", "modified", "seconds"}


def runs_table(runs: Sequence[ListedRun], keys: Sequence[str] = ()) -> Group:
    """Return one row per run, and a line that counts them.

    Args:
        runs: in their order.
        keys: values with a column of their own: those that were asked about.
    """
    all_finished = all(run.values["status"] == "finished" for run in runs)
    own = [key for key in dict.fromkeys(keys) if key not in _SHOWN]
    table = FittedTable(
        "",
        [
            Column("run", "path"),
            Column("model", "name", rank=3),
            Column("data", "name", rank=6),
            *(Column(key, "text" if _is_text(runs, key) else "number", rank=1) for key in own),
            Column("val. acc."),
            Column("95%", rank=5),
            Column("test", rank=2),
            Column("epochs", rank=4),
            Column("time", rank=7),
            Column("status", "text", rank=6 if all_finished else 1),
            Column("when", "text", rank=8),
        ],
    )
    for run in runs:
        values = run.values
        name = f"{run.path}/" if run.kind == "search" else str(run.path)
        table.add_row(
            name,
            values.get("model", ""),
            values.get("data", ""),
            *(_shown(values.get(key)) for key in own),
            _percent(values.get("accuracy")),
            interval_text(values),
            _percent(values.get("test.accuracy")),
            _shown(values.get("epochs")),
            duration(values["seconds"]) if "seconds" in values else "",
            values["status"],
            str(values["modified"])[:16],
        )
    return Group(table)


def summary(runs: Sequence[ListedRun]) -> str:
    """Return how many there are of what."""
    kinds = Counter(run.kind for run in runs)
    told = [counted(kinds["run"], "run")] if kinds["run"] or not kinds["search"] else []
    if kinds["search"]:
        told.append(counted(kinds["search"], "search"))
    states = Counter(run.values["status"] for run in runs)
    others = [f"{states[status]:,} {status}" for status in ("unfinished", "damaged") if states[status]]
    return ", ".join([" and ".join(told), *others])


def _is_text(runs: Sequence[ListedRun], key: str) -> bool:
    return any(isinstance(run.values.get(key), str) for run in runs)


def _shown(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.4g}"
        case int():
            return f"{value:,}"
    return str(value)


def _percent(value: Any) -> str:
    return f"{value:.2%}" if isinstance(value, int | float) else ""
