"""Listing runs and searches."""

from collections.abc import Sequence
from pathlib import Path

from kilnet.runs.listing import ListedRun, found_below
from kilnet.runs.selection import matching, ordered


def list_runs(
    folder: str | Path | None = None,
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    reverse: bool = False,
) -> tuple[ListedRun, ...]:
    """Return the runs and searches below a folder, chosen and ordered by any setting or metric; torch is not imported.

        kilnet.list_runs("runs", where=["model=FastNet", "accuracy>90%"], sort="test.accuracy")

    Args:
        folder: by default `runs` and `searches` in the current folder, or all below it where both are missing.
        where: conditions on values, see `ListedRun`, which all have to hold: accuracy>0.9, optimizer.lr=0.01,
            model=Fast*, status!=finished. The last part of a name is enough where only one ends so.
        sort: the value whose best is first: the lowest loss or time, the highest of other numbers, the first text.
            By default the newest is first.
        reverse: whether the last is first.

    Raises:
        InputError: there is no such folder, a condition is none, or no run has such a value.
    """
    found = matching(found_below(folder), where)
    if sort is not None:
        return ordered(found, sort, reverse)
    return found[::-1] if reverse else found
