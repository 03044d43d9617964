"""Drawings of a page."""

import re

import pytest

from kilnet.page.svg import Axis, Scale, parallel_coordinates, tag, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (1, 10, [2, 4, 6, 8, 10]),
        (0.31, 0.38, [0.32, 0.34, 0.36, 0.38]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high, 5) == pytest.approx(expected)


def test_epochs_have_whole_ticks():
    assert Axis("epoch", 1, 3).ticks() == [1, 1.5, 2, 2.5, 3]
    assert Axis("epoch", 1, 3, is_whole=True).ticks() == [1, 2, 3]


def test_charts_place_values_in_proportion_and_escape_names():
    scale = Scale(10, 20, 100, 0)
    assert [scale(10), scale(15), scale(20)] == [100, 50, 0]
    assert tag("text", "<a & b>", class_="x", stroke_width=1.50) == (
        '<text class="x" stroke-width="1.5">&lt;a &amp; b&gt;</text>'
    )


def test_labels_of_parallel_coordinates_do_not_lie_on_each_other():
    seconds = [10.0, 30.1, 30.8, 31.0]
    drawn = str(parallel_coordinates("trials", {"seconds": seconds}, range(4), [False] * 4))
    shown = re.findall(r'class="halo" x="[\d.]+" y="([\d.]+)">([\d.]+)<', drawn)
    assert [text for _, text in shown] == ["10", "31"]
    assert drawn.count("<polyline") == 4
