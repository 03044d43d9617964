"""Charts as inline SVG; the style of the page colours them, and each has a description for screen readers."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kilnet.runs.wording import shorten

# Of a chart, in its own units; a phone shows it a fifth smaller, and text stays readable.
WIDTH, HEIGHT = 400, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 18, 12, 44


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


@dataclass(frozen=True)
class Line:
    """A curve; `kind` is its class in the style sheet: first, second or soft."""

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
) -> Markup:
    """Return curves on common axes.

    Args:
        title: the description for screen readers.
        x, y: the axes.
        lines: the curves; their legend is outside the chart.
        mark: position of a vertical line, if there is one.
        dots: single points as (x, y, stands out); by default the points of the lines, if they are few.
    """
    across, up = _scales(x, y)
    parts = [_grid(x, y, across, up)]
    if mark is not None:
        parts.append(
            tag("line", class_="mark", x1=across(mark), x2=across(mark), y1=up(y.low), y2=up(y.high))
        )
    for line in lines:
        places = [(across(px), up(py)) for px, py in line.points if math.isfinite(py)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
        parts.append(tag("polyline", class_=f"line {line.kind}", points=path))
        if dots is None and len(places) <= 30:
            parts += [tag("circle", class_=f"dot {line.kind}", cx=px, cy=py, r=2.5) for px, py in places]
    for px, py, stands_out in dots or ():
        kind = "spot marked" if stands_out else "spot"
        parts.append(tag("circle", class_=kind, cx=across(px), cy=up(py), r=3.5))
    return frame(title, parts)


def reliability_chart(title: str, bins: Sequence[tuple[float, float, float, float] | None]) -> Markup:
    """Return accuracy by confidence as bars with whiskers, and the diagonal of perfect calibration.

    Args:
        title: for screen readers.
        bins: equal steps of confidence from 0 to 1, each as (confidence, accuracy, low, high) in fractions, where low
            and high bound the accuracy; None if there are no images.
    """
    x, y = Axis("confidence (%)", 0, 100), Axis("accuracy (%)", 0, 100)
    across, up = _scales(x, y)
    parts = [_grid(x, y, across, up)]
    width = 100 / len(bins)
    for number, entry in enumerate(bins):
        if entry is None:
            continue
        confidence, accuracy, low, high = (100 * value for value in entry)
        left, right = across(number * width), across((number + 1) * width)
        parts.append(_bar(left, right, up(accuracy), up(0)))
        parts.append(
            tag(
                "line",
                class_="whisker",
                x1=across(confidence),
                x2=across(confidence),
                y1=up(low),
                y2=up(high),
            )
        )
        parts.append(tag("circle", class_="dot second", cx=across(confidence), cy=up(accuracy), r=2.5))
    parts.append(tag("line", class_="mark", x1=across(0), y1=up(0), x2=across(100), y2=up(100)))
    return frame(title, parts)


def histogram(title: str, x: Axis, y_label: str, counts: Sequence[int]) -> Markup:
    """Return counts in equal steps of `x` as bars."""
    y = Axis(y_label, 0, max([*counts, 1]) * 1.05, ",.0f")
    across, up = _scales(x, y)
    width = (x.high - x.low) / len(counts)
    bars = [
        _bar(across(x.low + number * width), across(x.low + (number + 1) * width), up(count), up(0))
        for number, count in enumerate(counts)
        if count
    ]
    return frame(title, [_grid(x, y, across, up), *bars])


def bars(title: str, label: str, values: Sequence[tuple[str, float]]) -> Markup:
    """Return horizontal bars with their names and numbers, in the given order.

    Args:
        title: for screen readers.
        label: what the numbers mean, with their unit.
        values: names and numbers, which are at least 0.
    """
    row, top = 30, 8
    bottom = top + row * len(values)
    across = Scale(0, max([value for _, value in values] + [1e-9]), 150, WIDTH - 50)
    parts = []
    for number, (name, value) in enumerate(values):
        y = top + row * number
        width = across(value) - across(0)
        parts.append(tag("text", shorten(name, 20), class_="end", x=142, y=y + 19))
        parts.append(tag("rect", class_="bar", x=across(0), y=y + 5, width=max(width, 0.5), height=row - 10))
        parts.append(tag("text", f"{value:.1f}", x=across(value) + 5, y=y + 19))
    parts.append(tag("text", label, class_="middle", x=WIDTH / 2, y=bottom + 20))
    return frame(title, parts, bottom + 30)


def frame(title: str, parts: Iterable[Markup], height: float = HEIGHT) -> Markup:
    """Return an `svg` of the usual width around its parts; `title` describes it for screen readers."""
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH} {height:g}", class_="chart", role="img", aria_label=title)


def _scales(x: Axis, y: Axis) -> tuple[Scale, Scale]:
    across = Scale(x.low, x.high, _LEFT, WIDTH - _RIGHT)
    return across, Scale(y.low, y.high, HEIGHT - _BOTTOM, _TOP)


def _grid(x: Axis, y: Axis, across: Scale, up: Scale) -> Markup:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = [tag("line", class_="axis", x1=_LEFT, x2=right, y1=bottom, y2=bottom)]
    for value in y.ticks():
        place = up(value)
        parts.append(tag("line", class_="grid", x1=_LEFT, x2=right, y1=place, y2=place))
        parts.append(tag("text", f"{value:{y.format}}", class_="end", x=_LEFT - 6, y=place + 4))
    parts += [
        tag("text", f"{value:{x.format}}", class_="middle", x=across(value), y=bottom + 17)
        for value in x.ticks()
    ]
    centre = (_LEFT + right) / 2
    parts.append(tag("text", x.label, class_="middle", x=centre, y=HEIGHT - 6))
    middle = (_TOP + bottom) / 2
    parts.append(
        tag("text", y.label, class_="middle", x=12, y=middle, transform=f"rotate(-90 12 {middle:g})")
    )
    return Markup("").join(parts)


def _bar(left: float, right: float, top: float, bottom: float) -> Markup:
    return tag(
        "rect", class_="bar", x=left + 0.5, width=max(right - left - 1, 1), y=top, height=max(bottom - top, 0)
    )


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
