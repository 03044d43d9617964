"""Any picture -> a square of a fixed side.

The longer side is scaled to the square's side, the aspect ratio is kept, and what remains is filled with
black on both sides alike: nothing is squashed and nothing is cropped away. Scaling is Pillow's bicubic
filter, which widens with the factor when it shrinks, so that fine patterns do not alias.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image


def to_square(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Scale one image into a square.

    Args:
        image: uint8 (height, width, channels), channels 1 or 3.
        side: pixels.

    Returns:
        uint8 (channels, side, side).
    """
    height, width, channels = image.shape
    if (height, width) != (side, side):
        scale = side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = Image.fromarray(image if channels == 3 else image[:, :, 0])
        small = np.asarray(picture.resize(size, Image.Resampling.BICUBIC)).reshape(size[1], size[0], channels)
        image = np.zeros((side, side, channels), np.uint8)
        top, left = (side - size[1]) // 2, (side - size[0]) // 2
        image[top : top + size[1], left : left + size[0]] = small
    return np.ascontiguousarray(image.transpose(2, 0, 1))


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

    64 keeps a training epoch on a few thousand photographs within seconds on a laptop; larger is a matter of
    `image_size`.
    """
    return int(np.clip(np.median(longer_sides), 8, 64)) if len(longer_sides) else 8
