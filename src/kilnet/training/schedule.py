"""How far a run is and when it is over: by epochs here, by the clock in `budget.py`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Schedule:
    """A run of so many epochs, validated after each; the training loop asks it and does not know what it counts.

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
        names = ("num_epochs_done", "num_steps_done", "is_over")
        return {name: getattr(self, name) for name in names}

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned."""
        self.num_epochs_done = state["num_epochs_done"]
        self.num_steps_done = state["num_steps_done"]
        self.is_over = state.get("is_over", self.is_at_end)  # earlier versions wrote it with a budget only
