"""The progress of a search: a live table on a terminal, plain lines elsewhere."""

from collections.abc import Sequence
from math import ceil
from time import monotonic
from types import TracebackType
from typing import cast

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from kilnet.runs.wording import WORDS, counted, duration
from kilnet.terminal.console import TerminalConsole
from kilnet.terminal.fitted_table import Column, FittedTable, fitted
from kilnet.terminal.search_tables import trials_table
from kilnet.tuning.backends.jobs import Notice, TrainingJob, WorkerEvent
from kilnet.tuning.search import SearchLoop
from kilnet.tuning.search_config import describe
from kilnet.tuning.search_folder import early_records
from kilnet.tuning.summary import Summary, summarise

_MAX_ROWS = 12
_SECONDS_BETWEEN_FRAMES = 0.25
_PART_FOR_SUMMARIES = 0.05  # of the time; reading thousands of trials takes seconds


class SearchDisplay:
    """Shows a search while it runs; use it as a context manager.

    Args:
        search: the search.
        console: where it is shown; by default standard error.
        enabled: False shows nothing.
    """

    def __init__(self, search: SearchLoop, console: Console | None = None, enabled: bool = True) -> None:
        self.console = console or TerminalConsole(stderr=True, quiet=not enabled)
        self._search = search
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._is_live = enabled and self.console.is_terminal
        self._start = monotonic()
        self._last_frame = 0.0
        self._num_epochs = 0.0  # trained since the display began
        self._summary: Summary | None = None
        self._is_stale = False
        self._next_summary = 0.0

    def __enter__(self) -> "SearchDisplay":
        if self._is_live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_live:
            self._live.stop()

    def follow(self) -> None:
        """Run the search to its end."""
        for event in self._search:
            if isinstance(event, Notice):
                self.console.print(Text(WORDS.get()(event.line)), soft_wrap=True)
                continue
            self._num_epochs += _epochs_in(event)
            if event.is_end:
                if self._is_live:
                    self._is_stale = True
                else:
                    self.console.print(Text(WORDS.get()(self._line(event))), soft_wrap=True)
            self._draw()

    def _draw(self) -> None:
        if not self._is_live or monotonic() - self._last_frame < _SECONDS_BETWEEN_FRAMES:
            return
        workers = FittedTable(
            "", [Column("now", "text"), Column("settings", "name", rank=1), Column("", "text")]
        )
        for name, (job, event) in self._search.running.items():
            workers.add_row(name, self._values(name), _state(event, job.until))
        folders = {job.folder for job, _ in self._search.running.values()}
        numbers = range(len(self._search.trials))
        training = {number for number in numbers if self._search.folder.run_folder(number) in folders}
        table = trials_table(self._latest_summary(), _MAX_ROWS, training)
        machines = machines_line(self._search.machines, self.console.width)
        lines = [Text(line, no_wrap=True) for line in (machines, self._progress()) if line]
        self._live.update(Group(table, workers, *lines), refresh=True)
        self._last_frame = monotonic()

    def _latest_summary(self) -> Summary:
        """Return the summary, read again after a job has ended, but not so often that it takes much of the time."""
        start = monotonic()
        if self._summary is None or (self._is_stale and start >= self._next_summary):
            self._summary = summarise(self._search.folder.path)
            self._is_stale = False
            self._next_summary = start + (monotonic() - start) / _PART_FOR_SUMMARIES
        return self._summary

    def _values(self, name: str) -> str:
        number = int(name.split()[1].rstrip(","))
        return describe(self._search.trials[number].values)

    def _line(self, event: WorkerEvent) -> str:
        job = cast("TrainingJob", event.job)  # a search starts no others
        history, early = self._search.folder.history(job.folder), early_records(job.folder)
        best = [record for record in history if record.is_best] or early
        outcome = f"validation accuracy {best[-1].validation_accuracy:.2%}" if best else "no epoch yet"
        done = f"after epoch {history[-1].epoch if history else 0}: {outcome}"
        if early and not history:
            done = f"after {early[-1].epoch:.2f} of the first epoch: {outcome}"
        after = done if event.kind == "done" else f"{event.kind}: {event.reason}"
        return f"{job.name} ({self._values(job.name)}) {after}; {self._progress()}"

    def _progress(self) -> str:
        left = self._search.num_epochs_left()
        if not left:
            return "nothing left to train"
        num_left = ceil(round(left, 6))
        machines = () if self._is_live else self._search.machines  # which a terminal shows anyway
        where = f" on {counted(len(machines), 'machine')}" if machines else ""
        if not self._num_epochs:
            return f"{counted(num_left, 'epoch')} left{where}"
        seconds = (monotonic() - self._start) / self._num_epochs * left
        return f"{counted(num_left, 'epoch')} left{where}, about {duration(seconds)}"


def machines_line(machines: Sequence[tuple[str, int]], width: int) -> str:
    """Return how many machines take part, and as many of them as fit on a line, with what each trains."""
    line, room = counted(len(machines), "machine") if machines else "", width - 1
    for index, (name, num_trials) in enumerate(machines):
        entry = f"{', ' if index else ': '}{name} {counted(num_trials, 'trial') if num_trials else 'idle'}"
        num_left = len(machines) - index - 1
        more = f", {num_left} more" if num_left else ""
        if cell_len(line + entry + more) > room:
            return fitted(line + (f", {num_left + 1} more" if index else ""), room)
        line += entry
    return line


def _epochs_in(event: WorkerEvent) -> float:
    """Return how many epochs have been trained with this event."""
    if event.kind == "done" and isinstance(event.job, TrainingJob) and event.job.until < 1:
        return event.job.until
    return event.kind == "epoch"


def _state(event: WorkerEvent | None, until: float) -> str:
    if event is None:
        return "starting"
    if event.record is not None:
        return f"epoch {event.record.epoch} of {until:g} done, {event.record.validation_accuracy:.2%}"
    return f"step {event.step:,} of {event.num_steps:,}"
