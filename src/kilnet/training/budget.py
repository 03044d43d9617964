"""A run that keeps to a time: the form of its schedule that reads the clock."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from kilnet.training.schedule import Schedule

# Kept free at the end, so that nothing has to take exactly as long as it did before.
_SPARE_PART = 0.01
_SPARE_SECONDS = 2.0  # the program starts and ends, the learning curves are drawn
_SPARE_OF_END = 0.1
# Between two validations training takes at least so many times as long: validating is at most about a twentieth.
_TRAINING_PER_VALIDATION = 20
_SHORTEST_END = 0.5  # the end is not expected to take less than this part of what it took before
_SMOOTHING = 0.3  # weight of the latest step in the running mean of their lengths


def training_seconds(budget_seconds: float, end_seconds: float) -> float:
    """Return how much of a budget is for training, where validating and saving at the end take so long."""
    spare = _SPARE_PART * budget_seconds + _SPARE_SECONDS + _SPARE_OF_END * end_seconds
    return budget_seconds - end_seconds - spare


class BudgetSchedule(Schedule):
    """A run of so many seconds; it stops training, even within an epoch, when the rest is needed to end it.

    Learning rate and resolution follow the time. How long the end takes is known from the validation before, and
    expected to change as much as steps at full size have since, when other programs come and go. Validations that would
    take too large a part of the time are left out.

    Args:
        num_epochs: as planned.
        budget_seconds: for everything, of all processes that work on the run.
        step_seconds: of a step at full size, as measured before the first.
        end_seconds: of validating and saving, as measured then.
        started: when this process began to count, as `clock` tells it.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        num_epochs: int,
        budget_seconds: float,
        step_seconds: float,
        end_seconds: float,
        started: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(num_epochs)
        self._clock = clock
        self._budget_seconds = budget_seconds
        self._started = started
        self._spent_before = 0.0  # by other processes
        self._process = secrets.token_hex(8)
        self._began: float | None = None  # with the first step
        self._step_began = 0.0
        self._last_step_seconds = step_seconds
        self._step_seconds = step_seconds  # at full size, a running mean
        self._step_seconds_then: float | None = (
            step_seconds  # when the end was measured; unknown at low resolution
        )
        self._measured_end_seconds = end_seconds
        self._last_validation = 0.0
        self._is_full_size = False  # the last step

    @property
    def spent(self) -> float:
        """Seconds that all processes have spent on this run."""
        return self._spent_before + self._clock() - self._started

    @property
    def seconds_left(self) -> float:
        """Seconds until the budget is spent, not below 0."""
        return max(0.0, self._budget_seconds - self.spent)

    @property
    def last_fractional_epoch(self) -> float:
        """`fractional_epoch` of the last step, also after `load_state`."""
        return self.fractional_epoch

    @property
    def is_at_end(self) -> bool:
        """Whether another step like the last would take time that the end needs; the first step is always taken."""
        has_begun = self.num_epochs_done + self.num_steps_done > 0
        return has_begun and self.spent + self._last_step_seconds > self._training_seconds

    @property
    def validation_is_due(self) -> bool:
        """Whether time is up, or validating now is a small part of the time since the last and of that left."""
        least = _TRAINING_PER_VALIDATION * self._end_seconds
        spent = self.spent
        return self.is_at_end or min(spent - self._last_validation, self._training_seconds - spent) >= least

    def begin_step(self, num_steps: int) -> None:
        """Count another step; where it begins in the run is the part of its training time that is gone."""
        super().begin_step(num_steps)
        self._step_began, spent = self._clock(), self.spent
        if self._began is None:
            self._began = spent
        whole = self._training_seconds - self._began
        self.fractional_epoch = self.num_epochs * (
            min(1.0, (spent - self._began) / whole) if whole > 0 else 1.0
        )

    def note_step(self, is_full_size: bool) -> None:
        """Take how long the step was that ends now."""
        seconds = self._clock() - self._step_began
        self._last_step_seconds = seconds
        if is_full_size and self._step_seconds_then is None:
            self._step_seconds_then = self._step_seconds = seconds
        elif is_full_size:
            self._step_seconds += _SMOOTHING * (seconds - self._step_seconds)
        self._is_full_size = is_full_size

    @contextmanager
    def validation(self) -> Iterator[None]:
        """Take how long validating and saving is."""
        start = self._clock()
        yield
        self._measured_end_seconds = self._clock() - start
        self._step_seconds_then = self._step_seconds if self._is_full_size else None
        self._last_validation = self.spent

    def state(self) -> dict[str, Any]:
        """Return all that is needed to resume in another process."""
        clock = {
            "process": self._process,
            "spent_seconds": self.spent,
            "began": self._began,
            "step_seconds": self._step_seconds,
            "step_seconds_then": self._step_seconds_then,
            "end_seconds": self._measured_end_seconds,
            "last_validation": self._last_validation,
        }
        return super().state() | {
            "last_moment": self.fractional_epoch,
            "is_over": self.is_over,
            "timer": clock,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned; what this process has spent since it started is added."""
        super().load_state(state)
        self.fractional_epoch = state["last_moment"]
        clock = state["timer"]
        if clock.get("process") != self._process:  # else its time is counted already
            self._spent_before = clock["spent_seconds"]
        self._began = clock["began"]
        self._step_seconds = clock["step_seconds"]
        self._step_seconds_then = clock["step_seconds_then"]
        self._measured_end_seconds = clock["end_seconds"]
        self._last_validation = clock["last_validation"]

    @property
    def _end_seconds(self) -> float:
        then = self._step_seconds_then
        slowdown = max(_SHORTEST_END, self._step_seconds / then) if then else 1.0
        return self._measured_end_seconds * slowdown

    @property
    def _training_seconds(self) -> float:
        return training_seconds(self._budget_seconds, self._end_seconds)
