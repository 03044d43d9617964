"""A trial against its history, written by hand."""

import pytest

from kilnet.training.records import EarlyRecord, EpochRecord
from kilnet.tuning.trial import Trial


def record(epoch, loss, accuracy, is_best):
    return EpochRecord(
        epoch=epoch,
        lr=0.1,
        train_loss=1.0,
        train_accuracy=0.5,
        validation_loss=loss,
        validation_accuracy=accuracy,
        num_validation_correct=round(100 * accuracy),
        num_validation=100,
        is_best=is_best,
    )


HISTORY = (record(1, 2.0, 0.3, True), record(2, 1.5, 0.4, True), record(3, 1.7, 0.6, False))


def trial(history=HISTORY, **changes):
    values = {"number": 5, "values": {}, "reasons": (), "failed": False, "num_epochs": 6, "patience": None}
    return Trial(**values | {"history": history, "min_delta": 0.0} | changes)


def test_it_is_finished_when_its_epochs_are_done_or_patience_has_run_out():
    assert not trial().finished
    assert trial(num_epochs=3).finished
    assert not trial(patience=2).finished
    assert trial(patience=1).finished
    assert trial(patience=2, min_delta=0.6).finished, "an improvement of 0.5 does not count"


@pytest.mark.parametrize(
    ("changes", "stopped", "status"),
    [
        ({}, (), "waiting"),
        ({}, (5,), "stopped"),
        ({"num_epochs": 3}, (5,), "finished"),
        ({"num_epochs": 3, "failed": True}, (), "failed"),
        ({"history": ()}, (), "waiting"),
    ],
)
def test_what_is_said_of_it(changes, stopped, status):
    assert trial(**changes).status(stopped) == status


def test_it_is_compared_by_the_weights_that_were_kept_by_then():
    assert [found and found.epoch for found in map(trial().best, (0, 1, 2, 3, None))] == [None, 1, 2, 2, 2]
    assert trial().rank() == (-0.4, 1.5, 5), "the weights of epoch 3 were not kept"
    assert [trial().reached(epoch) for epoch in (1, 3, 4)] == [True, True, False]
    assert trial(patience=1).reached(6), "it will not get further"
    nothing = trial(history=())
    lower_loss = trial(history=(record(1, 1.0, 0.4, True),), number=7)
    earlier = trial(number=4)
    ranked = sorted([nothing, trial(), lower_loss, earlier], key=Trial.rank)
    assert [one.number for one in ranked] == [7, 4, 5, 5]
    assert ranked[-1] is nothing


EARLY = (EarlyRecord(0.1, 2.5, 0.1, 10, 100), EarlyRecord(0.4, 2.2, 0.2, 20, 100))


def test_within_the_first_epoch_it_is_compared_by_what_was_seen_there():
    begun = trial(history=(), early=EARLY)
    assert begun.num_epochs_done == 0.4
    assert [begun.reached(part) for part in (0.1, 0.4, 1)] == [True, True, False]
    assert [begun.result(part) for part in (0.1, 0.4, 1, None)] == [*EARLY, None, EARLY[1]]
    assert begun.rank(0.1) == (-0.1, 2.5, 5)
    assert begun.best() is None, "no weights are kept"
    later = trial(early=EARLY)
    assert (later.num_epochs_done, later.result(0.1), later.result(1)) == (3, EARLY[0], HISTORY[0])
    assert trial().result(0.4) == HISTORY[0], "an earlier version did not look so early"


def test_a_fitted_last_layer_is_no_epoch_of_training():
    fitted = trial(history=(record(0, 2.6, 0.1, True),), early=EARLY[:1])
    assert (fitted.num_epochs_done, fitted.reached(0.1), fitted.reached(0.4)) == (0.1, True, False)
