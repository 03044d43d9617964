"""One part of the campaign: which cases are tried, what went wrong, and the record of both."""

import json
import random
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

# What can go wrong, in the words of the page.
KINDS = {
    "lost": "a command that was given again did not end well, or left something behind",
    "differing": "bytes or answers that an undisturbed command does not give, where that was visible",
    "traceback": "a traceback, or more than one line, in place of one line",
    "silent": "another number or class without a word",
    "executed": "foreign code ran, or something was read or written elsewhere",
    "over limit": "too slow, too much memory, or no end",
}
# For tests without a short form.
LONG = pytest.param("long", marks=(pytest.mark.slow, pytest.mark.timeout(7200)))
LONG_ONLY = pytest.mark.parametrize("campaign", [LONG], indirect=True)
_SECONDS_BETWEEN_RECORDS = 10.0
_LONG_SECONDS = 200.0  # after which the long form begins no further case: a slow machine tries fewer
T = TypeVar("T")


@dataclass
class Campaign:
    """Counts a part's cases and failures, and keeps the record on disk while it runs.

    Attributes:
        part: its name.
        form: "short", "long" or "full".
        seed: of everything that is chosen at random.
        only: where it is given, only the cases whose name has this in it are tried.
        record: the JSON file; None keeps none.
    """

    part: str
    form: str
    seed: int
    only: str = ""
    record: Path | None = None
    num_tried: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)
    _start: float = field(default_factory=time.monotonic)
    _recorded: float = 0.0

    def random(self, *purpose: Any) -> random.Random:
        """Return a source of chance that depends on the seed and the purpose alone."""
        return random.Random(f"{self.seed} {self.part} {purpose}")

    def size(self, short: int, long: int, full: int) -> int:
        """Return how many cases this form has."""
        return {"short": short, "long": long, "full": full}[self.form]

    def some(self, cases: Iterable[T], short: int, long: int | None = None) -> list[T]:
        """Return all cases in the full form; a random part of them in the others, in their order."""
        cases = list(cases)
        count = {"short": short, "long": long if long is not None else 8 * short, "full": len(cases)}[
            self.form
        ]
        places = self.random("some").sample(range(len(cases)), min(count, len(cases)))
        return [cases[place] for place in sorted(places)]

    def verbs(self, names: Iterable[T], case: str) -> list[T]:
        """Return three of the verbs, which the seed chooses for each case: another seed tries others."""
        names = list(names)
        return self.random("verbs", case).sample(names, min(3, len(names)))

    def named(self, cases: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
        """Yield the cases that `--case` chooses, each by its name, while the form has time."""
        for name, case in cases:
            if self.is_late:
                return
            if self.only in name:
                yield name, case

    @property
    def is_late(self) -> bool:
        """Whether the long form has had its time; the others try all of their cases."""
        return self.form == "long" and time.monotonic() - self._start > _LONG_SECONDS

    def tried(self, what: str, count: int = 1) -> None:
        """Count something that was done, such as a kill."""
        self.num_tried[what] = self.num_tried.get(what, 0) + count
        if time.monotonic() - self._recorded > _SECONDS_BETWEEN_RECORDS:
            self._write(False)

    def largest(self, what: str, value: float) -> None:
        """Remember the largest of a measured quantity."""
        self.limits[what] = max(self.limits.get(what, 0.0), round(value, 2))

    def fail(self, kind: str, case: str, told: str) -> None:
        """Write down a failure."""
        assert kind in KINDS
        self.failures.append({"kind": kind, "case": case, "told": told})
        self._write(False)

    def finish(self) -> None:
        """Keep the record, and fail where there was a failure."""
        self._write(True)
        shown = "\n".join(f"{f['kind']}: {f['case']}: {f['told']}" for f in self.failures[:20])
        repeat = (
            f"pytest tests/faults -m slow --faults {self.form} --seed {self.seed} -k {self.part.split()[0]}"
        )
        assert not self.failures, (
            f"{len(self.failures)} failures in {self.num_tried}:\n{shown}\n{repeat} --case TEXT"
        )

    def _write(self, is_complete: bool) -> None:
        self._recorded = time.monotonic()
        if self.record is None:
            return
        content = {
            "part": self.part,
            "form": self.form,
            "seed": self.seed,
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "commit": _commit(),
            "seconds": round(time.monotonic() - self._start),
            "is_complete": is_complete,
            "tried": self.num_tried,
            "largest": self.limits,
            "failures": self.failures,
        }
        self.record.parent.mkdir(parents=True, exist_ok=True)
        self.record.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _commit() -> str:
    """Return the last commit that changed the source, which is what the campaign is about."""
    last = _git("log", "-1", "--format=%h", "--abbrev=12", "--", "src")
    return f"{last}-dirty" if _git("status", "--porcelain", "src") else last


def _git(*words: str) -> str:
    call = ["git", *words]
    root = Path(__file__).parents[2]
    return subprocess.run(call, cwd=root, capture_output=True, text=True, check=False).stdout.strip()
