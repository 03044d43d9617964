"""How far a run is and when it is over: by epochs here, by the clock in `budget.py`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Schedule(ABC):
    """Where a run is; the training loop asks it and does not know what it counts.

    Attributes:
        num_epochs: what learning rate and resolution are planned for.
        num_epochs_done: whole passes over the training images.
        num_steps_done: in the present epoch, with the one under way.
        fractional_epoch: where the latest step began, in epochs from the start: 2.5 is the middle of the third.
        is_over: whether nothing is left to train.
    """

    def __init__(self, num_epochs: int) -> None:
        self.num_epochs = num_epochs
        self.num_epochs_done = 0
        self.num_steps_done = 0
        self.fractional_epoch = 0.0
        self.is_over = False
        self._num_steps = 1  # in the present epoch

    @property
    def progress(self) -> float:
        """How much of the run was done when the latest step began, 0 to 1."""
        return self.fractional_epoch / self.num_epochs

    @property
    @abstractmethod
    def is_at_end(self) -> bool:
        """Whether there must not be another step; the run is over when the steps so far are validated."""

    @property
    @abstractmethod
    def validation_is_due(self) -> bool:
        """Whether to validate now, where an epoch or the run ends."""

    @property
    @abstractmethod
    def last_fractional_epoch(self) -> float:
        """`fractional_epoch` of the last step before a validation, also after `load_state`."""

    @property
    @abstractmethod
    def seconds_left(self) -> float | None:
        """Seconds until the budget is spent; None where there is none."""

    @property
    @abstractmethod
    def _position(self) -> float:
        """`fractional_epoch` of the step that begins now."""

    def begin(self) -> None:  # noqa: B027 only a clock has to know
        """Take now as the time of the first step, if there was none yet."""

    def begin_step(self, num_steps: int) -> None:
        """Count another step, of so many in this epoch."""
        self._num_steps = num_steps
        self.fractional_epoch = self._position
        self.num_steps_done += 1

    def note_step(self, is_full_size: bool) -> None:  # noqa: B027 likewise
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
        return {
            "num_epochs_done": self.num_epochs_done,
            "num_steps_done": self.num_steps_done,
            "is_over": self.is_over,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned."""
        self.num_epochs_done = state["num_epochs_done"]
        self.num_steps_done = state["num_steps_done"]
        self.is_over = state.get("is_over", self.is_at_end)  # earlier versions wrote it with a budget only


class EpochSchedule(Schedule):
    """A run of so many epochs, validated after each."""

    validation_is_due = True
    seconds_left = None

    @property
    def is_at_end(self) -> bool:
        """Whether all epochs are done."""
        return self.num_epochs_done >= self.num_epochs

    @property
    def last_fractional_epoch(self) -> float:
        """See `Schedule`; counted back from the epoch's end, as history.csv has always been rounded."""
        return self.num_epochs_done + 1 - 1 / self.num_steps_done

    @property
    def _position(self) -> float:
        return self.num_epochs_done + self.num_steps_done / self._num_steps
