"""When a run ends: early stopping, and budgets by a clock that the work itself moves."""

import json
import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from kilnet import EarlyStopping
from kilnet.data.preprocess import Preprocessing
from kilnet.models import FastNet
from kilnet.recipes.reading import load_config
from kilnet.training.loop import TrainingLoop
from kilnet.training.records import EpochRecord, StepRecord
from kilnet.training.schedule import BudgetSchedule
from made_up_machine import SETTINGS, SIDE, STEP, VALIDATION, Machine, make_dataset

LOADS = {
    "nothing else": lambda now: 1.0,
    "twice as fast as measured": lambda now: 0.5,
    "twice as slow as measured": lambda now: 2.0,
    "another program from the middle on": lambda now: 2.0 if now > 30 else 1.0,
    "another program in the middle": lambda now: 2.2 if 20 < now < 40 else 1.0,
    "another program shortly before the end": lambda now: 2.0 if now > 52 else 1.0,
    "a program that comes and goes": lambda now: 2.0 if int(now / 7) % 2 else 1.0,
    "ever slower": lambda now: 1.0 + now / 30,
}


def naive(losses, patience, min_delta):
    """(whether each loss is better, after how many losses to stop), straight from the definition."""
    better = []
    for i, loss in enumerate(losses):
        earlier = [losses[j] for j in range(i) if better[j]]
        better.append(loss < min(earlier, default=math.inf) - min_delta)
    for i in range(len(losses)):
        if patience is not None and i + 1 >= patience and not any(better[i + 1 - patience : i + 1]):
            return better, i + 1
    return better, None


@pytest.mark.parametrize("seed", range(30))
def test_agrees_with_the_definition_on_random_losses(seed):
    dice = random.Random(seed)
    patience = dice.choice([1, 2, 3, 5, None])
    min_delta = dice.choice([0.0, 0.1, 0.5])
    losses = [dice.choice([dice.random(), round(dice.random(), 1), math.nan, math.inf]) for _ in range(60)]
    expected, stop = naive(losses, patience, min_delta)
    stopping = EarlyStopping(patience, min_delta)
    stopped = None
    for count, (loss, is_better) in enumerate(zip(losses, expected, strict=True), start=1):
        assert stopping.step(loss) is is_better
        if stopping.should_stop:
            stopped = count
            break
    assert stopped == stop


def test_stops_after_exactly_patience_losses_that_are_not_better():
    stopping = EarlyStopping(patience=2)
    states = []
    for loss in [1.0, 1.1, 0.9, 0.9, 1.0]:
        stopping.step(loss)
        states.append(stopping.should_stop)
    assert states == [False, False, False, False, True]
    assert stopping.best_loss == 0.9


def test_without_patience_it_never_stops():
    stopping = EarlyStopping(patience=None)
    for loss in range(1000):
        stopping.step(loss)
    assert not stopping.should_stop


def test_nan_is_never_better_and_hides_no_later_loss():
    stopping = EarlyStopping(patience=3)
    assert not stopping.step(math.nan)
    assert stopping.step(1.0)
    assert not stopping.step(math.nan)
    assert stopping.step(0.5)


def test_better_by_exactly_min_delta_is_not_better():
    stopping = EarlyStopping(min_delta=0.25)
    assert stopping.step(1.0)
    assert not stopping.step(0.75)
    assert stopping.step(0.5)


def make_loop(machine, budget, started=0.0, dataset=None, **settings):
    defaults = {
        "model.name": "FastNet",
        "training.batch_size": 25,
        "training.batch_norm_images": 30,
        "training.epochs": 10,
        "optimizer.schedule": "linear",
        "optimizer.lr": 0.01,
        "budget.seconds": budget,
    }
    config = load_config(settings=defaults | settings)
    dataset = dataset or make_dataset()
    torch.manual_seed(1)
    model = FastNet((4, 6), image_shape=dataset.image_shape, num_classes=3)
    model.register_forward_hook(machine.work)
    epochs = config.training.epochs
    schedule = BudgetSchedule(epochs, budget, STEP, VALIDATION, started, machine.clock)
    return TrainingLoop(model, dataset, config, Preprocessing.fit(dataset), SETTINGS, schedule)


def rates_of(loop):
    """Train to the end; returns the learning rate of each step."""
    return [loop._optimizer.param_groups[0]["lr"] for record in loop if isinstance(record, StepRecord)]


@pytest.mark.parametrize("low_resolution", [[], [[0.4, 0.7], [0.75, 0.85]]])
@pytest.mark.parametrize("load", LOADS)
def test_a_run_ends_in_time_with_a_learning_rate_of_zero_whatever_else_the_machine_does(load, low_resolution):
    machine = Machine(LOADS[load])
    loop = make_loop(machine, 60.0, **{"training.low_resolution": low_resolution})
    rates = rates_of(loop)
    assert 0.9 * 60 <= machine.now <= 1.05 * 60
    assert loop.finished
    assert not loop.stopped_early
    assert rates[0] == pytest.approx(0.01, rel=0.05)
    assert rates[-1] < 0.01 * 0.1  # one or two steps of the time
    assert rates == sorted(rates, reverse=True) or load == "another program in the middle"
    assert loop.history[-1].lr == pytest.approx(rates[-1])


def test_learning_rate_and_resolution_follow_the_time_and_not_the_epochs():
    machine = Machine()
    machine.now = began = 7.0  # went into measurements
    loop = make_loop(machine, 60.0, **{"training.low_resolution": [[0.5, 0.5]], "training.epochs": 3})
    moments, rates, sides = [], [], []
    loop.model.register_forward_pre_hook(
        lambda model, inputs: sides.append(inputs[0].shape[2]) if model.training else None
    )
    before = began
    for record in loop:
        if isinstance(record, StepRecord):
            moments.append(before)
            rates.append(loop._optimizer.param_groups[0]["lr"])
        before = machine.now
    # 0.9 s to validate, a tenth more, 0.6 s and 2 s to spare; a step at half the side takes a quarter of a second.
    training = 60 - 1.1 * VALIDATION - 2.6 - began
    expected = [0.01 * (1 - (moment - began) / training) for moment in moments]
    assert rates == pytest.approx(expected, rel=0.01, abs=2e-5)
    assert [side == 6 for side in sides] == [moment - began < training / 2 for moment in moments]
    assert loop.history[-1].epoch > 3  # as many as there is time for
    assert len(sides) == pytest.approx(training / 2 / 0.25 + training / 2, rel=0.05)


def test_validations_take_a_twentieth_of_the_time_and_the_last_is_at_the_end():
    machine = Machine()
    dataset = make_dataset(
        num_train=50
    )  # two steps an epoch: validating after each would be a third of the time
    loop = make_loop(machine, 100.0, dataset=dataset)
    moments, num_images = [], 0
    for record in loop:
        if isinstance(record, EpochRecord):
            moments.append(machine.now)
        else:
            num_images += record.num_images
    *between, end = moments
    assert len(between) >= 2
    assert len(between) * VALIDATION <= 0.05 * 100
    assert np.diff([0, *moments]).min() > 19 * VALIDATION
    assert end == machine.now
    assert [record.epoch for record in loop.history] == sorted({record.epoch for record in loop.history})
    assert num_images == pytest.approx(25 * (100 - len(moments) * VALIDATION - 3), rel=0.03)


def test_records_hold_all_images_since_the_one_before():
    """Of two epochs in one record, and of a last one in part, the means are over the images."""
    machine = Machine()
    loop = make_loop(machine, 60.0, dataset=make_dataset(num_train=50))
    predicted, real_step = [], loop._step

    def step(images, labels, seed, weights):
        handle = loop.model.register_forward_hook(
            lambda _, __, logits: predicted.extend((logits.argmax(1) == labels).tolist())
        )
        result = real_step(images, labels, seed, weights)
        handle.remove()
        return result

    loop._step = step
    epoch = 0
    for record in loop:
        if isinstance(record, EpochRecord):
            assert len(predicted) > 50
            assert record.train_accuracy == pytest.approx(np.mean(predicted))
            assert record.epoch == epoch
            predicted.clear()
        epoch = record.epoch
    assert loop.history
    assert not predicted


@pytest.mark.parametrize("num_records", [1, 5, 30, 57])
@pytest.mark.parametrize("lost", [0.0, 10.0])
def test_a_resumed_run_spends_what_was_left(num_records, lost):
    """Two processes together take the budget; what the first did after it last saved is not counted."""
    first = Machine()
    loop = make_loop(first, 60.0)
    for _ in zip(range(num_records), loop, strict=False):
        pass
    tensors, rest = loop.state()
    rest = json.loads(json.dumps(rest))
    second = Machine()
    second.now = 1000 + lost  # a clock of another process, which has been running for 10 s
    resumed = make_loop(second, 60.0, started=1000.0)
    resumed.load_state(tensors, rest)
    rates = rates_of(resumed)
    spent = first.now + second.now - 1000
    assert spent <= 1.05 * 60 or lost > 60 - first.now
    assert spent >= 0.9 * 60
    assert rates == sorted(rates, reverse=True)
    assert resumed.history[: len(loop.history)] == loop.history
    assert resumed.finished
    assert resumed.history[-1].epoch >= loop.history[-1].epoch if loop.history else resumed.history


def test_to_ask_for_the_state_changes_nothing():
    """A schedule that is asked at every record, and loads what it gave, counts its time once."""
    machines, lines = (Machine(), Machine()), []
    for machine in machines:
        loop = make_loop(machine, 30.0, started=-5.0)
        for record in loop:
            if machine is machines[1]:
                before = dict(vars(loop._schedule))
                state = loop._schedule.state()
                assert vars(loop._schedule) == before
                loop._schedule.load_state(state)
            lines.append((machine.now, record))
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]


def test_a_finished_run_stays_finished_and_one_without_time_ends_with_what_it_has():
    machine = Machine()
    loop = make_loop(machine, 30.0)
    for record in loop:
        if isinstance(record, StepRecord) and record.step == 3:
            in_the_middle = loop.state()
    late = Machine()
    late.now = 100.0
    resumed = make_loop(late, 30.0, started=0.0)
    resumed.load_state(*in_the_middle)
    assert [type(record) for record in resumed] == [EpochRecord]
    assert resumed.finished
    again = make_loop(late, 30.0, started=0.0)
    again.load_state(*loop.state())
    assert again.finished
    assert list(again) == []


def test_a_budget_shorter_than_a_step_still_takes_one():
    machine = Machine()
    loop = make_loop(machine, 0.5)
    assert [type(record) for record in loop] == [StepRecord, EpochRecord]


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_without_a_budget_nothing_depends_on_time(averaging):
    """The same loop with and without a clock that never moves."""
    dataset = make_dataset()
    config = load_config(settings={"training.epochs": 2, "training.averaging_epochs": averaging})
    histories = []
    for _ in range(2):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * SIDE * SIDE), nn.Linear(3 * SIDE * SIDE, 3))
        loop = TrainingLoop(model, dataset, config, Preprocessing.fit(dataset), SETTINGS)
        histories.append([record for record in loop if isinstance(record, EpochRecord)])
        assert "timer" not in loop.state()[1]
    assert histories[0] == histories[1]
