"""Parallel coordinates: one vertical axis per setting, one line per trial."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kilnet.page.svg import Scale, tag, ticks
from kilnet.runs.wording import shorten

_GAP = 120  # between axes
_TOP, _BOTTOM, _HEIGHT, _MARGIN = 34, 12, 300, 60


class _Axis:
    """Places the values of one setting: numbers on a scale (logarithmic if they span two decades), others in steps."""

    def __init__(self, values: Sequence[Any]) -> None:
        known = [value for value in values if value is not None]
        numbers = [value for value in known if isinstance(value, int | float) and not isinstance(value, bool)]
        self._is_number = len(numbers) == len(known) > 0
        self._is_log = self._is_number and min(numbers) > 0 and max(numbers) >= 100 * min(numbers)
        self._names = list(dict.fromkeys(map(str, known)))
        places = [self._position(value) for value in known]
        self._scale = Scale(min(places), max(places), _HEIGHT - _BOTTOM, _TOP)
        if len(set(places)) == 1:  # a single value is in the middle
            self._scale = Scale(places[0] - 1, places[0] + 1, _HEIGHT - _BOTTOM, _TOP)
        self.marks = self._marks(sorted(set(numbers)))

    def __call__(self, value: Any) -> float:
        """Return the height of a value."""
        return self._scale(self._position(value))

    def _position(self, value: Any) -> float:
        if not self._is_number:
            return self._names.index(str(value))
        return math.log10(value) if self._is_log else float(value)

    def _marks(self, numbers: list[float]) -> list[tuple[float, str]]:
        if not self._is_number:
            return [(self._scale(place), shorten(name, 12)) for place, name in enumerate(self._names)]
        if len(numbers) > 6:
            low, high = numbers[0], numbers[-1]
            if self._is_log:
                between = [
                    10.0**decade for decade in range(math.ceil(math.log10(low)), math.ceil(math.log10(high)))
                ]
            else:
                between = ticks(low, high, 5)
            ends = (self(low), self(high))
            numbers = [low, *(n for n in between if min(abs(self(n) - end) for end in ends) > 18), high]
        return [(self(number), f"{number:.3g}") for number in numbers]


def parallel_coordinates(
    title: str, columns: Mapping[str, Sequence[Any]], numbers: Sequence[int], marked: Sequence[bool]
) -> Markup:
    """Return one line per trial across one axis per column.

    Args:
        title: for screen readers.
        columns: by name, one value per trial; None leaves a gap.
        numbers: of the trials; shown when the pointer is over a line.
        marked: whether each trial stands out.
    """
    names = list(columns)
    axes = [
        _Axis(column) if any(value is not None for value in column) else None for column in columns.values()
    ]
    width = 2 * _MARGIN + _GAP * (len(names) - 1)
    parts = []
    order = sorted(range(len(numbers)), key=lambda trial: marked[trial])  # marked trials are drawn on top
    for trial in order:
        values = [columns[name][trial] for name in names]
        points = [
            f"{_MARGIN + _GAP * place:g},{axis(value):.1f}"
            for place, (axis, value) in enumerate(zip(axes, values, strict=True))
            if axis is not None and value is not None
        ]
        kind = "trial marked" if marked[trial] else "trial"
        parts.append(
            tag("polyline", tag("title", f"trial {numbers[trial]}"), class_=kind, points=" ".join(points))
        )
    for place, (name, axis) in enumerate(zip(names, axes, strict=True)):
        x = _MARGIN + _GAP * place
        parts.append(tag("line", class_="axis", x1=x, x2=x, y1=_TOP, y2=_HEIGHT - _BOTTOM))
        parts.append(tag("text", shorten(name, 18), class_="middle", x=x, y=16))
        for y, text in axis.marks if axis is not None else ():
            parts.append(tag("text", text, class_="halo", x=x + 5, y=y + 4))
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {width} {_HEIGHT}",
        width=width,
        height=_HEIGHT,
        class_="chart wide",
        role="img",
        aria_label=title,
    )
