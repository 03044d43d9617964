"""How far a run is, where it has a time to keep to."""

from collections.abc import Callable
from time import monotonic
from typing import Any

# Kept free at the end, so that nothing has to go exactly as it did before.
_SPARE_PART = 0.01
_SPARE_SECONDS = 2.0  # the program starts and ends, the learning curves are drawn
_SPARE_OF_END = 0.1
# A validation comes only so many times its own length after the one before: at most about a twentieth of the time.
_TRAINING_PER_VALIDATION = 20
_MOST_HOPED_FOR = 0.5  # the end is not taken to become shorter than so much of what it was
_SMOOTHING = 0.3  # weight of the latest step in the running mean of their lengths


def training_seconds(budget_seconds: float, end_seconds: float) -> float:
    """Return how much of a budget is for training, where validating and saving at the end take so long."""
    spare = _SPARE_PART * budget_seconds + _SPARE_SECONDS + _SPARE_OF_END * end_seconds
    return budget_seconds - end_seconds - spare


class Timer:
    """Tells how much of a run's time is gone; the run is over when what is left is needed to end it.

    What the end needs is known from the validation before. Where steps at full size have become longer since, because
    other programs take the processor, or shorter, the end is taken to change as they do.

    Args:
        budget_seconds: for everything, of all processes that work on the run.
        step_seconds: a step at full size, as measured before the first.
        end_seconds: validating and saving, likewise.
        started: when this process began to count, as `clock` tells it.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        budget_seconds: float,
        step_seconds: float,
        end_seconds: float,
        started: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.clock = clock
        self._budget_seconds = budget_seconds
        self._counted_from = started
        self._spent_before = 0.0
        self._began: float | None = None  # with the first step
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
        return self._spent_before + self.clock() - self._counted_from

    @property
    def left(self) -> float:
        """Seconds until the budget is spent, not below 0."""
        return max(0.0, self._budget_seconds - self.spent)

    @property
    def progress(self) -> float:
        """Part of the time from the first step to the end of training that is gone, 0 to 1."""
        began = self._began or 0.0
        whole = self._training_seconds - began
        return min(1.0, (self.spent - began) / whole) if whole > 0 else 1.0

    @property
    def is_up(self) -> bool:
        """Whether another step like the last would take time that the end needs."""
        return self.spent + self._last_step_seconds > self._training_seconds

    @property
    def validation_is_due(self) -> bool:
        """Whether time is up, or validating now is a small part of the time since the last and until the end."""
        least = _TRAINING_PER_VALIDATION * self._end_seconds
        spent = self.spent
        return self.is_up or min(spent - self._last_validation, self._training_seconds - spent) >= least

    def begin(self) -> None:
        """Take now as the moment of the first step, if there was none yet."""
        if self._began is None:
            self._began = self.spent

    def note_step(self, seconds: float, is_full_size: bool) -> None:
        """Take how long a step was."""
        self._last_step_seconds = seconds
        if is_full_size and self._step_seconds_then is None:
            self._step_seconds_then = self._step_seconds = seconds
        elif is_full_size:
            self._step_seconds += _SMOOTHING * (seconds - self._step_seconds)
        self._is_full_size = is_full_size

    def note_validation(self, seconds: float) -> None:
        """Take how long validating and saving was."""
        self._measured_end_seconds = seconds
        self._step_seconds_then = self._step_seconds if self._is_full_size else None
        self._last_validation = self.spent

    def state(self) -> dict[str, float | None]:
        """Return all that is needed to go on in another process."""
        self._spent_before, self._counted_from = self.spent, self.clock()
        return {
            "spent_seconds": self._spent_before,
            "began": self._began,
            "step_seconds": self._step_seconds,
            "step_seconds_then": self._step_seconds_then,
            "end_seconds": self._measured_end_seconds,
            "last_validation": self._last_validation,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; what this process has spent since it began, or last saved, is kept."""
        self._spent_before = state["spent_seconds"]
        self._began = state["began"]
        self._step_seconds = state["step_seconds"]
        self._step_seconds_then = state["step_seconds_then"]
        self._measured_end_seconds = state["end_seconds"]
        self._last_validation = state["last_validation"]

    @property
    def _end_seconds(self) -> float:
        then = self._step_seconds_then
        slowdown = max(_MOST_HOPED_FOR, self._step_seconds / then) if then else 1.0
        return self._measured_end_seconds * slowdown

    @property
    def _training_seconds(self) -> float:
        return training_seconds(self._budget_seconds, self._end_seconds)
