"""Where a search is, kept up to date as its trials change, without looking at all of them each time."""

from collections.abc import Iterable
from itertools import groupby

from kilnet.tuning.halving import Standing, cohort_epochs, marks_of, standing
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.trial import Trial


class Cohorts:
    """All trials of a search, and which of them train next.

    What is due is always what `kilnet.tuning.halving.standings` would say. But a rung is only worked out again once it
    is through, or where a trial makes room or has lost epochs: ten thousand trials take a tenth of a second.

    Args:
        config: of the search.

    Attributes:
        trials: all of them, in order.
        stopped: numbers of those that a rung has stopped, of cohorts that are through: until then a trial may come back
            for one that fails.
        changed: numbers of those that have changed; for the caller to empty.
    """

    def __init__(self, config: SearchConfig) -> None:
        self.trials: list[Trial] = []
        self.stopped: set[int] = set()
        self.changed: set[int] = set()
        self._config = config
        self._marks = marks_of(config)
        self._standings: dict[int, Standing] = {}
        # By cohort, while there are any: after how many epochs their rung ends, by trial.
        self._due: dict[int, dict[int, float]] = {}
        self._num_epochs_left: dict[int, float] = {}
        self._new: list[int] = []

    def extend(self, trials: Iterable[Trial]) -> None:
        """Add the next trials, in order."""
        for index, members in groupby(trials, self._cohort_of):
            self.trials += (added := list(members))
            self.changed |= {trial.number for trial in added}
            self._work_out(index)

    def update(self, trial: Trial) -> None:
        """Put what is now known of a trial in the place of what was."""
        number, index = trial.number, self._cohort_of(trial)
        old, self.trials[number] = self.trials[number], trial
        self.changed.add(number)
        due = self._due.get(index, {})
        until = due.get(number)
        fails = trial.failed and not old.failed
        makes_room = fails and self._standings[index].rung > 0  # in the first rung there is room for all
        if makes_room or trial.num_epochs_done < old.num_epochs_done:
            self._work_out(index)
        elif until is not None and (fails or trial.reached(until)):
            del due[number]
            self._num_epochs_left[index] -= until - old.num_epochs_done
            if not due:
                self._work_out(index)
        elif until is not None:
            self._num_epochs_left[index] -= trial.num_epochs_done - old.num_epochs_done

    @property
    def has_due(self) -> bool:
        """Whether any trial is to be trained further."""
        return bool(self._due)

    def until(self, trial: Trial) -> float | None:
        """Return up to which epoch a trial is to be trained now; None where it is not."""
        return self._due.get(self._cohort_of(trial), {}).get(trial.number)

    def newly_due(self) -> list[Trial]:
        """Return the trials that are to be trained further than before the last call."""
        new, self._new = dict.fromkeys(self._new), []
        return [trial for trial in map(self.trials.__getitem__, new) if self.until(trial) is not None]

    def num_epochs_left(self) -> float:
        """Return how many epochs are still to be trained if nothing fails or stops early; trials to come included."""
        size = self._config.cohort
        num_whole, rest = divmod(self._config.num_trials - len(self.trials), size)
        to_come = num_whole * cohort_epochs(size, self._marks) + cohort_epochs(rest, self._marks)
        return to_come + sum(self._num_epochs_left.values())

    def _cohort_of(self, trial: Trial) -> int:
        return trial.number // self._config.cohort

    def _work_out(self, index: int) -> None:
        size = self._config.cohort
        place = standing(self.trials[index * size : (index + 1) * size], self._marks)
        before, due = self._due.get(index, {}), {trial.number: place.until for trial in place.due}
        self._new += [number for number, until in due.items() if before.get(number) != until]
        old = self._standings.get(index)
        self._standings[index], self._due[index] = place, due
        self._num_epochs_left[index] = place.num_epochs_left(self._marks)
        if old is not None:
            self.stopped -= old.stopped
        if not due:
            del self._due[index], self._num_epochs_left[index]
            self.stopped |= place.stopped
            self.changed |= place.stopped
