"""Writes docs/images/accuracy-over-time.svg, the chart of the README, from accuracy-over-time.toml: `make docs`.

The chart has a background and colours of its own, for light and dark, so that it is readable on any page.
"""

import math
import tomllib
from html import escape
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).with_name("accuracy-over-time.toml")
PAGE = Path(__file__).parent / "images" / "accuracy-over-time.svg"
_WIDTH, _HEIGHT = 820, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 24, 56, 84  # around the plot
_SECONDS = {90: "1.5 min", 120: "2", 300: "5", 600: "10", 900: "15", 1800: "30", 3600: "1 h", 7200: "2 h"}
_PER_CENT = (50, 60, 70, 80, 90, 100)
_TITLE = "CIFAR-10 on two CPU cores: test accuracy by training time"
_NOTES = (
    "Two cores of an AMD EPYC with AVX-512 and bf16; time on a logarithmic scale; accuracy begins at 50%.",
    "* validation accuracy.  ** extrapolated from its measured speed, 243 images/s.",
)
_STYLE = """
  :root { --ink: #1f2328; --soft: #59636e; --paper: #ffffff; --line: #d1d9e0; --ours: #b83a08; --peer: #0757ba; }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #e6edf3; --soft: #9da7b1; --paper: #151b23; --line: #3d444d; --ours: #ff9d66; --peer: #79b8ff; }
  }
  text {
    font: 14px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--ink);
    paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round;
  }
  .title { font-size: 16px; font-weight: 600; }
  .soft { font-size: 12px; fill: var(--soft); }
  .paper { fill: var(--paper); stroke: var(--line); }
  .grid { stroke: var(--line); }
  .kilnet { --mark: var(--ours); } .peer { --mark: var(--peer); } .plain { --mark: var(--soft); }
  text.kilnet { fill: var(--mark); font-weight: 600; } text.peer { fill: var(--mark); }
  .mark { fill: var(--mark); stroke: var(--mark); stroke-width: 2; }
  .hollow { fill: var(--paper); }
  .line { fill: none; stroke: var(--mark); stroke-width: 2.5; }
"""


def page() -> str:
    """Return the chart as SVG."""
    every = tomllib.loads(FIGURES.read_text(encoding="utf-8"))["series"]
    marks = [mark for series in every for mark in _drawn(series)]
    notes = [_text(_LEFT, _HEIGHT - 28 + 17 * number, note, "soft") for number, note in enumerate(_NOTES)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-labelledby="title">',
        f'<title id="title">{_TITLE}</title>',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{_HEIGHT - 1}" rx="8"/>',
        _text(_LEFT, 30, _TITLE, "title"),
        *_grid(),
        *marks,
        *notes,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(seconds: float) -> float:
    low, high = math.log(min(_SECONDS)), math.log(max(_SECONDS))
    return _LEFT + (math.log(seconds) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)


def _y(accuracy: float) -> float:
    low, high = min(_PER_CENT), max(_PER_CENT)
    return _HEIGHT - _BOTTOM - (accuracy - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def _grid() -> list[str]:
    left, right, bottom = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    lines = []
    for accuracy in _PER_CENT:
        y = _y(accuracy)
        lines.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>')
        lines.append(_text(left - 8, y + 4, f"{accuracy}%", "soft", "end"))
    return lines + [
        _text(_x(seconds), bottom + 20, word, "soft", "middle") for seconds, word in _SECONDS.items()
    ]


def _drawn(series: dict[str, Any]) -> list[str]:
    """Return a line through the points of one series, its points, and their words."""
    style, points = series["style"], series["points"]
    places = [(_x(point["seconds"]), _y(point["accuracy"])) for point in points]
    drawn = []
    if series.get("joined"):
        steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        drawn.append(f'<path class="line {style}" d="M{steps}"/>')
    mark = f"mark {style}" + (" hollow" if series.get("hollow") else "")
    drawn += [f'<circle class="{mark}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>' for x, y in places]
    for (x, y), point in zip(places, points, strict=True):
        if "words" in point:
            right, down = point["offset"]
            drawn.append(_text(x + right, y + down + 5, point["words"], style, point["anchor"]))
    return drawn


def _text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
