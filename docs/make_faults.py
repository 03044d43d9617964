"""Writes docs/faults.md from the records that `make test-faults` keeps in build/faults/; that calls it at its end."""

import json
import os
import platform
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("faults.md")
RECORDS = Path(__file__).parents[1] / "build" / "faults"
# In the order of the page: the name of a part, and what it does.
PARTS = {
    "kills of trainings": "`SIGKILL` around every file operation of five trainings, and at random moments",
    "kills of searches": "`SIGKILL` of a search, its workers, or all, with one and two workers",
    "failing operations": "every file operation of seven verbs fails once: no space, an I/O error, no permission",
    "rot of runs": "every file is flipped, cut, zeroed, emptied, gone, a folder, link or FIFO, for three verbs each",
    "rot of searches": "the same with a search",
    "mutated pictures": "rare pictures with random changes, decoded",
    "bombs": "pictures made to cost much, decoded",
    "foreign runs": "run folders with pickles, links, other names, paths and nesting, for three verbs each",
    "foreign searches": "the same with search folders",
    "foreign caches": "the same with the cache",
    "foreign recipes": "the same with recipes and spaces",
    "interrupts of a program that begins": "Ctrl-C in the first half second of each verb",
    "interrupts": "Ctrl-C at any later moment of each verb",
    "server with broken sockets": "slow, cut off, reset and senseless connections",
    "server with bombs": "the bombs as uploads, while others ask",
    "server with many connections": "connections that say nothing, or half a line",
    "server under load": "eight clients ask all the time",
    "server stops under load": "SIGINT or SIGTERM during requests, uploads and bombs",
}
KINDS = ("lost", "differing", "traceback", "silent", "executed", "over limit")
_HEAD = """\
# Faults

*Written by `make test-faults`; changes made here are lost.*

The campaign does to Kilnet what machines, files and people do to programs, and counts what goes wrong. The same seed
tries the same cases. What each column counts:

* **lost**: the same command again did not end well, something was left over, or an answer never came;
* **differing**: bytes that an undisturbed command does not write;
* **traceback**: anything but one line that says what is wrong;
* **silent**: another number or class, and no word about it;
* **executed**: foreign code ran, or something elsewhere was read or written;
* **over limit**: no end in 20 seconds; for pictures over 5 s of the processor or 500 MB beyond the pixels; for a stop
  over 3 s; for others, while the server gets bombs, over 2 s.
"""
_TAIL = """\
## Again

```sh
make test-faults
```

takes most of an hour on two cores. One part, or a case of it:

```sh
.venv/bin/pytest tests/faults -m slow --faults full --seed 0 -k rot_of_runs --case "evaluate: run/history.csv"
```

A kill leaves what was written in the memory of the system: the campaign does not cut the power.
"""


def page(records: Path = RECORDS) -> str:
    """Return the page: a table of all parts that were run, then the failures."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in records.glob("*.json")]
    by_part = {record["part"]: record for record in found}
    done = [by_part[part] for part in PARTS if part in by_part]
    dates = sorted({record["date"] for record in done})
    commits = sorted({record["commit"] for record in done})
    seeds = sorted({record["seed"] for record in done})
    facts = (
        f"{' to '.join(dates[:: max(1, len(dates) - 1)])}, commit {', '.join(commits)}, "
        f"seed {', '.join(map(str, seeds))}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {platform.system()}.\n"
    )
    titles = ["part", "tried", *KINDS, "largest", "minutes"]
    rows = [titles, ["---"] * len(titles), *map(_row, done)]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    failures = [_failures(record) for record in done if record["failures"]]
    missing = [part for part in PARTS if part not in by_part or not by_part[part]["is_complete"]]
    notes = [f"Not run to the end: {', '.join(missing)}.\n"] if missing else []
    notes += [f"**{record['part']}**: {note}\n" for record in done for note in record.get("notes", [])]
    return "\n".join([_HEAD, facts, table, *notes, *failures, _TAIL])


def _row(record: dict[str, Any]) -> list[str]:
    kinds = [failure["kind"] for failure in record["failures"]]
    return [
        f"**{record['part']}**: {PARTS[record['part']]}",
        ", ".join(f"{count:,} {what}" for what, count in record["tried"].items()),
        *(str(kinds.count(kind)) for kind in KINDS),
        ", ".join(f"{value:g} {what}" for what, value in record["largest"].items()),
        f"{record['seconds'] / 60:.1f}",
    ]


def _failures(record: dict[str, Any]) -> str:
    shown = [f"* {f['kind']}: `{f['case']}`: {_plain(f['told'])}" for f in record["failures"][:20]]
    more = len(record["failures"]) - len(shown)
    shown += [f"* and {more} more"] if more else []
    return f"## Failures: {record['part']}\n\n" + "\n".join(shown) + "\n"


def _plain(text: str) -> str:
    return "`" + " ".join(text.replace("`", "'").split())[:300] + "`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
