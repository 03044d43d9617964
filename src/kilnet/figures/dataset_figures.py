"""Figures of a data set: its images, and what augmentation makes of them."""

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
    """Draw images at random, a row a class with its name and its number of images below; the first 20 classes."""
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
    subtitle = f"{len(split):,} images of {width}×{height} pixels in {colour}{which}; a row a class"
    return mosaic([Band(title, subtitle, tiles, count, scale, captions)])


def augmentation(
    split: Split, indices: npt.NDArray[np.int64], config: AugmentConfig, seed: int, num_epochs: int
) -> Figure:
    """Draw images, and beside each what training with this seed makes of it in its first epochs.

    Args:
        split: the training split.
        indices: places of the images, a row each.
        config: which changes.
        seed: of the run.
        num_epochs: columns beside the images as they are.

    Raises:
        InputError: no change is switched on.
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
    subtitle = "first column: as stored; then as training sees it, an epoch a column"
    scale = fitting_scale(tiles.shape[2], _IMAGE_PX)
    return mosaic([Band("Augmentation", subtitle, tiles, num_epochs + 1, scale)])
