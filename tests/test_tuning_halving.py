"""Successive halving against the plainest simulation of it: nested loops over all that could ever be known."""

import math
import random
from itertools import pairwise

import pytest

from kilnet.training.records import EarlyRecord, EpochRecord
from kilnet.tuning.halving import cohort_epochs, num_survivors, rungs, standing
from kilnet.tuning.trial import Trial


def record(epoch, accuracy, loss=None, is_best=True):
    loss = 1 - accuracy if loss is None else loss
    return EpochRecord(epoch, 0.001, 1.0, 0.5, loss, accuracy, round(100 * accuracy), 100, is_best)


def early_record(part, accuracy, loss=None):
    return EarlyRecord(part, 1 - accuracy if loss is None else loss, accuracy, round(100 * accuracy), 100)


def make_trial(number, records=(), num_epochs=9, patience=None, failed=False, early=()):
    reasons = ("it failed",) if failed else ()
    return Trial(
        number=number,
        values={"model.c1": number},
        history=tuple(records),
        reasons=reasons,
        failed=failed,
        num_epochs=num_epochs,
        patience=patience,
        min_delta=0.0,
        early=tuple(early),
    )


class World:
    """All that would be seen of each trial if it were trained to its end, and after how much it fails, if ever.

    Moments are the marks within the first epoch and the ends of all epochs.
    """

    def __init__(
        self, seed, num_trials, num_epochs, chance_of_failure=0.0, patience=None, steps_per_epoch=100
    ):
        chance = random.Random(seed)
        self.marks = rungs(num_epochs, True, steps_per_epoch)
        self.num_epochs, self.patience = num_epochs, patience
        self.futures, self.fails_after, self.early_futures = [], [], []
        self.parts = [mark for mark in self.marks if mark < 1]
        self.moments = [0, *self.parts, *range(1, num_epochs + 1)]
        for _ in range(num_trials):
            best, records = math.inf, []
            for epoch in range(1, num_epochs + 1):
                loss = round(chance.random(), 2)
                records.append(record(epoch, round(chance.random(), 1), loss, is_best=loss < best))
                best = min(best, loss)
            self.futures.append(records)
            fails = chance.random() < chance_of_failure
            self.fails_after.append(chance.choice(self.moments[:-1]) if fails else None)
            self.early_futures.append([early_record(part, round(chance.random(), 1)) for part in self.parts])
        self.lengths, self.failed = [0] * num_trials, [False] * num_trials

    def trials(self):
        return [
            make_trial(n, history, self.num_epochs, self.patience, self.failed[n], early)
            for n, (history, early) in enumerate(map(self.seen_of, range(len(self.futures))))
        ]

    def seen_of(self, number):
        length = self.lengths[number]
        early = [record for record in self.early_futures[number] if record.epoch <= length]
        return self.futures[number][: int(length)], early

    def train_on(self, number):
        """Train a trial to its next moment."""
        if self.fails_after[number] == self.lengths[number]:
            self.failed[number] = True
        else:
            self.lengths[number] = self.moments[self.moments.index(self.lengths[number]) + 1]

    def run(self, seed):
        """Train what is due, an epoch of any of it at a time, until nothing is; returns the last standing."""
        chance = random.Random(seed)
        while (place := standing(self.trials(), self.marks)).due:
            self.train_on(chance.choice(place.due).number)
        return place

    def end_of(self, number):
        """How many epochs the trial has when it is through, by the plainest rule of patience."""
        best, bad = math.inf, 0
        for length, seen in enumerate(self.futures[number], 1):
            best, bad = (seen.validation_loss, 0) if seen.validation_loss < best else (best, bad + 1)
            if bad == self.patience:
                return length
        return self.num_epochs

    def accuracy(self, number, mark):
        """Accuracy, then loss, of the weights kept within the first epochs; lower is better, as for sorting."""
        if mark < 1:
            found = self.early_futures[number][self.parts.index(mark)]
            return (-found.validation_accuracy, found.validation_loss, number)
        seen = self.futures[number][: int(min(mark, self.end_of(number)))]
        best = min(seen, key=lambda record: record.validation_loss)  # the first of equals
        return (-best.validation_accuracy, best.validation_loss, number)

    def simulate(self):
        """Successive halving by its definition, rung by rung; returns (alive at the end, epochs of each trial)."""
        lengths = [0] * len(self.futures)
        candidates = list(range(len(self.futures)))
        previous = None
        for rung, mark in enumerate(self.marks):
            room = math.ceil(len(self.futures) / 3**rung)
            if previous is not None:
                candidates.sort(key=lambda number: self.accuracy(number, previous))
            through = []
            for number in candidates:
                if len(through) == room:
                    break
                fails, target = self.fails_after[number], min(mark, self.end_of(number))
                if fails is not None and fails < target:
                    lengths[number] = max(lengths[number], fails)
                else:
                    lengths[number] = max(lengths[number], target)
                    through.append(number)
            candidates, previous = through, mark
        return set(candidates), lengths


@pytest.mark.parametrize(
    ("num_epochs", "steps_per_epoch", "marks"),
    [
        (1, 0, (1,)),
        (2, 0, (1, 2)),
        (5, 0, (1, 2, 5)),
        (9, 0, (1, 3, 9)),
        (10, 0, (1, 3, 10)),
        (50, 0, (6, 17, 50)),
        (10, 67, (1, 3, 10)),  # the 27th part would be 24.8 steps
        (10, 68, (10 / 27, 1, 3, 10)),
        (5, 88, (5 / 9, 2, 5)),
        (5, 352, (5 / 27, 5 / 9, 2, 5)),
        (1, 1000, (1 / 27, 1 / 9, 1 / 3, 1)),
        (50, 14, (2, 6, 17, 50)),
    ],
)
def test_rungs(num_epochs, steps_per_epoch, marks):
    assert rungs(num_epochs, True, steps_per_epoch) == marks
    assert rungs(num_epochs, False, steps_per_epoch) == (num_epochs,)


def test_a_third_goes_on_rounded_up():
    assert [num_survivors(n, 3) for n in (1, 2, 3, 8, 9, 10, 27)] == [
        [1, 1, 1],
        [2, 1, 1],
        [3, 1, 1],
        [8, 3, 1],
        [9, 3, 1],
        [10, 4, 2],
        [27, 9, 3],
    ]


@pytest.mark.parametrize("patience", [None, 2])
@pytest.mark.parametrize("chance_of_failure", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("seed", range(12))
def test_the_same_as_the_simulation_whatever_comes_first(seed, chance_of_failure, patience):
    num_trials, num_epochs = 1 + seed * 2, (1, 2, 5, 9, 12)[seed % 5]
    worlds = [World(seed, num_trials, num_epochs, chance_of_failure, patience) for _ in range(3)]
    alive, lengths = worlds[0].simulate()
    for order, world in enumerate(worlds):
        place = world.run(order)
        assert place.alive == alive
        assert world.lengths == lengths
        failed = {number for number, failed in enumerate(world.failed) if failed}
        assert place.alive | place.stopped | failed == set(range(num_trials))
        assert not place.alive & place.stopped


def test_without_failures_the_epochs_are_those_foretold():
    for num_trials in range(1, 30):
        world = World(num_trials, num_trials, 9)
        left = [cohort_epochs(num_trials, world.marks)]
        begun = standing(world.trials(), world.marks)
        assert begun.num_epochs_left(world.marks) == pytest.approx(left[0])
        chance = random.Random(0)
        while (place := standing(world.trials(), world.marks)).due:
            world.train_on(chance.choice(place.due).number)
            left.append(
                standing(world.trials(), world.marks).num_epochs_left(world.marks) + sum(world.lengths)
            )
        assert left == pytest.approx([left[0]] * len(left))
        assert sum(world.lengths) == pytest.approx(left[0])


def test_halving_off_trains_all_to_the_end():
    world = World(0, 5, 4)
    world.marks = rungs(4, halving=False)
    place = world.run(0)
    assert (place.alive, place.stopped, world.lengths) == (frozenset(range(5)), frozenset(), [4] * 5)
    assert cohort_epochs(5, world.marks) == 20


def test_a_rung_waits_for_its_last_trial():
    marks = (1, 3, 9)
    trials = [make_trial(n, [record(1, 0.9 - n / 10)]) for n in range(5)] + [make_trial(5)]
    place = standing(trials, marks)
    assert (place.rung, place.until, [trial.number for trial in place.due], place.stopped) == (
        0,
        1,
        [5],
        frozenset(),
    )
    trials[5] = make_trial(5, [record(1, 0.85)])
    place = standing(trials, marks)
    assert (place.rung, place.until, [trial.number for trial in place.due]) == (1, 3, [0, 5])
    assert place.stopped == {1, 2, 3, 4}


def test_a_failed_trial_makes_room_for_the_next_best():
    marks = (1, 3, 9)
    trials = [make_trial(n, [record(1, 0.9 - n / 10)]) for n in range(6)]
    assert [trial.number for trial in standing(trials, marks).due] == [0, 1]
    trials[0] = make_trial(0, [record(1, 0.9)], failed=True)
    assert [trial.number for trial in standing(trials, marks).due] == [1, 2]


def test_one_that_failed_after_its_rung_counts_there_and_nowhere_later():
    marks = (1, 3, 9)
    trials = [make_trial(n, [record(e, 0.9 - n / 10) for e in (1, 2, 3)]) for n in range(2)]
    trials += [make_trial(n, [record(1, 0.1)]) for n in range(2, 6)]
    trials[0] = make_trial(0, trials[0].history, failed=True)
    place = standing(trials, marks)
    assert (place.rung, [trial.number for trial in place.due], place.stopped) == (2, [1], {2, 3, 4, 5})


def test_all_failed_is_the_end():
    trials = [make_trial(n, failed=True) for n in range(5)]
    place = standing(trials, (1, 3, 9))
    assert (place.due, place.alive, place.stopped) == ((), frozenset(), frozenset())


def test_ranked_by_the_weights_kept_in_the_rung():
    """The last epoch's accuracy counts for nothing if its weights were not kept, nor does what came later."""
    marks = (2, 9)
    kept_early = make_trial(0, [record(1, 0.7, 0.5), record(2, 0.9, 0.6, is_best=False)])
    kept_late = make_trial(1, [record(1, 0.5, 0.5), record(2, 0.8, 0.4)])
    ahead = make_trial(2, [record(1, 0.1, 0.9), record(2, 0.2, 0.8), record(3, 0.99, 0.01)])
    assert [trial.number for trial in standing([kept_early, kept_late, ahead], marks).due] == [1]


def test_equal_accuracy_goes_to_the_lower_loss_then_to_the_first():
    def trials(*losses):
        return [make_trial(n, [record(1, 0.5, loss)]) for n, loss in enumerate(losses)]

    assert [trial.number for trial in standing(trials(0.5, 0.4, 0.6), (1, 9)).due] == [1]
    assert [trial.number for trial in standing(trials(0.5, 0.5, 0.5), (1, 9)).due] == [0]


def test_patience_ends_a_trial_for_all_later_rungs():
    """Stopped early after two epochs, it has reached the rungs at 3 and 9 too."""
    worse = record(2, 0.9, 0.9, is_best=False)
    trials = [make_trial(0, [record(1, 0.9, 0.1), worse], patience=1)]
    trials += [make_trial(n, [record(1, 0.1)], patience=1) for n in (1, 2)]
    place = standing(trials, (1, 3, 9))
    assert (place.due, place.alive, place.rung) == ((), {0}, 2)
    assert trials[0].finished
    assert place.num_epochs_left((1, 3, 9)) == 0


def test_steps_of_the_marks_add_up():
    marks = (1, 3, 9)
    assert cohort_epochs(9, marks) == 9 * 1 + 3 * 2 + 1 * 6
    assert [b - a for a, b in pairwise((0, *marks))] == [1, 2, 6]


def test_within_the_first_epoch_the_early_validation_counts():
    marks = (1 / 3, 1, 3)
    trials = [make_trial(n, early=[early_record(1 / 3, 0.5 + n / 10)]) for n in range(3)]
    place = standing(trials, marks)
    assert (place.rung, place.until, [trial.number for trial in place.due]) == (1, 1, [2])
    assert place.num_epochs_left(marks) == pytest.approx(3 - 1 / 3)
    trials[2] = make_trial(2, [record(1, 0.1)], early=trials[2].early)
    assert [trial.number for trial in standing(trials, marks).due] == [2], "it was ahead when it counted"


def test_where_early_validations_are_missing_the_first_epoch_counts():
    """As in a search that an earlier version began."""
    trials = [make_trial(n, [record(1, 0.5 + n / 10)]) for n in range(3)]
    assert [trial.number for trial in standing(trials, (1 / 3, 1, 3)).due] == [2]
