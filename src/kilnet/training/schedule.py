"""How far a run is and when it is over: by epochs, by the clock, or by patience."""

import math
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

# Kept free at the end, so that nothing has to take exactly as long as it did before.
_SPARE_PART = 0.01
SPARE_SECONDS = 2.0
"""For the program to start and to end, and to draw the learning curves, where it is not known how long that takes."""
_SPARE_OF_END = 0.1
NUM_FIRST_STEPS = 4
"""Steps that tell how fast training is; the first of them makes memory ready, and does not count."""
# Between two validations training takes at least so many times as long: validating is at most about a twentieth.
_TRAINING_PER_VALIDATION = 20
_SHORTEST_END = 0.5  # the end is not expected to take less than this part of what it took before
_SMOOTHING = 0.3  # weight of the latest step in the running mean of their lengths
_KEPT = ("began", "step_seconds", "step_seconds_then", "end_seconds", "last_validation")  # in the state


class Schedule:
    """A run of so many epochs, validated after each; the training loop asks it and does not know what it counts.

    Attributes:
        num_epochs: what learning rate and resolution are planned for.
        num_epochs_done: whole passes over the training images.
        num_steps_done: in the present epoch, with the one under way.
        fractional_epoch: where the latest step began, in epochs from the start: 2.5 is the middle of the third.
        is_over: whether nothing is left to train.
        has_result: whether weights were validated before the first step, so that none has to be taken.
        first_steps: seconds of each of the first steps that this process has taken, where they are measured.
    """

    def __init__(self, num_epochs: int) -> None:
        self.num_epochs = num_epochs
        self.num_epochs_done = 0
        self.num_steps_done = 0
        self.fractional_epoch = 0.0
        self.is_over = False
        self.has_result = False
        self.first_steps: list[float] = []

    @property
    def end_seconds(self) -> float:
        """What validating and saving took, as last measured; 0 where it is not."""
        return 0.0

    @property
    def progress(self) -> float:
        """How much of the run was done when the latest step began, 0 to 1."""
        return self.fractional_epoch / self.num_epochs

    @property
    def is_at_end(self) -> bool:
        """Whether there must not be another step; once the steps so far are validated, the run is over."""
        return self.num_epochs_done >= self.num_epochs

    @property
    def validation_is_due(self) -> bool:
        """Whether to validate now, where an epoch or the run ends."""
        return True

    @property
    def last_fractional_epoch(self) -> float:
        """`fractional_epoch` of an epoch's last step, with the rounding that history.csv has always had."""
        return self.num_epochs_done + 1 - 1 / self.num_steps_done

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the budget is spent; None where there is none."""
        return None

    def begin_step(self, num_steps: int) -> None:
        """Count another step, of so many in this epoch."""
        self.fractional_epoch = self.num_epochs_done + self.num_steps_done / num_steps
        self.num_steps_done += 1

    def note_step(self, is_full_size: bool) -> None:
        """Take that a step is done, and whether its images had their full size."""

    @contextmanager
    def validation(self) -> Iterator[None]:
        """Return the context in which weights are validated and saved."""
        yield

    def end_epoch(self, is_validated: bool) -> None:
        """Go to the next epoch; `is_validated` tells whether all steps so far have been validated."""
        self.num_epochs_done += 1
        self.num_steps_done = 0
        self.is_over = is_validated and self.is_at_end

    def state(self) -> dict[str, Any]:
        """Return all that is needed to resume, as JSON-able values."""
        return {name: getattr(self, name) for name in ("num_epochs_done", "num_steps_done", "is_over")}

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned."""
        self.num_epochs_done = state["num_epochs_done"]
        self.num_steps_done = state["num_steps_done"]
        self.is_over = state.get("is_over", self.is_at_end)  # earlier versions wrote it with a budget only


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
        spare_seconds: see `training_seconds`.
    """

    def __init__(
        self,
        num_epochs: int,
        budget_seconds: float,
        step_seconds: float,
        end_seconds: float,
        started: float,
        clock: Callable[[], float] = monotonic,
        spare_seconds: float = SPARE_SECONDS,
    ) -> None:
        super().__init__(num_epochs)
        self._spare_seconds = spare_seconds
        self._clock = clock
        self._budget_seconds = budget_seconds
        self._started = started
        self._spent_before = 0.0  # by other processes
        self._process = secrets.token_hex(8)
        self._began: float | None = None  # with the first step
        self._step_began = 0.0
        self._last_step_seconds = step_seconds
        self._step_seconds = step_seconds  # at full size, a running mean
        self._step_seconds_then: float | None = step_seconds  # when the end was; None at low resolution
        self._end_seconds = end_seconds  # as last measured
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
    def end_seconds(self) -> float:
        """What validating and saving took, as last measured."""
        return self._end_seconds

    @property
    def last_fractional_epoch(self) -> float:
        """`fractional_epoch` of the last step, also after `load_state`."""
        return self.fractional_epoch

    @property
    def is_at_end(self) -> bool:
        """Whether another step like the last would take time that the end needs; without a result, one is taken."""
        has_begun = self.has_result or self.num_epochs_done + self.num_steps_done > 0
        return has_begun and self.spent + self._last_step_seconds > self._training_seconds

    @property
    def validation_is_due(self) -> bool:
        """Whether time is up, or validating now is a small part of the time since the last and of that left."""
        least = _TRAINING_PER_VALIDATION * self._expected_end_seconds
        spent = self.spent
        return self.is_at_end or min(spent - self._last_validation, self._training_seconds - spent) >= least

    def begin_step(self, num_steps: int) -> None:
        """Count another step; where it begins in the run is the part of its training time that is gone."""
        super().begin_step(num_steps)
        self._step_began, spent = self._clock(), self.spent
        if self._began is None:
            self._began = spent
        whole = self._training_seconds - self._began
        progress = min(1.0, (spent - self._began) / whole) if whole > 0 else 1.0
        self.fractional_epoch = self.num_epochs * progress

    def note_step(self, is_full_size: bool) -> None:
        """Measure the step that ends now."""
        self._last_step_seconds = seconds = self._clock() - self._step_began
        if len(self.first_steps) < NUM_FIRST_STEPS:
            self.first_steps.append(seconds)
        if is_full_size and self._step_seconds_then is None:
            self._step_seconds_then = self._step_seconds = seconds
        elif is_full_size:
            self._step_seconds += _SMOOTHING * (seconds - self._step_seconds)
        self._is_full_size = is_full_size

    @contextmanager
    def validation(self) -> Iterator[None]:
        """Measure how long validating and saving takes."""
        start = self._clock()
        yield
        self._end_seconds = self._clock() - start
        self._step_seconds_then = self._step_seconds if self._is_full_size else None
        self._last_validation = self.spent

    def state(self) -> dict[str, Any]:
        """Return all that is needed to resume in another process."""
        timer = {"process": self._process, "spent_seconds": self.spent}
        timer |= {name: getattr(self, f"_{name}") for name in _KEPT}
        return super().state() | {"last_moment": self.fractional_epoch, "timer": timer}

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned; what this process has spent since it started is added."""
        super().load_state(state)
        self.fractional_epoch, timer = state["last_moment"], state["timer"]
        if timer.get("process") != self._process:  # else its time is counted already
            self._spent_before = timer["spent_seconds"]
        for name in _KEPT:
            setattr(self, f"_{name}", timer[name])

    @property
    def _expected_end_seconds(self) -> float:
        then = self._step_seconds_then
        return self._end_seconds * (max(_SHORTEST_END, self._step_seconds / then) if then else 1.0)

    @property
    def _training_seconds(self) -> float:
        return training_seconds(self._budget_seconds, self._expected_end_seconds, self._spare_seconds)


def training_seconds(
    budget_seconds: float, end_seconds: float, spare_seconds: float = SPARE_SECONDS
) -> float:
    """Return how much of a budget is for training, where validating and saving at the end take so long.

    Args:
        budget_seconds, end_seconds: of everything, and of that.
        spare_seconds: for the program to start and to end, and to draw the learning curves.
    """
    spare = _SPARE_PART * budget_seconds + spare_seconds + _SPARE_OF_END * end_seconds
    return budget_seconds - end_seconds - spare


class EarlyStopping:
    """Watches a loss that should fall.

    It saves nothing and knows no model: the caller keeps the weights whenever `step` returns True.

    Args:
        patience: stop after so many losses in a row that are not better; None never stops.
        min_delta: a loss is better when it is lower than the best by more than this.

    Attributes:
        best_loss: the lowest loss that counted as better; infinite before the first.
        num_bad: losses since then.
    """

    def __init__(self, patience: int | None = 5, min_delta: float = 0.0) -> None:
        self.patience = patience
        self.min_delta = min_delta
        self.best_loss = math.inf
        self.num_bad = 0

    def step(self, loss: float) -> bool:
        """Take the next loss; return whether it is better than all before."""
        if loss < self.best_loss - self.min_delta:
            self.best_loss = loss
            self.num_bad = 0
            return True
        self.num_bad += 1
        return False

    @property
    def should_stop(self) -> bool:
        """Whether patience is spent."""
        return self.patience is not None and self.num_bad >= self.patience
