"""Successive halving: train all a little, then only the best further."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.trial import Trial

# A third survives each rung: Li et al., 2018, "Hyperband", section 2.6, where 3 and 4 do best.
REDUCTION = 3
MAX_DECISIONS = 3
COHORT = REDUCTION**2
"""Trials that are proposed together where what comes next depends on the results; one of them is trained to the end."""
LEAST_STEPS = 25
"""Before these, small networks are ordered little better than by chance: docs/experiments.md, 2026-11-28."""


def rungs(num_epochs: int, halving: bool, steps_per_epoch: int = 0) -> tuple[float, ...]:
    """Return after how many epochs trials are compared: whole ones, or part of the first; `num_epochs` is the last.

    The first decision of three is left out where it would come within `LEAST_STEPS`, and the others then come after
    whole epochs.
    """
    marks = {float(num_epochs)}
    for power in range(1, MAX_DECISIONS + 1) if halving else ():
        part = num_epochs / REDUCTION**power
        has_steps = part * steps_per_epoch >= LEAST_STEPS
        if has_steps or power < MAX_DECISIONS:
            marks.add(part if part < 1 and has_steps else max(1.0, round(part)))
    return tuple(sorted(marks))


def in_cohorts(config: SearchConfig, num_images: int, num_workers: int) -> SearchConfig:
    """Return a search with cohorts and rungs decided, as far as they were not.

    Args:
        num_images: to train on, at most.
        num_workers: which are all to be busy where trials are not compared in rungs.
    """
    cohort = config.cohort
    if config.strategy in ("effects", "tpe"):
        cohort = COHORT if config.halving else max(1, num_workers)
    marks = config.rungs or rungs(
        config.run.training.epochs, config.halving, _steps_per_epoch(config, num_images)
    )
    return config.model_copy(update={"cohort": cohort, "rungs": marks})


def _steps_per_epoch(config: SearchConfig, num_images: int) -> int:
    """Return the steps of an epoch, by the trial that has the fewest."""
    found = []
    for run in map(config.changed, config.parsed_space().corners()):
        num_train = min(run.data.num_train or num_images, num_images)
        found.append(num_train // run.training.batch_size_for(num_train))
    return min(found)


def marks_of(config: SearchConfig) -> tuple[float, ...]:
    """Return `rungs` of a search; of one that an earlier version began, those of that version."""
    return config.rungs or rungs(config.run.training.epochs, config.halving)


def num_survivors(num_members: int, num_rungs: int) -> list[int]:
    """Return how many members of a cohort train in each rung."""
    return [math.ceil(num_members / REDUCTION**index) for index in range(num_rungs)]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a cohort is.

    Attributes:
        rung: that its survivors are in, from 0.
        until: epochs at the end of that rung; see `rungs`.
        due: survivors that still have to train up to there; empty when the cohort is done.
        alive: numbers of the trials that are in this rung.
        stopped: numbers of the trials that an earlier rung has stopped.
        num_members: of the whole cohort.
    """

    rung: int
    until: float
    due: tuple[Trial, ...]
    alive: frozenset[int]
    stopped: frozenset[int]
    num_members: int

    def num_epochs_left(self, marks: Sequence[float]) -> float:
        """Return how many epochs the cohort still has to train, if nothing fails or stops early."""
        now = sum(self.until - trial.num_epochs_done for trial in self.due)
        later = num_survivors(self.num_members, len(marks))[self.rung + 1 :]
        steps = [mark - before for before, mark in pairwise(marks[self.rung :])]
        return now + sum(num * step for num, step in zip(later, steps, strict=True))


def cohort_epochs(num_members: int, marks: Sequence[float]) -> float:
    """Return how many epochs a cohort of so many trials takes."""
    steps = [mark - before for before, mark in pairwise((0, *marks))]
    return sum(num * step for num, step in zip(num_survivors(num_members, len(marks)), steps, strict=True))


def standings(trials: Sequence[Trial], config: SearchConfig) -> list[Standing]:
    """Return where each cohort of a search is, oldest first."""
    marks = marks_of(config)
    starts = range(0, len(trials), config.cohort)
    return [standing(trials[start : start + config.cohort], marks) for start in starts]


def standing(cohort: Sequence[Trial], marks: Sequence[float]) -> Standing:
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
