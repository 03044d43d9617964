"""Figures of a data set: its images before and after augmentation."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from kilnet.config import AugmentConfig
from kilnet.data.augment import Augmentation
from kilnet.data.dataset import Split
from kilnet.errors import InputError
from kilnet.figures.charts import Figure
from kilnet.figures.inspection_figures import as_colour
from kilnet.figures.mosaics import Band, characters_below, fitting_scale, mosaic
from kilnet.runs.wording import shorten
from kilnet.seeding import generator

_IMAGE_PX = 96
_MAX_CLASSES = 20


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
