"""Whatever shows a picture -> the pixels that a network takes, exactly as in training."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from kilnet.data.adopt import to_pixels
from kilnet.data.decode import decode
from kilnet.data.resize import to_square
from kilnet.errors import DataError


def to_input(picture: Any, image_shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Turn one picture into what a network of this `image_shape` takes.

    Args:
        picture: a path, the bytes of a file, a Pillow image, or an array or tensor as `adopt_dataset` takes them.
        image_shape: (channels, height, width).

    Returns:
        uint8 (channels, height, width).

    Raises:
        UnusableImageError: a file cannot be used; the reason, without its path.
        DataError: a picture in memory cannot be used.
    """
    if isinstance(picture, str):
        picture = Path(picture)
    if isinstance(picture, Path | bytes):
        pixels, _ = decode(picture)
    elif isinstance(picture, Image.Image):
        try:
            picture.load()
            pixels = to_pixels(ImageOps.exif_transpose(picture))
        except OSError as error:  # Pillow reads a file when its pixels are first asked for
            raise DataError(f"damaged or cut short: {error}") from None
    else:
        pixels = to_pixels(picture)
    return fit(pixels, image_shape)


def fit(pixels: npt.NDArray[np.uint8], image_shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Bring pixels to a network's shape: colour to grey (ITU-R 601-2 luma) or grey to colour, then `to_square`.

    Args:
        pixels: uint8 (height, width, channels), channels 1 or 3.

    Returns:
        uint8, of `image_shape`.

    Raises:
        DataError: the network takes no squares, and the picture has not the very size it takes.
    """
    channels, height, width = image_shape
    if channels == 1 and pixels.shape[2] == 3:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    if pixels.shape[:2] == (height, width):
        fitted = pixels.transpose(2, 0, 1)
    elif height == width:
        fitted = to_square(pixels, height)
    else:
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise DataError(
            f"this network takes pictures of {width}x{height} pixels, this one has {size}; scale it"
        )
    return np.ascontiguousarray(np.broadcast_to(fitted, image_shape))
