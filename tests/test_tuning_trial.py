"""A trial against its history, written by hand."""

import pytest

from kilnet.training.records import EpochRecord
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
