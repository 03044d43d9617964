"""Runs and searches as a local page that follows them."""

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any

from kilnet.errors import InputError
from kilnet.page import board_page
from kilnet.page.document import Live, section_html
from kilnet.runs.deletion import delete, is_written
from kilnet.runs.leaderboard import tied_with_best
from kilnet.runs.listing import REPORT, Known, ListedRun, found_below, places_of, read_history, run_behind
from kilnet.runs.selection import is_highest_first, keys_in, matching, ordered, whole_key
from kilnet.runs.wording import counted, one_line
from kilnet.storage import read_text
from kilnet.verbs.page_server import server_packages, warn_of_exposure

if TYPE_CHECKING:
    from kilnet.page.document import Section
    from kilnet.tuning.summary import Summary

_BETWEEN = re.compile(r",(?=\s*[\w.-]+\s*[<>=!])")  # conditions; a value may hold a comma
_MAX_REPORT_BYTES = 1 << 26
_MIN_WAIT, _RATIO = 2.0, 10  # seconds between questions, and how much longer than an answer takes
_NO_ACCURACY = "no trial has an accuracy yet"


def board(
    folder: str | Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8001,
    started: Callable[[str], None] = lambda _: None,
    progress: bool = True,
) -> None:
    """Show the runs and searches below a folder on a page, until the process is interrupted.

    The page follows trainings and searches that run, ranks and filters as `list_runs` does, draws learning curves on
    each other, compares runs as `compare_all` does, and deletes runs when it is asked to twice.

    Args:
        folder: as for `list_runs`.
        host: name or address to listen at. Anyone who can reach it may delete runs; the default is this machine alone.
        port: 0 takes a free one.
        started: called with the URL once connections are accepted.
        progress: whether to warn on standard error that others can reach it.

    Raises:
        MissingPackageError: the extra `serve` is not installed.
        PortError: the port is in use.
        InputError: there is no such folder or address.
        KeyboardInterrupt: Ctrl-C, once the server has ended.
    """
    with server_packages("the board"):
        from kilnet.server import board_app, guard, listen
    shown = Board(folder)
    with listen.bind(host, port) as bound:
        warn_of_exposure(host, "see and delete these runs", progress)
        application = board_app.make_board_app(shown, guard.own_names(host))
        listen.run(application, bound, lambda: started(listen.url_of(bound, host)))


class Board:
    """What the page asks; runs are named by digests of their paths, so no request chooses a path on disk."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder, self._places = folder, places_of(folder)
        self._known: Known = {}
        self._searches: dict[str, tuple[object, dict[str, Any]]] = {}
        # Requests come in threads; whoever waits is answered from what the first has read.
        self._reading, self._comparing, self._summing = Lock(), Lock(), Lock()

    def page(self, token: str) -> str:
        """Return the page; `token` is what it sends with a deletion."""
        return board_page.board_page(" and ".join(_name_of(place) for place in self._places), token)

    def runs(self, where: str = "", sort: str = "", reverse: bool = False, seen: str = "") -> dict[str, Any]:
        """Return the table of the runs that meet all conditions, or only its version where that is the one seen."""
        start = perf_counter()
        every = self._found()
        conditions = [text.strip() for text in _BETWEEN.split(where) if text.strip()]
        found: Sequence[ListedRun] = matching(every, conditions)
        key = ""
        if sort and not (sort == "accuracy" and not any("accuracy" in run.values for run in every)):
            found, key = ordered(found, sort, reverse), whole_key(found, sort)
        elif reverse:
            found = found[::-1]
        running = {
            place
            for place, run in enumerate(found)
            if run.values["status"] == "unfinished" and is_written(run.path)
        }
        tied_ids = {_id_of(every[place]) for place in tied_with_best(every)}
        ids = [_id_of(run) for run in found]
        tied = {place for place, name in enumerate(ids) if name in tied_ids}
        keys = [*keys_in(found, conditions), *([key] if key and key not in ("path", "kind") else [])]
        table = board_page.leaderboard(found, ids, list(map(self._label, found)), tied, running, keys)
        wait = max(_MIN_WAIT, _RATIO * (perf_counter() - start))
        if table["version"] == seen:
            return {"version": seen, "wait": wait}
        kinds = f"{counted(len(found), 'run or search', 'runs and searches')} of {len(every):,}"
        known = dict.fromkeys(name for run in every for name in run.to_dict())
        return {
            **table,
            "sorted_by": key,
            "is_rising": bool(key) and is_highest_first(found, key) is reverse,
            "all": [_id_of(run) for run in every],
            "keys": [one_line(name) for name in known],
            "summary": f"{kinds}, {len(running)} running",
            "wait": wait,
        }

    def curves(self, ids: Sequence[str], measure: str) -> str:
        """Return the learning curves of some runs on each other, without those that have been deleted meanwhile."""
        if measure not in board_page.MEASURES:
            raise InputError(f"no curves of {measure!r}; there are {', '.join(board_page.MEASURES)}")
        there = self._by_id()
        chosen = [there[name] for name in dict.fromkeys(ids) if name in there][: board_page.MAX_CURVES]
        folders = [(self._label(run), run_behind(run)) for run in chosen]
        named: dict[str, list[dict[str, str]]] = {}
        for name, behind in folders:
            try:
                named[name] = read_history(behind) if behind is not None else []
            except (OSError, ValueError):  # damaged, as the table says
                named[name] = []
        return board_page.curves(named, measure)

    def comparison(self, ids: Sequence[str]) -> str:
        """Return how some runs compare, with a paired test of every two."""
        from kilnet.verbs.compare import compare_all  # torch, which the table does without
        from kilnet.verbs.winner import opened_or_winner

        chosen = self._chosen(ids)
        with self._comparing:
            runs = [opened_or_winner(run.path) for run in chosen]
            names = {str(run.folder): self._label(listed) for run, listed in zip(runs, chosen, strict=True)}
            found = compare_all(runs, progress=False).to_dict()
        return board_page.comparison(found, [names[name] for name in found["runs"]])

    def search_page(self, run: str) -> str:
        """Return the page of a search, which follows it."""
        from kilnet.page.document import render
        from kilnet.page.search_page import search_subtitle

        listed, summary, sections, version = self._search(run)
        note = "This page follows the search while it runs. kilnet report writes it as one file."
        live = Live(f"/api/search?run={run}", "live.js", note, version)
        if summary is None:
            return render(_name_of(listed.path), f"{_NO_ACCURACY}; this page waits for one", [], live=live)
        return render(_name_of(listed.path), search_subtitle(*summary), sections, live=live)

    def search_sections(self, run: str, seen: str = "") -> dict[str, Any]:
        """Return the sections of a search's page, or only their version where that is the one seen."""
        from kilnet.page.search_page import search_subtitle

        start = perf_counter()
        _, summary, sections, version = self._search(run)
        answer = {
            "version": version,
            "wait": max(_MIN_WAIT, _RATIO * (perf_counter() - start)),
            "over": summary is not None and summary[0].is_complete,
        }
        if version == seen:
            return answer
        parts = [(section.id, str(section_html(section))) for section in sections]
        told = [(name, html, hashlib.sha256(html.encode()).hexdigest()[:16]) for name, html in parts]
        subtitle = "" if summary is None else search_subtitle(*summary)
        return {**answer, "subtitle": subtitle, "sections": told}

    def report(self, run: str) -> str:
        """Return the report of a run that was made before."""
        path = self._chosen([run])[0].path / REPORT
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{path}: no report yet; `kilnet report` makes one")
        return read_text(path, _MAX_REPORT_BYTES)

    def delete(self, run: str) -> None:
        """Delete a run or a search that no process is writing."""
        delete(self._chosen([run])[0], self._places)

    def _label(self, run: ListedRun) -> str:
        """Return what a run is called: below the one folder that is shown, the rest of its path."""
        folder = self._places[0]
        return str(run.path if len(self._places) > 1 or run.path == folder else run.path.relative_to(folder))

    def _found(self) -> tuple[ListedRun, ...]:
        with self._reading:
            found = found_below(self._folder, self._known)
            for gone in self._known.keys() - {run.path for run in found}:
                del self._known[gone]
        return found

    def _by_id(self) -> dict[str, ListedRun]:
        return {_id_of(run): run for run in self._found()}

    def _chosen(self, ids: Sequence[str]) -> list[ListedRun]:
        there = self._by_id()
        if any(name not in there for name in ids):
            raise InputError("there is no such run any more")
        return [there[name] for name in dict.fromkeys(ids)]

    def _search(
        self, run: str
    ) -> "tuple[ListedRun, tuple[Summary, dict[str, Any]] | None, list[Section], str]":
        """Return what a search has found so far, the sections of its page, and their version."""
        from kilnet.page.search_page import search_sections
        from kilnet.tuning.search_folder import SearchFolder
        from kilnet.verbs.report import read_search

        listed = self._chosen([run])[0]
        if listed.kind != "search":
            raise InputError(f"{listed.path}: a run, not a search")
        signature = _state_of(listed.path)
        with self._summing:  # a forest for what mattered takes a second
            kept = self._searches.get(run)
            if kept is None or kept[0] != signature:
                summary, evaluation = read_search(listed.path)
                try:
                    sections = search_sections(summary, evaluation)
                except InputError:
                    found: dict[str, Any] = {"summary": None, "sections": []}
                else:
                    environment = SearchFolder(listed.path).environment()
                    found = {"summary": (summary, environment), "sections": sections}
                kept = self._searches[run] = signature, found
        version = hashlib.sha256(repr(kept[0]).encode()).hexdigest()[:16]
        return listed, kept[1]["summary"], kept[1]["sections"], version


def _state_of(search: Path) -> tuple[object, ...]:
    """Return what differs as soon as a trial or a finalist of a search has ended an epoch."""
    found = []
    for pattern in ("search.json", "*/*/history.csv", "*/*/attempts.json", "*/*/correct.npy"):
        for path in sorted(search.glob(pattern)):
            try:
                about = path.stat()
            except OSError:
                continue
            found.append((str(path), about.st_mtime_ns, about.st_size))
    return tuple(found)


def _id_of(run: ListedRun) -> str:
    return hashlib.sha256(os.fsencode(run.path)).hexdigest()[:16]


def _name_of(place: Path) -> str:
    return place.resolve().name or str(place)
