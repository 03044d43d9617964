"""Progress on standard error: on a terminal a table that grows above a line that moves, plain lines elsewhere."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Timer
from time import monotonic

from rich.console import Console
from rich.live import Live
from rich.text import Text

from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.recipes.reading import written_duration
from kilnet.runs.wording import IN_DETAIL, WORDS, told_together
from kilnet.terminal.console import TerminalConsole
from kilnet.terminal.status_line import StatusLine
from kilnet.terminal.training_table import Pace, TrainingTable
from kilnet.training.plan import Plan
from kilnet.training.records import EarlyRecord, Record, StepRecord
from kilnet.training.resolution import size_at

# Without a terminal, a long epoch or download prints a line this often.
_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_OF_SILENCE = 1.5  # after which it is said what is under way


class ProgressDisplay:
    """Shows progress; use it as a context manager.

    Args:
        console: where it is shown; by default standard error, so that standard output holds only results.
        enabled: False shows nothing.
    """

    def __init__(self, console: Console | None = None, enabled: bool = True) -> None:
        self.console = console or TerminalConsole(stderr=True, quiet=not enabled)
        self._is_live = enabled and self.console.is_terminal
        self._status: StatusLine | None = None
        self._under_way = Text(end="")  # what is drawn where there is no status
        self._live = Live(
            console=self.console, get_renderable=self._drawn, refresh_per_second=8, transient=True
        )
        self._begun: dict[str, float] = {}  # when each kind of work was first seen
        self._last_line = monotonic()

    def __enter__(self) -> "ProgressDisplay":
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status = None
        if self._is_live:
            self._live.stop()

    def say(self, line: str) -> None:
        """Print one line above the one that moves; a terminal gets it wrapped between words."""
        self.console.print(Text(WORDS.get()(line), overflow="fold"), soft_wrap=not self._is_live)
        self._last_line = monotonic()

    def detail(self, line: str) -> None:
        """Print one line for those who have asked for details."""
        if IN_DETAIL.get():
            self.say(line)

    def warn(self, warnings: Iterable[str]) -> None:
        """Print what the user should know of a data set: a foreign checksum, files that were skipped."""
        for warning in told_together(warnings):
            self.say(f"warning: {warning}")

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Say what is under way within this context: at once on a terminal, elsewhere only if it takes long."""
        line = f"{what} ..."
        timer = Timer(_SECONDS_OF_SILENCE, self.say, [line])
        timer.daemon = True
        before, self._under_way = self._under_way, Text(line, no_wrap=True, overflow="ellipsis", end="")
        if not self._is_live:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._under_way = before

    def advance(self, what: str, done: int, total: int) -> None:
        """Show how much of some work is done, in files or bytes; a `Progress` of `kilnet.data.dataset`."""
        start = self._begun.setdefault(what, monotonic())
        if done >= total:
            self._status = None
            self._begun.pop(what)
            return
        left = (monotonic() - start) / done * (total - done) if done else None
        self._status = StatusLine(what, done / total if total else 0.0, left, rate=f"{done:,} of {total:,}")
        if self._line_is_due():
            self.say(f"{what}: {done:,} of {total:,}")

    def follow(self, records: Iterable[Record], num_epochs: int | None) -> None:
        """Run a training to its end; the line moves with each step, and each epoch adds a row.

        Args:
            records: what the training yields.
            num_epochs: number of epochs; None if the training ends by time.
        """
        start, num_images = monotonic(), 0
        left: float | None = None
        table: TrainingTable | None = None
        pace = Pace(num_epochs) if num_epochs else None
        accuracies: list[float] = []
        for record in records:
            now = monotonic()
            if isinstance(record, StepRecord):
                num_images += record.num_images
                part = record.step / record.num_steps
                left = pace.left(now, record.epoch - 1 + part, False) if pace else record.seconds_left
                what = f"epoch {record.epoch}" + (f"/{num_epochs}" if num_epochs else "")
                rate = f"{num_images / max(now - start, 1e-9):,.0f} images/s"
                self._status = StatusLine(what, part, left, rate, accuracies)
                if self._line_is_due() and record.step < record.num_steps:
                    self.say(f"{what}: step {record.step:,} of {record.num_steps:,}, {rate}")
                continue
            if isinstance(record, EarlyRecord):
                continue
            if pace:
                left = pace.left(now, record.epoch, True)
            if table is None:
                table = TrainingTable(self.console.width, num_epochs)
                self._print(table.head(), "bold")
            accuracies.append(record.validation_accuracy)
            row = table.line(record, now - start, num_images, left)
            self._print(row, "" if record.is_best else "dim")
            start, num_images = monotonic(), 0
        self._status = None

    def _print(self, line: str, style: str = "") -> None:
        self.console.print(Text(line, style), soft_wrap=True)
        self._last_line = monotonic()

    def _drawn(self) -> StatusLine | Text:
        return self._status or self._under_way

    def _line_is_due(self) -> bool:
        """Return whether plain output is wanted and nothing was printed for a while."""
        return not self._is_live and monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES


def plan_line(plan: Plan, config: RunConfig, dataset: ImageDataset, seconds_left: float) -> str:
    """Describe a plan in one line, with the time of day at which training ends.

    Args:
        plan: what was planned for the budget.
        config: the run's settings, complete.
        dataset: what the run trains on.
        seconds_left: what is left of the budget.
    """
    height, width = dataset.image_shape[1:]
    budget = config.budget.seconds or 0.0
    steps = []
    for until, factor in config.training.low_resolution:
        small = size_at([(1.0, factor)], 0.0, height, width)
        steps.append(f"{small[1]}x{small[0]} until {until:.0%}, ")
    end = datetime.now().astimezone() + timedelta(seconds=seconds_left - plan.end_seconds)
    return (
        f"plan: {written_duration(seconds_left)} of {written_duration(budget)} left, about {plan.num_passes:.1f} "
        f"passes over the images; {''.join(steps)}{'then ' if steps else ''}{width}x{height}; "
        f"training ends at {end:%H:%M:%S}"
    )


def measured_line(plan: Plan, config: RunConfig, dataset: ImageDataset) -> str:
    """Describe in one line what a plan was made from."""
    batch_size = config.training.batch_size_for(len(dataset.train))
    return f"measured: {plan.images_per_second:,.0f} images/s in batches of {batch_size}"
