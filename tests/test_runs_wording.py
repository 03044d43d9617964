"""Names as they are shown."""

import numpy as np
import pytest

from kilnet.metrics import Evaluation
from kilnet.runs.wording import (
    MAX_CHARACTERS,
    hidden_by_accuracy,
    macro_recall_with_interval,
    one_line,
    printable,
    shorten,
)


def test_names_are_shown_on_one_line():
    assert one_line(" two\r\n\tlines ") == "two lines"
    assert one_line("\x1b[31m\u202ex\udcff") == "\ufffd[31m\ufffdx\ufffd"
    assert one_line("قطة 👩‍🚀") == "قطة 👩‍🚀"


@pytest.mark.parametrize("length", [1, 9, 10, 11, 200])
def test_long_names_keep_both_ends(length):
    name = "".join(chr(ord("a") + i % 26) for i in range(length))
    short = shorten(name, 10)
    assert len(short) <= 10
    assert (short == name) == (length <= 10)
    assert (short[0], short[-1]) == (name[0], name[-1])


def test_what_is_printed_is_one_line_of_bounded_length():
    assert printable("a  b\tc\r\nd\u2028e") == "a  b c  d e"
    assert printable("\x00\x07\x1b\x7f\x85\x9b\u2066\ud800") == "\ufffd" * 4 + " " + "\ufffd" * 3
    assert printable("猫 👩‍🚀 e\u0301") == "猫 👩‍🚀 e\u0301"
    long = printable("a" * 9_999 + "; what to do")
    assert len(long) == MAX_CHARACTERS
    assert long.endswith("; what to do")


def test_what_accuracy_hides_is_said():
    truth = np.repeat([0, 1, 2], [60, 10, 30])
    evaluation = Evaluation.from_logits("test", ("a", "b\n", "c", "d"), np.eye(4)[[0] * 70 + [2] * 30], truth)
    assert hidden_by_accuracy(evaluation) == [
        "always saying a would be right for 60.0%",
        "1 class never predicted (b)",
        "1 class without images: recall counts as 0 (d)",
    ]
    assert macro_recall_with_interval(evaluation) == "50.0% (50.0–50.0, 95% bootstrap)"
    equal = Evaluation.from_logits("test", ("a", "b"), np.eye(2)[[0, 0, 1]], np.array([0, 1, 1]))
    assert hidden_by_accuracy(equal) == []
