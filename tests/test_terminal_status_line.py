"""The line that moves: it never needs two."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from kilnet.terminal.status_line import StatusLine


def shown(line, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(line)
    return console.file.getvalue()


FULL = StatusLine("epoch 3/10", 0.5, 80.0, "2,310 images/s", [0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("width", range(10, 201, 7))
@pytest.mark.parametrize("what", ["epoch 3/10", "reading " + "x" * 90, "猫" * 30])
def test_it_is_one_line_that_leaves_a_cell_free(width, what):
    text = shown(StatusLine(what, 0.5, 80.0, "2,310 images/s", [0.1, 0.5] * 30), width)
    assert text.count("\n") == 0
    assert cell_len(text) < width


@pytest.mark.parametrize(
    ("width", "parts"),
    [
        (20, ["50%"]),
        (28, ["1 min 20 s left"]),
        (50, ["1 min 20 s left", "50%", "2,310 images/s"]),
        (80, ["1 min 20 s left", "50%", "2,310 images/s", "━", "▁▃▄▆█"]),
    ],
)
def test_the_time_left_stays_longest(width, parts):
    text = shown(FULL, width)
    for part in ("1 min 20 s left", "50%", "2,310 images/s", "━"):
        assert (part in text) == (part in parts), text
    assert all(part in text for part in parts), text


@pytest.mark.parametrize(("part", "full"), [(-1.0, 0), (0.0, 0), (0.5, 12), (1.0, 24), (2.0, 24)])
def test_the_bar_is_as_long_as_the_part(part, full):
    text = shown(StatusLine("work", part), 100)
    assert (text.count("━"), text.count("─")) == (full, 24 - full)
