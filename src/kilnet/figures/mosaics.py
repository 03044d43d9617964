"""Many small pictures in one figure, such as those of a data set; each pixel is a block, so nothing is smoothed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from kilnet.config import AugmentConfig
from kilnet.data.augment import Augmentation
from kilnet.data.dataset import Split
from kilnet.errors import InputError
from kilnet.figures.charts import DOTS_PER_INCH, Figure
from kilnet.runs.wording import shorten
from kilnet.seeding import generator

_MARGIN = 24  # all in pixels at 150 dots per inch
_GAP = 6
_TITLE = 58
_LINE = 24  # of a caption
_MIN_WIDTH = 720
_TITLE_POINTS, _CAPTION_POINTS = 10, 7.5
_CAPTION_CHARACTER = 9.8  # pixels
_IMAGE_PX = 96  # of an image of a data set
_MAX_CLASSES = 20


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
    bold: dict[str, Any] = {"va": "top", "fontsize": _TITLE_POINTS, "fontweight": "bold", "parse_math": False}
    plain: dict[str, Any] = {"va": "top", "fontsize": _CAPTION_POINTS, "parse_math": False}
    left, top = _MARGIN / width, 0
    for band, sheet in zip(bands, sheets, strict=True):
        figure.text(left, 1 - (top + 8) / height, band.title, color="black", **bold)
        figure.text(left, 1 - (top + 32) / height, band.subtitle, color="#444444", **plain)
        top += _TITLE
        rows, columns = sheet.shape[:2]
        axes = figure.add_axes((left, 1 - (top + rows) / height, columns / width, rows / height))
        axes.set_axis_off()
        axes.imshow(sheet, interpolation="nearest", aspect="auto", extent=(0, columns, rows, 0))
        for number, lines in enumerate(band.captions):
            across, below = _corner(band, number)
            below += band.tiles.shape[1] * band.scale + 2
            for line, (text, colour) in enumerate(lines):
                axes.text(across, below + line * _LINE, text, color=colour, **plain)
        top += rows + _MARGIN
    return figure


def images_by_class(split: Split, classes: Sequence[str], count: int, seed: int, title: str) -> Figure:
    """Draw random images, one row per class (at most 20), with its name and number of images below."""
    shown = classes[:_MAX_CLASSES]
    channels, height, width = split.images.shape[1:]
    tiles = np.full((len(shown) * count, height, width, 3), 255, np.uint8)
    scale = fitting_scale(width, _IMAGE_PX)
    room = characters_below(width, scale) * count
    captions = [[("", "black")] for _ in tiles]
    for label, name in enumerate(shown):
        places = np.flatnonzero(split.labels == label)
        for column, place in enumerate(generator(seed, "by class", label).permutation(places)[:count]):
            tiles[label * count + column] = as_colour(split.images[place])
        caption = f"{shorten(name, max(6, room - 16))}: {len(places):,} images"
        captions[label * count] = [(caption, "black")]
    which = f", the first {len(shown)} of {len(classes)} classes" if len(shown) < len(classes) else ""
    colour = "grey" if channels == 1 else "colour"
    subtitle = f"{len(split):,} images of {width}×{height} pixels in {colour}{which}; one row per class"
    band = Band(title=title, subtitle=subtitle, tiles=tiles, columns=count, scale=scale, captions=captions)
    return mosaic([band])


def augmentation(
    split: Split, indices: npt.NDArray[np.int64], config: AugmentConfig, seed: int, num_epochs: int
) -> Figure:
    """Draw images, and next to each how training with this seed changes it in the first epochs.

    Args:
        split: the training split.
        indices: places of the images in the split; one row per image.
        config: the changes.
        seed: of the run.
        num_epochs: number of epochs, one column each.

    Raises:
        InputError: the settings change nothing.
    """
    images = torch.from_numpy(np.require(split.images[indices], requirements=["C", "W"]))
    columns = [images]
    for epoch in range(num_epochs):
        changes = Augmentation.draw(config, len(split), seed, epoch)
        if not changes.parameters:
            raise InputError("no augmentation is switched on; for example settings={'augment': 'tutorial'}")
        columns.append(changes(images, torch.from_numpy(indices)).round().byte())
    rows = torch.stack(columns, dim=1).flatten(0, 1).numpy()
    tiles = np.stack([as_colour(image) for image in rows])
    subtitle = "first column: as stored; then as training sees it, one column per epoch"
    scale = fitting_scale(tiles.shape[2], _IMAGE_PX)
    band = Band(title="Augmentation", subtitle=subtitle, tiles=tiles, columns=num_epochs + 1, scale=scale)
    return mosaic([band])


def as_colour(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return uint8 (1 or 3, height, width) as (height, width, 3)."""
    return np.ascontiguousarray(np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], 3)))


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
    right, lowest = _corner(band, num_rows * band.columns - 1)
    height, width = (side * band.scale for side in band.tiles.shape[1:3])
    num_lines = max(map(len, band.captions), default=0)
    sheet = np.full((lowest + height + _LINE * num_lines, right + width, 3), 255, np.uint8)
    for number, tile in enumerate(band.tiles):
        left, top = _corner(band, number)
        blocks = tile.repeat(band.scale, axis=0).repeat(band.scale, axis=1)
        sheet[top : top + height, left : left + width] = blocks
    return sheet


def _corner(band: Band, number: int) -> tuple[int, int]:
    """Return (left, top) of a tile in its sheet, in pixels."""
    row, column = divmod(number, band.columns)
    num_lines = max(map(len, band.captions), default=0)
    height, width = (side * band.scale for side in band.tiles.shape[1:3])
    return column * (width + _GAP), row * (height + _GAP + (num_lines * _LINE + _GAP if num_lines else 0))
