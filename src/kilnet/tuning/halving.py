"""Successive halving: train all a little, then only the best further."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.trial import Trial

# A third survives each rung: Li et al., 2018, "Hyperband", section 2.6, where 3 and 4 do best. Two decisions at most:
# after less than a ninth of the epochs small networks have not shown what they can do.
REDUCTION = 3
MAX_DECISIONS = 2


def rungs(num_epochs: int, halving: bool) -> tuple[int, ...]:
    """Return after how many epochs trials are compared; the last number is `num_epochs`."""
    parts = [REDUCTION**power for power in range(MAX_DECISIONS, 0, -1)] if halving else []
    return tuple(sorted({max(1, round(num_epochs / part)) for part in parts} | {num_epochs}))


def num_survivors(num_members: int, num_rungs: int) -> list[int]:
    """Return how many members of a cohort train in each rung."""
    return [math.ceil(num_members / REDUCTION**index) for index in range(num_rungs)]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a cohort is.

    Attributes:
        rung: that its survivors are in, from 0.
        until: epochs at the end of that rung.
        due: survivors that still have to train up to there; empty when the cohort is done.
        alive: numbers of the trials that are in this rung.
        stopped: numbers of the trials that an earlier rung has stopped.
        num_members: of the whole cohort.
    """

    rung: int
    until: int
    due: tuple[Trial, ...]
    alive: frozenset[int]
    stopped: frozenset[int]
    num_members: int

    def num_epochs_left(self, marks: Sequence[int]) -> int:
        """Return how many epochs the cohort still has to train, if nothing fails or stops early."""
        now = sum(self.until - trial.num_epochs_done for trial in self.due)
        later = num_survivors(self.num_members, len(marks))[self.rung + 1 :]
        steps = [mark - before for before, mark in pairwise(marks[self.rung :])]
        return now + sum(num * step for num, step in zip(later, steps, strict=True))


def cohort_epochs(num_members: int, marks: Sequence[int]) -> int:
    """Return how many epochs a cohort of so many trials takes."""
    steps = [mark - before for before, mark in pairwise((0, *marks))]
    return sum(num * step for num, step in zip(num_survivors(num_members, len(marks)), steps, strict=True))


def standings(trials: Sequence[Trial], config: SearchConfig) -> list[Standing]:
    """Return where each cohort of a search is, oldest first."""
    marks = rungs(config.run.training.epochs, config.halving)
    starts = range(0, len(trials), config.cohort)
    return [standing(trials[start : start + config.cohort], marks) for start in starts]


def standing(cohort: Sequence[Trial], marks: Sequence[int]) -> Standing:
    """Work out, from the trials' histories alone, which of a cohort's trials train next and how far.

    A rung is decided once all its trials are there, so that the outcome does not depend on who came first. A trial
    that failed makes room for the next best.

    Args:
        cohort: the trials that are compared with each other.
        marks: as from `rungs`.
    """
    alive, stopped = list(cohort), set[int]()
    for rung, (until, room) in enumerate(zip(marks, num_survivors(len(cohort), len(marks)), strict=True)):
        ranked = sorted(alive, key=lambda trial: trial.rank(marks[rung - 1]) if rung else (trial.number,))
        able = [trial for trial in ranked if trial.reached(until) or not trial.failed]
        alive = able[:room]
        stopped |= {trial.number for trial in able[room:]}
        due = tuple(trial for trial in alive if not trial.reached(until))
        if due or until == marks[-1]:
            break
    return Standing(
        rung=rung,
        until=until,
        due=due,
        alive=frozenset(trial.number for trial in alive),
        stopped=frozenset(stopped),
        num_members=len(cohort),
    )
