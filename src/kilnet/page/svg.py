"""Charts as inline SVG; the style of the page colours them, and each has a description for screen readers."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from kilnet.runs.wording import shorten

# Of a chart, in its own units; a phone shows it a fifth smaller, and text stays readable.
WIDTH, HEIGHT = 400, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 18, 12, 44
_TALL = 300  # height of parallel coordinates
_BETWEEN, _SIDE, _HEAD, _FOOT = 120, 60, 34, 12  # room between their axes, and around them


def tag(name: str, *children: Markup | str, **attributes: str | float) -> Markup:
    """Return one element; `_` in attribute names means `-`, `class_` means `class`; text is escaped."""
    pairs = [(key.rstrip("_").replace("_", "-"), _number(value)) for key, value in attributes.items()]
    start = Markup("").join(Markup(' {}="{}"').format(*pair) for pair in pairs)
    return Markup("<{0}{1}>{2}</{0}>").format(name, start, Markup("").join(children))


@dataclass(frozen=True)
class Scale:
    """Maps numbers between `low` and `high` to places between `start` and `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        span = (self.high - self.low) or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)


@dataclass(frozen=True)
class Axis:
    """One axis: its label with the unit, its range, the format of its ticks, and whether they are whole numbers."""

    label: str
    low: float
    high: float
    format: str = "g"
    is_whole: bool = False

    def ticks(self, most: int = 6) -> list[float]:
        """Return round numbers within the range."""
        return [tick for tick in ticks(self.low, self.high, most) if not self.is_whole or tick == int(tick)]


def fitted_axis(label: str, values: Sequence[float], lowest: float, highest: float | None = None) -> Axis:
    """Return an axis around the values, with some room, which stays between `lowest` and `highest`."""
    low, high = min(values, default=lowest), max(values, default=lowest + 1)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    top = high + room if highest is None else min(high + room, highest)
    return Axis(label, max(low - room, lowest), top)


@dataclass(frozen=True)
class Line:
    """A curve; `kind` is its class in the style sheet: first, second, soft, faint, or run0 to run7 and dashed."""

    kind: str
    points: Sequence[tuple[float, float]]


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` + 1 multiples of 1, 2 or 5 times a power of ten within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def line_chart(
    title: str,
    x: Axis,
    y: Axis,
    lines: Sequence[Line],
    mark: float | None = None,
    dots: Sequence[tuple[float, float, bool]] | None = None,
    readings: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Return curves on common axes.

    Args:
        title: the description for screen readers.
        x, y: the axes.
        lines: the curves; their legend is outside the chart.
        mark: position of a vertical line, if there is one.
        dots: single points as (x, y, stands out); by default the points of the lines, if they are few.
        readings: positions and what the page says there, under the pointer and by keyboard.
    """
    across, up, grid = _axes(x, y)
    parts = [grid]
    if mark is not None:
        parts.append(_line("mark", across(mark), across(mark), up(y.low), up(y.high)))
    for line in lines:
        places = [(across(px), up(py)) for px, py in line.points if math.isfinite(py)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
        parts.append(tag("polyline", class_=f"line {line.kind}", points=path))
        if dots is None and len(places) <= 30:
            parts += [tag("circle", class_=f"dot {line.kind}", cx=px, cy=py, r=2.5) for px, py in places]
    for px, py, stands_out in dots or ():
        kind = "spot marked" if stands_out else "spot"
        parts.append(tag("circle", class_=kind, cx=across(px), cy=up(py), r=3.5))
    return frame(title, parts, readings=[(across(px), text) for px, text in readings])


def reliability_chart(title: str, bins: Sequence[tuple[float, float, float, float] | None]) -> Markup:
    """Return accuracy by confidence as bars with whiskers, and the diagonal of perfect calibration.

    Args:
        title: for screen readers.
        bins: equal steps of confidence from 0 to 1, each as (confidence, accuracy, low, high) in fractions, where low
            and high bound the accuracy; None if there are no images.
    """
    x, y = Axis("confidence (%)", 0, 100), Axis("accuracy (%)", 0, 100)
    across, up, grid = _axes(x, y)
    parts, readings = [grid], []
    width = 100 / len(bins)
    for number, entry in enumerate(bins):
        if entry is None:
            continue
        confidence, accuracy, low, high = (100 * value for value in entry)
        left, right = across(number * width), across((number + 1) * width)
        said = (
            f"confidence {confidence:.1f}%: accuracy {accuracy:.1f}%, 95% interval {low:.1f} to {high:.1f}%"
        )
        readings.append(((left + right) / 2, said))
        parts.append(_bar(left, right, up(accuracy), up(0)))
        parts.append(_line("whisker", across(confidence), across(confidence), up(low), up(high)))
        parts.append(tag("circle", class_="dot second", cx=across(confidence), cy=up(accuracy), r=2.5))
    parts.append(_line("mark", across(0), across(100), up(0), up(100)))
    return frame(title, parts, readings=readings)


def histogram(title: str, x: Axis, y_label: str, counts: Sequence[int]) -> Markup:
    """Return counts in equal steps of `x` as bars."""
    y = Axis(y_label, 0, max([*counts, 1]) * 1.05, ",.0f")
    across, up, grid = _axes(x, y)
    width = (x.high - x.low) / len(counts)
    bars = [
        _bar(across(x.low + number * width), across(x.low + (number + 1) * width), up(count), up(0))
        for number, count in enumerate(counts)
        if count
    ]
    readings = [
        (
            across(x.low + (number + 0.5) * width),
            f"{x.low + number * width:.1f} to {x.low + (number + 1) * width:.1f}: {count:,} {y_label}",
        )
        for number, count in enumerate(counts)
    ]
    return frame(title, [grid, *bars], readings=readings)


def bars(
    title: str,
    label: str,
    values: Sequence[tuple[str, float]],
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> Markup:
    """Return horizontal bars with their names and numbers, in the given order.

    Args:
        title: for screen readers.
        label: what the numbers mean, with their unit.
        values: names and numbers, which are at least 0.
        ranges: by name, within which the number may lie.
    """
    row, top = 30, 8
    bottom = top + row * len(values)
    ranges = ranges or {}
    highest = max([value for _, value in values] + [high for _, high in ranges.values()] + [1e-9])
    across = Scale(0, highest, 150, WIDTH - 50)
    parts = []
    for number, (name, value) in enumerate(values):
        y = top + row * number
        width = across(value) - across(0)
        parts.append(tag("text", shorten(name, 18), class_="end", x=144, y=y + 19))
        parts.append(tag("rect", class_="bar", x=across(0), y=y + 5, width=max(width, 0.5), height=row - 10))
        end = across(value)
        if name in ranges:
            low, high = ranges[name]
            parts.append(_line("whisker", across(low), across(high), y + row / 2, y + row / 2))
            end = max(end, across(high))
        parts.append(tag("text", f"{value:.1f}", x=end + 5, y=y + 19))
    parts.append(tag("text", label, class_="middle", x=WIDTH / 2, y=bottom + 20))
    return frame(title, parts, bottom + 30)


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
    has_value = [any(value is not None for value in column) for column in columns.values()]
    axes = [_Setting(columns[name]) if known else None for name, known in zip(names, has_value, strict=True)]
    width = 2 * _SIDE + _BETWEEN * (len(names) - 1)
    parts = []
    for trial in sorted(range(len(numbers)), key=lambda trial: marked[trial]):  # marked ones on top
        values = [columns[name][trial] for name in names]
        points = [
            f"{_SIDE + _BETWEEN * place:g},{axis(value):.1f}"
            for place, (axis, value) in enumerate(zip(axes, values, strict=True))
            if axis is not None and value is not None
        ]
        kind = "trial marked" if marked[trial] else "trial"
        hint = tag("title", f"trial {numbers[trial]}")
        parts.append(tag("polyline", hint, class_=kind, points=" ".join(points)))
    for place, (name, axis) in enumerate(zip(names, axes, strict=True)):
        x = _SIDE + _BETWEEN * place
        parts.append(_line("axis", x, x, _HEAD, _TALL - _FOOT))
        parts.append(tag("text", shorten(name, 18), class_="middle", x=x, y=16))
        for y, text in axis.marks if axis is not None else ():
            parts.append(tag("text", text, class_="halo", x=x + 5, y=y + 4))
    size: dict[str, Any] = {"viewBox": f"0 0 {width} {_TALL}", "width": width, "height": _TALL}
    return tag(
        "svg",
        *parts,
        **size,
        class_="chart wide many" if len(names) > 5 else "chart wide",
        role="img",
        aria_label=title,
    )


class _Setting:
    """Places the values of one setting: numbers on a scale (logarithmic if they span two decades), others in steps."""

    def __init__(self, values: Sequence[Any]) -> None:
        known = [value for value in values if value is not None]
        numbers = [value for value in known if isinstance(value, int | float) and not isinstance(value, bool)]
        self._is_number = len(numbers) == len(known) > 0
        self._is_log = self._is_number and min(numbers) > 0 and max(numbers) >= 100 * min(numbers)
        self._names = list(dict.fromkeys(map(str, known)))
        places = [self._position(value) for value in known]
        self._scale = Scale(min(places), max(places), _TALL - _FOOT, _HEAD)
        if len(set(places)) == 1:  # a single value is in the middle
            self._scale = Scale(places[0] - 1, places[0] + 1, _TALL - _FOOT, _HEAD)
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
        low, high = numbers[0], numbers[-1]
        between = numbers[1:-1]
        if len(numbers) > 6:
            between = ticks(low, high, 5)
            if self._is_log:
                decades = range(math.ceil(math.log10(low)), math.ceil(math.log10(high)))
                between = [10.0**decade for decade in decades]
        kept = [low]
        for number in between:  # no label on another
            if self(kept[-1]) - self(number) > 18 and self(number) - self(high) > 18:
                kept.append(number)
        numbers = [*kept, high] if high > low else kept
        return [(self(number), f"{number:.3g}") for number in numbers]


def interval_bar(title: str, value: float, low: float, high: float, baseline: float) -> Markup:
    """Return a bar from 0 to 1 with an interval, the value in it, and a mark where the baseline is."""
    across = Scale(0, 1, 4, 196)
    parts = [
        tag("rect", class_="track", x=4, y=8, width=192, height=8),
        tag("rect", class_="bar", x=4, y=8, width=max(across(value) - 4, 0.5), height=8),
        _line("whisker", across(low), across(high), 12, 12),
        tag("circle", class_="spot marked", cx=across(value), cy=12, r=4),
        _line("mark", across(baseline), across(baseline), 2, 22),
    ]
    return tag("svg", *parts, viewBox="0 0 200 24", class_="interval", role="img", aria_label=title)


def frame(
    title: str,
    parts: Iterable[Markup],
    height: float = HEIGHT,
    readings: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Return an `svg` of the usual width around its parts.

    Args:
        title: describes it for screen readers.
        parts: of the drawing.
        height: in its own units.
        readings: horizontal places and what the page says there; such a chart can be reached by keyboard.
    """
    size: dict[str, Any] = {"viewBox": f"0 0 {WIDTH} {height:g}"}
    if readings:
        places = [(round(place, 1), text) for place, text in sorted(readings, key=lambda reading: reading[0])]
        size |= {"data_readings": json.dumps(places, separators=(",", ":")), "tabindex": "0"}
    return tag("svg", *parts, **size, class_="chart", role="img", aria_label=title)


def _axes(x: Axis, y: Axis) -> tuple[Scale, Scale, Markup]:
    """Return the horizontal and the vertical scale, and the axes with their labels and the grid."""
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    across, up = Scale(x.low, x.high, _LEFT, right), Scale(y.low, y.high, bottom, _TOP)
    parts = [_line("axis", _LEFT, right, bottom, bottom)]
    for value in y.ticks():
        place = up(value)
        parts.append(_line("grid", _LEFT, right, place, place))
        parts.append(tag("text", f"{value:{y.format}}", class_="end", x=_LEFT - 6, y=place + 4))
    parts += [
        tag("text", f"{value:{x.format}}", class_="middle", x=across(value), y=bottom + 17)
        for value in x.ticks()
    ]
    parts.append(tag("text", x.label, class_="middle", x=(_LEFT + right) / 2, y=HEIGHT - 6))
    middle = (_TOP + bottom) / 2
    turned = f"rotate(-90 11 {middle:g})"
    parts.append(tag("text", y.label, class_="middle", x=11, y=middle, transform=turned))
    return across, up, Markup("").join(parts)


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> Markup:
    return tag("line", class_=kind, x1=x1, x2=x2, y1=y1, y2=y2)


def _bar(left: float, right: float, top: float, bottom: float) -> Markup:
    width, height = max(right - left - 1, 1), max(bottom - top, 0)
    return tag("rect", class_="bar", x=left + 0.5, width=width, y=top, height=height)


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
