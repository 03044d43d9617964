"""Many small pictures in one figure; each pixel is a block of screen pixels, so that nothing is smoothed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilnet.figures.charts import DOTS_PER_INCH, Figure

_MARGIN = 24  # all in pixels at 150 dots per inch
_GAP = 6
_TITLE = 58
_LINE = 24  # of a caption
_MIN_WIDTH = 720
_TITLE_POINTS, _CAPTION_POINTS = 10, 7.5
_CAPTION_CHARACTER = 9.8  # pixels


@dataclass(frozen=True, eq=False)
class Band:
    """Pictures of one size in rows.

    Attributes:
        title, subtitle: above the pictures.
        tiles: uint8 (num_tiles, height, width, 3).
        columns: pictures per row.
        scale: screen pixels along the side of a pixel.
        captions: lines below each tile as (text, colour), the same number for each tile; () for none.
    """

    title: str
    subtitle: str
    tiles: npt.NDArray[np.uint8]
    columns: int
    scale: int
    captions: Sequence[Sequence[tuple[str, str]]] = ()


def mosaic(bands: Sequence[Band]) -> Figure:
    """Draw bands below each other; at 150 dots per inch, each pixel of a tile is a block of `scale` by `scale`."""
    sheets = [_sheet(band) for band in bands]
    width = max([_MIN_WIDTH, *(sheet.shape[1] + 2 * _MARGIN for sheet in sheets)])
    height = sum(_TITLE + sheet.shape[0] + _MARGIN for sheet in sheets)
    figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    top = 0
    for band, sheet in zip(bands, sheets, strict=True):
        for text, offset, weight, colour in (
            (band.title, 8, "bold", "black"),
            (band.subtitle, 32, "normal", "#444444"),
        ):
            figure.text(
                _MARGIN / width,
                1 - (top + offset) / height,
                text,
                va="top",
                fontsize=_TITLE_POINTS if weight == "bold" else _CAPTION_POINTS,
                fontweight=weight,
                color=colour,
                parse_math=False,
            )
        top += _TITLE
        rows, columns = sheet.shape[:2]
        box = (_MARGIN / width, 1 - (top + rows) / height, columns / width, rows / height)
        axes = figure.add_axes(box)
        axes.set_axis_off()
        axes.imshow(sheet, interpolation="nearest", aspect="auto", extent=(0, columns, rows, 0))
        for number, lines in enumerate(band.captions):
            left, below = _corner(band, number)
            below += band.tiles.shape[1] * band.scale + 2
            for line, (text, colour) in enumerate(lines):
                axes.text(
                    left,
                    below + line * _LINE,
                    text,
                    va="top",
                    fontsize=_CAPTION_POINTS,
                    color=colour,
                    parse_math=False,
                )
        top += rows + _MARGIN
    return figure


def fitting_scale(side: int, wanted: int) -> int:
    """Return the number of screen pixels per pixel that makes a tile of `side` about `wanted` wide."""
    return max(1, round(wanted / side))


def characters_below(band_side: int, scale: int) -> int:
    """Return how many characters of a caption fit below a tile."""
    return max(6, int(band_side * scale / _CAPTION_CHARACTER))


def columns_for(num_tiles: int, most: int) -> int:
    """Return a number of columns, at most `most`, that makes a sheet wider than high."""
    return max(1, min(most, math.ceil(math.sqrt(1.6 * num_tiles))))


def _sheet(band: Band) -> npt.NDArray[np.uint8]:
    """Return the tiles on white; captions come later."""
    num_rows = max(1, -(-len(band.tiles) // band.columns))
    right, _ = _corner(band, band.columns - 1)
    _, lowest = _corner(band, (num_rows - 1) * band.columns)
    height, width = (side * band.scale for side in band.tiles.shape[1:3])
    num_lines = max((len(lines) for lines in band.captions), default=0)
    sheet = np.full((lowest + height + _LINE * num_lines, right + width, 3), 255, np.uint8)
    for number, tile in enumerate(band.tiles):
        left, top = _corner(band, number)
        blocks = tile.repeat(band.scale, axis=0).repeat(band.scale, axis=1)
        sheet[top : top + height, left : left + width] = blocks
    return sheet


def _corner(band: Band, number: int) -> tuple[int, int]:
    """Return (left, top) of a tile in its sheet, in pixels."""
    row, column = divmod(number, band.columns)
    num_lines = max((len(lines) for lines in band.captions), default=0)
    height, width = (side * band.scale for side in band.tiles.shape[1:3])
    return column * (width + _GAP), row * (height + _GAP + (num_lines * _LINE + _GAP if num_lines else 0))
