"""What was tried, in words, and what is kept of a choice."""

import pytest

from kilnet.config import RunConfig
from kilnet.storage import remember
from kilnet.training.attempts import (
    _FILE,
    Attempt,
    keep_choice,
    kept_choice,
    probability_of_luck,
    question,
    suiting,
    verdict,
)
from kilnet.training.head import FittedHead
from made_up_machine import make_dataset


def attempt(title, num_right, num_images=100, gain=1.0):
    right = {str(number): number < num_right for number in range(num_images)}
    return Attempt(title=title, seconds=3.0, right=right, config=None, dataset=None, gain=gain)


def test_luck_is_mcnemars_exact_test():
    ours = dict.fromkeys("abcdefghij", True)
    theirs = ours | dict.fromkeys("abcd", False)
    assert probability_of_luck(ours, theirs) == pytest.approx(2 / 2**4)  # four tosses, all of one side
    assert probability_of_luck(ours, ours) == 1.0
    assert probability_of_luck(ours, {"a": False}) == 1.0  # one image is no evidence


def test_the_line_says_what_was_tried_and_what_cannot_be_told_apart():
    first, second, third = attempt("A", 90), attempt("B", 60), attempt("C", 88)
    line = verdict([first, second], first)
    assert line == (
        "tried: A 90.0% of 100 validation images in 3 s, B 60.0% of 100 validation images in 3 s; "
        "the rest of the time goes to A"
    )
    assert "cannot tell them apart: p = 0.50" in verdict([first, third], first)
    assert "to C, which is expected to gain more" in verdict([first, third], third)


def test_what_gains_from_time_may_win_from_behind():
    assert attempt("A", 80, gain=0.4).expected_error < attempt("B", 85, gain=0.9).expected_error
    assert attempt("A", 100).expected_error > 0


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KILNET_CACHE", str(tmp_path / "cache"))


def test_a_choice_is_kept_and_takes_the_seed_of_whoever_asks(cache):
    config = RunConfig.model_validate({"model": {"name": "FastNet", "widths": [8, 8]}, "seed": 1})
    assert kept_choice("a", 3) is None
    keep_choice("a", config, "tried: A")
    kept, line = kept_choice("a", 3)
    assert kept == config.model_copy(update={"seed": 3})
    assert line.startswith("tried: A")
    assert kept_choice("b", 3) is None


@pytest.mark.parametrize("damaged", [{}, [], "A", {"config": {"seed": "x"}, "line": ""}, {"config": {}}])
def test_what_is_damaged_is_measured_again(cache, damaged):
    remember(_FILE, "a", damaged)
    assert kept_choice("a", 0) is None


def test_what_a_choice_depends_on():
    config, dataset = RunConfig(), make_dataset()
    asked = question(config, [], dataset)
    assert question(config.model_copy(update={"seed": 5}), [], dataset) == asked
    assert question(config, [config], dataset) != asked
    longer = config.model_copy(update={"budget": config.budget.model_copy(update={"seconds": 9.0})})
    assert question(longer, [], dataset) != asked


def test_the_quickest_network_that_cannot_be_told_from_the_best_is_taken():
    best = [0.1, 0.5, 0.2, 0.6] * 10
    little_worse = [loss + error for loss, error in zip(best, [0.5, -0.4, 0.3, -0.3] * 10, strict=True)]
    clearly_worse = [loss + 0.05 for loss in best]

    def chosen(networks):
        return suiting([FittedHead(30.0, tuple(losses), 0.0, 40, 40) for losses in networks])

    assert chosen([little_worse, best]) == 0
    assert chosen([clearly_worse, little_worse, best]) == 1
    assert chosen([clearly_worse, best]) == 1
    assert chosen([best, little_worse]) == 0
    assert chosen([clearly_worse, best[:20]]) == 1  # not the same images: the lower mean
    assert chosen([best, []]) == 1  # not compared: the largest
    assert chosen([[], []]) == 1
