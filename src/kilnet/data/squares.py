"""An image of any shape -> a square of a fixed side."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from kilnet.config import Fit

_BICUBIC = Image.Resampling.BICUBIC  # Pillow's widens as it shrinks, so fine patterns do not alias


def to_square(image: npt.NDArray[np.uint8], side: int, fitting: Fit = "pad") -> npt.NDArray[np.uint8]:
    """Scale one image into a square, bicubic.

    Args:
        image: uint8 (height, width, channels), channels 1 or 3.
        side: pixels.
        fitting: see `data.fit` of the configuration. With "pad" nothing is squashed and nothing is cut off.

    Returns:
        uint8 (channels, side, side).
    """
    height, width, channels = image.shape
    if (height, width) != (side, side):
        picture = Image.fromarray(image if channels == 3 else image[:, :, 0])
        if fitting == "pad":
            scale = side / max(height, width)
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = np.asarray(picture.resize(size, _BICUBIC)).reshape(size[1], size[0], channels)
            image = np.zeros((side, side, channels), np.uint8)
            top, left = (side - size[1]) // 2, (side - size[0]) // 2
            image[top : top + size[1], left : left + size[0]] = small
        else:
            box = (0.0, 0.0, width, height) if fitting == "stretch" else _middle(width, height)
            image = np.asarray(picture.resize((side, side), _BICUBIC, box)).reshape(side, side, channels)
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _middle(width: int, height: int) -> tuple[float, float, float, float]:
    """Return left, upper, right and lower edge of the largest square in the middle; half pixels count half."""
    length = min(width, height)
    return (width - length) / 2, (height - length) / 2, (width + length) / 2, (height + length) / 2


def resized(images: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Make each of uint8 (num_images, channels, height, width) a square by `to_square`."""
    if images.shape[2:] == (side, side):
        return images
    squares = np.empty((*images.shape[:2], side, side), np.uint8)
    for square, image in zip(squares, images, strict=True):
        square[:] = to_square(image.transpose(1, 2, 0), side)
    return squares


def default_side(longer_sides: npt.NDArray[np.int64]) -> int:
    """Return the side for pictures of these longer sides: their median, at least 8 and at most 64 pixels.

    64 keeps a training epoch on a few thousand photographs within seconds on a laptop; larger sides come from
    `image_size`.
    """
    return int(np.clip(np.median(longer_sides), 8, 64)) if len(longer_sides) else 8
