"""What training does for rare classes, against the formulas written out and against plain training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kilnet.config import TrainingConfig
from kilnet.metrics.class_counts import image_weights
from kilnet.seeding import generator
from kilnet.training.balance import TrainingLoss, advice, balanced_order
from small_loops import epochs_of, make_dataset, make_loop

COUNTS = np.array([700, 250, 50])


def loss(balance, logits, labels, smoothing=0.1):
    return TrainingLoss(TrainingConfig(balance=balance, label_smoothing=smoothing), COUNTS)(logits, labels)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(40, 3), torch.arange(40) % 3


def test_the_plain_loss_is_cross_entropy_to_the_bit(batch):
    expected = F.cross_entropy(*batch, label_smoothing=0.1)
    assert torch.equal(loss("none", *batch), expected)
    assert torch.equal(loss("sampling", *batch), expected)


def test_weights_count_each_image_by_its_class(batch):
    logits, labels = batch
    each = [F.cross_entropy(logits[[i]], labels[[i]], label_smoothing=0.1).item() for i in range(40)]
    weights = image_weights(COUNTS)[labels.numpy()]
    assert loss("weights", *batch).item() == pytest.approx(float((weights * each).mean()), rel=1e-5)


def test_logits_have_to_win_by_the_ratio_of_the_shares(batch):
    logits, labels = batch
    shifted = logits + torch.tensor([0.7, 0.25, 0.05]).log()
    assert loss("logits", *batch).item() == pytest.approx(
        F.cross_entropy(shifted, labels, label_smoothing=0.1).item(), rel=1e-5
    )


def test_an_epoch_of_equal_classes_repeats_no_image_before_the_others():
    labels = np.repeat([0, 1, 3], [70, 28, 3])
    order = balanced_order(labels, generator(0, "shuffle", 0))
    assert order.shape == (101,)
    assert sorted(np.bincount(labels[order], minlength=4)) == [0, 33, 34, 34]
    times = np.bincount(order, minlength=101)
    for label in (0, 1, 3):
        assert np.ptp(times[labels == label]) <= 1
    again = balanced_order(labels, generator(0, "shuffle", 0))
    np.testing.assert_array_equal(order, again)
    assert (order != balanced_order(labels, generator(0, "shuffle", 1))).any()


def rare(dataset, kept=6):
    """The data set with few training images of its last class."""
    train, last = dataset.train, len(dataset.classes) - 1
    chosen = np.concatenate(
        [np.flatnonzero(train.labels != last), np.flatnonzero(train.labels == last)[:kept]]
    )
    return replace(dataset, train=train.take(chosen))


def test_one_line_says_what_to_do_where_classes_are_of_unequal_size():
    dataset = rare(make_dataset())
    line = advice(dataset, TrainingConfig())
    assert line.startswith("classes are of unequal size: a has 34 images to train on, c 6; ")
    assert "`optimise='macro-recall'`" in line
    assert advice(dataset, TrainingConfig(balance="logits")) is None
    assert advice(rare(make_dataset(), 7), TrainingConfig()) is None


@pytest.mark.parametrize("balance", ["weights", "sampling", "logits"])
def test_a_rare_class_is_found_more_often(balance):
    dataset = rare(make_dataset(num_train=200, num_validation=90), kept=3)
    settings = {
        "training__select": "macro-recall",
        "training__epochs": 4,
        "optimizer__lr": 0.003,
        "training__patience": 9,
    }
    plain = epochs_of(make_loop(dataset, **settings))
    balanced = epochs_of(make_loop(dataset, training__balance=balance, **settings))
    assert balanced[-1].validation_macro_recall > plain[-1].validation_macro_recall + 0.02


def test_the_epoch_is_chosen_by_what_is_asked_for():
    settings = {"training__epochs": 6, "optimizer__lr": 0.02, "training__balance": "logits"}
    records = {
        select: epochs_of(make_loop(rare(make_dataset()), training__select=select, **settings))
        for select in ("loss", "accuracy", "macro-recall")
    }
    by_loss, by_accuracy, by_recall = records.values()
    assert [r.validation_loss for r in by_loss] == [r.validation_loss for r in by_recall]
    assert all(r.validation_macro_recall is None for r in (*by_loss, *by_accuracy))
    for found, values in (
        (by_loss, [-r.validation_loss for r in by_loss]),
        (by_accuracy, [r.validation_accuracy for r in by_accuracy]),
        (by_recall, [r.validation_macro_recall for r in by_recall]),
    ):
        best = [value > max(values[:index], default=-9.0) for index, value in enumerate(values)]
        assert [r.is_best for r in found] == best
    # The classes have ten validation images each, so that both are the same.
    for record in by_recall:
        assert record.validation_macro_recall == pytest.approx(record.validation_accuracy)
