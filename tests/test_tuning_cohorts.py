"""What is kept up to date trial by trial, beside what is worked out from all trials."""

import random

import pytest

from kilnet.tuning.cohorts import Cohorts
from kilnet.tuning.halving import marks_of, rungs, standings
from made_up_workers import GRID, config_of
from test_tuning_halving import World


def assert_up_to_date(cohorts, config):
    places = standings(cohorts.trials, config)
    marks = marks_of(config)
    due = {trial.number: place.until for place in places for trial in place.due}
    assert {t.number: until for t in cohorts.trials if (until := cohorts.until(t)) is not None} == due
    assert cohorts.has_due == bool(due)
    assert cohorts.stopped == {n for place in places if not place.due for n in place.stopped}
    left = sum(place.num_epochs_left(marks) for place in places if place.due)
    assert cohorts.num_epochs_left() == pytest.approx(left)
    return due


@pytest.mark.parametrize("halving", [True, False])
@pytest.mark.parametrize("patience", [None, 2])
@pytest.mark.parametrize("chance_of_failure", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_same_as_from_all_trials_after_every_epoch(seed, chance_of_failure, patience, halving):
    """Three cohorts that are trained at once, in any order; now and then one has lost the epochs that it had."""
    chance, world = random.Random(seed), World(seed, 23, 9, chance_of_failure, patience)
    config = config_of(
        GRID, "random", num_trials=23, cohort=9, epochs=9, halving=halving, rungs=rungs(9, halving, 100)
    )
    cohorts, told = Cohorts(config), {}
    cohorts.extend(world.trials()[:4])
    cohorts.extend(world.trials()[4:])
    while due := assert_up_to_date(cohorts, config):
        told |= {trial.number: cohorts.until(trial) for trial in cohorts.newly_due()}
        assert due.items() <= told.items()
        number = chance.choice(sorted(due))
        if chance.random() < 0.03:
            world.lengths[number] = 0
        else:
            world.train_on(number)
        cohorts.changed.clear()
        before = cohorts.stopped.copy()
        cohorts.update(world.trials()[number])
        assert cohorts.changed == {number} | (cohorts.stopped - before)


def test_proposed_later_they_are_left_to_train_before():
    config = config_of(GRID, "random", num_trials=20, cohort=9, epochs=9, rungs=rungs(9, True, 100))
    nine, two = 9 / 3 + 3 * 2 / 3 + 1 * 2 + 1 * 6, 2 / 3 + 1 * 2 / 3 + 1 * 2 + 1 * 6
    assert Cohorts(config).num_epochs_left() == pytest.approx(2 * nine + two)


def test_a_rung_of_ten_thousand_is_not_looked_at_for_every_trial():
    """Each is looked at when the rung begins and when it ends, not whenever another one has an epoch."""
    config = config_of(GRID, "random", num_trials=2000, cohort=2000, epochs=9, rungs=rungs(9, True, 100))
    world, looks = World(0, 2000, 9), 0

    class Watched:
        def __init__(self, trial):
            self._trial = trial

        def __getattr__(self, name):
            nonlocal looks
            looks += name == "reached"
            return getattr(self._trial, name)

    cohorts = Cohorts(config)
    cohorts.extend(map(Watched, world.trials()))
    for number in range(2000):
        world.train_on(number)
    for trial in world.trials():
        cohorts.update(Watched(trial))
    assert sum(cohorts.until(trial) == 1 for trial in cohorts.trials) == 667
    assert looks < 20 * 2000
