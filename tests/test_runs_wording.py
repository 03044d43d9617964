"""Names as they are shown."""

import io
import sys

import numpy as np
import pytest

from kilnet.metrics.classification import Evaluation
from kilnet.runs import wording
from kilnet.runs.wording import (
    MAX_CHARACTERS,
    counted,
    duration,
    hidden_by_accuracy,
    in_ascii,
    listed,
    macro_recall_with_interval,
    one_line,
    printable,
    shorten,
    speaks_ascii,
    told_together,
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


@pytest.mark.parametrize(
    ("number", "noun", "told"),
    [
        (0, "image", "0 images"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (3, "epoch", "3 epochs"),
        (1234, "index", "1,234 indexes"),
    ],
)
def test_counts_agree_with_their_nouns(number, noun, told):
    assert counted(number, noun) == told


def test_a_plural_can_be_given():
    assert counted(2, "more class", "more classes") == "2 more classes"
    assert counted(1, "more class", "more classes") == "1 more class"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_are_written_as_people_do(seconds, told):
    assert duration(seconds) == told


def test_long_lists_of_names_are_cut():
    assert listed(["cat", "two\nlines"]) == "cat, two lines"
    assert listed("abcde", 2) == "a, b and 3 more"


@pytest.mark.parametrize(
    ("environment", "is_plain"),
    [
        ({"LANG": "C"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),  # which Python has set
        ({"LC_ALL": "POSIX", "LANG": "en_GB.UTF-8"}, True),
        ({"LANG": "C.UTF-8"}, False),
        ({"LANG": "C", "LC_CTYPE": "en_GB.UTF-8"}, False),
        ({}, False),
    ],
)
def test_the_plain_locale_is_known(monkeypatch, environment, is_plain):
    for name in ("LANG", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert speaks_ascii() is is_plain


def test_text_in_ascii_keeps_its_length():
    text = "71.9–72.8 × … ━─ ▁▂▃▄▅▆▇█ 猫"
    assert in_ascii(text) == "71.9-72.8 x ~ =- .,:;=+*# ?"
    assert len(in_ascii(text)) == len(text)


def test_lines_of_one_kind_become_one():
    lines = [
        "a.png: cut off",
        "folder: strange",
        "b.png: cut off",
        "alone",
        "c.png: cut off",
        "d.png: cut off",
    ]
    assert told_together(lines) == [
        "4 times: cut off (a.png, b.png, c.png and 1 more)",
        "folder: strange",
        "alone",
    ]
    assert told_together(["a: x", "b: x", "y: z: x"]) == ["a: x", "b: x", "y: z: x"]
    assert told_together([]) == []


def test_streams_that_take_ascii_alone_get_it(monkeypatch):
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.setenv(name, "en_GB.UTF-8")
    for encoding in ("utf-8", "ascii"):
        with monkeypatch.context() as patch, io.TextIOWrapper(io.BytesIO(), encoding) as stream:
            patch.setattr(sys, "stdout", stream)
            assert wording.speaks_ascii() is (encoding == "ascii")
