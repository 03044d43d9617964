import math
import random

import pytest

from kilnet import EarlyStopping


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
