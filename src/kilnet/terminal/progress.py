"""Progress on standard error: bars on a terminal, plain lines elsewhere."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.metrics import wilson_interval
from kilnet.recipes.reading import written_duration
from kilnet.runs.wording import WORDS
from kilnet.terminal.console import TerminalConsole
from kilnet.training.plan import Plan
from kilnet.training.records import EpochRecord, StepRecord
from kilnet.training.resolution import size_at

# Without a terminal, a long epoch or download prints a line this often.
_SECONDS_BETWEEN_LINES = 30.0


class ProgressDisplay:
    """Shows progress; use it as a context manager.

    Args:
        console: where it is shown; by default standard error, so that standard output holds only results.
        enabled: False shows nothing.
    """

    def __init__(self, console: Console | None = None, enabled: bool = True) -> None:
        self.console = console or TerminalConsole(stderr=True, quiet=not enabled)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not enabled or not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._last_line = monotonic()

    def __enter__(self) -> "ProgressDisplay":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """Print one line above the bars."""
        self.console.print(Text(WORDS.get()(line)), soft_wrap=True)
        self._last_line = monotonic()

    def warn(self, warnings: Iterable[str]) -> None:
        """Print what the user should know of a data set: a foreign checksum, files that were skipped."""
        for warning in warnings:
            self.say(f"warning: {warning}")

    def advance(self, what: str, done: int, total: int) -> None:
        """Show how much of some work is done, in files or bytes; a `Progress` of `kilnet.data.dataset`."""
        self._draw(what, done, total, "")
        if self._line_is_due() and done < total:
            self.say(f"{what}: {done:,} of {total:,}")

    def follow(self, records: Iterable[StepRecord | EpochRecord], num_epochs: int | None) -> None:
        """Run a training to its end; the bar moves with each step, and each epoch prints a line.

        Args:
            records: what the training yields.
            num_epochs: number of epochs; None if the training ends by time.
        """
        start = monotonic()
        num_images = 0
        left: float | None = None
        for record in records:
            if isinstance(record, StepRecord):
                num_images += record.num_images
                left = record.seconds_left
                rate = f"{num_images / (monotonic() - start):,.0f} images/s"
                rate += f", {duration(left)} left" if left is not None else ""
                what = f"epoch {record.epoch}" + (f"/{num_epochs}" if num_epochs else "")
                self._draw("training", record.step, record.num_steps, rate, what)
                if self._line_is_due() and record.step < record.num_steps:
                    self.say(f"{what}: step {record.step:,} of {record.num_steps:,}, {rate}")
            else:
                self.say(epoch_line(record, num_epochs, monotonic() - start, num_images, left))
                start, num_images = monotonic(), 0

    def _draw(self, key: str, done: int, total: int, rate: str, what: str | None = None) -> None:
        if self._bars.disable:
            return
        name = what or key
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(name, total=total, rate=rate)
        bar = self._tasks[key]
        self._bars.update(bar, description=name, completed=done, total=total, rate=rate, visible=done < total)

    def _line_is_due(self) -> bool:
        """Return whether plain output is wanted and nothing was printed for a while."""
        return self._bars.disable and monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES


def epoch_line(
    record: EpochRecord, num_epochs: int | None, seconds: float, num_images: int, left: float | None = None
) -> str:
    """Describe one epoch in one line.

    Args:
        record: of the epoch.
        num_epochs: number of epochs; None if the training ends by time.
        seconds: that the epoch took.
        num_images: that it trained on.
        left: seconds left; by default those of the remaining epochs if each takes as long as this one.
    """
    low, high = wilson_interval(record.num_validation_correct, record.num_validation)
    if left is None:
        left = ((num_epochs or record.epoch) - record.epoch) * seconds
    epoch = f"{record.epoch:>{len(str(num_epochs))}}/{num_epochs}" if num_epochs else f"{record.epoch:>3}"
    return (
        f"epoch {epoch}"
        f"  train loss {record.train_loss:.4f} acc {record.train_accuracy:6.2%}"
        f"  validation loss {record.validation_loss:.4f} acc {record.validation_accuracy:6.2%} ({low:.1%}–{high:.1%})"
        f"  {'kept' if record.is_best else '    '}"
        f"  {num_images / seconds:,.0f} images/s, {duration(seconds)}"
        + (f", {duration(left)} left" if left else "")
    )


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
    goal = "training ends" if config.optimizer.schedule == "constant" else "learning rate 0"
    batch_size = config.training.batch_size_for(len(dataset.train))
    return (
        f"{written_duration(seconds_left)} of {written_duration(budget)} left: about {plan.num_passes:.1f} passes in "
        f"all over {len(dataset.train):,} images, {plan.images_per_second:,.0f} images/s in batches of {batch_size}; "
        f"{''.join(steps)}{'then ' if steps else ''}{width}x{height}; {goal} at {end:%H:%M:%S}"
    )


def duration(seconds: float) -> str:
    """Return a duration as people write it: 0.8 s, 42 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
