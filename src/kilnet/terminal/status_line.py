"""The last line of a terminal while something is under way: what, how far, how fast, and for how long still."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from kilnet.runs.wording import duration
from kilnet.terminal.fitted_table import fitted
from kilnet.terminal.training_table import spark_line

_GAP = "  "
_BAR_WIDTH = 24
_MIN_BAR_WIDTH = 8
_SPARK_WIDTH = 16  # of the bar's room; where there is more, it becomes longer
_MIN_SPARK_WIDTH = 4


@dataclass
class StatusLine:
    """One line that fits the width it finds; what matters least is left out first.

    Attributes:
        what: is done.
        part: how much of it, 0 to 1.
        left: seconds until the end; None where nobody knows.
        rate: such as 2,310 images/s.
        values: shown as a spark line.
    """

    what: str
    part: float = 0.0
    left: float | None = None
    rate: str = ""
    values: Sequence[float] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width - 1  # some terminals wrap a line that is full
        line = Text(fitted(self.what, room), no_wrap=True, end="")
        percentage = f"{min(max(self.part, 0.0), 1.0):4.0%}"
        left = f"{duration(self.left)} left" if self.left is not None else ""
        rest = room - line.cell_len
        chosen = []
        for text in (left, percentage, self.rate):
            if text and (needed := len(_GAP) + cell_len(text)) <= rest:
                chosen.append(text)
                rest -= needed
        spark_width = min(len(self.values), _SPARK_WIDTH)
        reserved = len(_GAP) + spark_width if spark_width >= _MIN_SPARK_WIDTH else 0
        least = min(_MIN_BAR_WIDTH, rest - len(_GAP))
        bar_width = max(least, min(_BAR_WIDTH, rest - len(_GAP) - reserved))
        if bar_width >= _MIN_BAR_WIDTH:
            num_full = round(bar_width * min(max(self.part, 0.0), 1.0))
            line.append(_GAP).append("━" * num_full, "cyan").append("─" * (bar_width - num_full), "dim")
            rest -= len(_GAP) + bar_width
        for text in (percentage, self.rate, left):
            if text and text in chosen:
                line.append(_GAP).append(text)
        spark = spark_line(self.values, rest - len(_GAP))
        if len(spark) >= _MIN_SPARK_WIDTH:
            line.append(_GAP).append(spark, "green")
        yield line
