"""Pillow's colour modes -> 8-bit RGB, a band of rows at a time, with transparency laid on white."""

from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from kilnet.errors import UnusableImageError

_BAND_PIXELS = 2**21  # converted at a time, so that copies in other colour modes stay small
_GREY = ("1", "L")
_LONG_GREY = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's own conversion would clip these at 255
_COLOURS = ("LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")


def to_rgb(
    image: Image.Image,
    key: tuple[int, ...] | None = None,
    may_be_key: npt.NDArray[np.bool_] | None = None,
    check: Callable[[], None] = lambda: None,
) -> npt.NDArray[np.uint8]:
    """Return a picture of any colour mode as uint8 (height, width, 3).

    Args:
        key: the samples of pixels that are transparent.
        may_be_key: bool (height, width); other pixels are not transparent, whatever their samples.
        check: called before each band; what it raises ends the work.

    Raises:
        UnusableImageError: its pixels have no known range.
    """
    is_plain = image.mode == "RGB" and key is None and not image.has_transparency_data
    if is_plain and image.width * image.height <= _BAND_PIXELS:  # as most small pictures are
        check()
        return np.array(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for rows, band in _bands(image):
        check()
        found = pixels[rows]
        if band.mode in _LONG_GREY or (band.mode in _GREY and not band.has_transparency_data):
            found[:, :, 0] = found[:, :, 1] = found[:, :, 2] = _grey(band)
        else:
            found[:] = _colours(band)
        if key is not None:
            is_key = is_colour(band, key)
            is_key &= True if may_be_key is None else may_be_key[rows]
            if is_key.any():
                white = is_key.view(np.uint8) * np.uint8(255)
                for channel in range(3):
                    found[:, :, channel] |= white
    return pixels


def is_colour(image: Image.Image, colour: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return which pixels have these samples, bool (height, width)."""
    found = np.empty((image.height, image.width), np.bool_)
    for rows, band in _bands(image):
        samples = np.asarray(band.convert("L") if band.mode == "1" else band)
        if samples.ndim == 2:
            found[rows] = samples == colour[0]
        else:
            red, green, blue = (samples[:, :, channel] == colour[channel] for channel in range(3))
            found[rows] = red & green & blue
    return found


def _bands(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    num_rows = max(1, _BAND_PIXELS // image.width)
    if num_rows >= image.height:
        yield slice(None), image
        return
    for top in range(0, image.height, num_rows):
        bottom = min(top + num_rows, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode in _GREY:
        return np.asarray(image.convert("L"))
    values = np.asarray(image)
    if values.dtype != np.uint16:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 0xFFFF:
            raise UnusableImageError(f"pixel values {low} to {high} do not fit 16 bits")
    # In whole numbers: value / 257, rounded.
    return ((values.astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8)


def _colours(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return RGB, (height, width, 3) or, where all of it is one colour, (1, 1, 3)."""
    if image.mode == "F":
        raise UnusableImageError("floating-point pixels have no known range; save it as an 8-bit image")
    if image.mode not in (*_GREY, *_COLOURS):
        raise UnusableImageError(f"colours of the kind {image.mode} are not read; save it as RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        least, most = cast("tuple[int, int]", image.getchannel("A").getextrema())
        if most == 0:
            return np.full((1, 1, 3), 255, np.uint8)
        if least < 255:  # most pictures that may be transparent are not
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))
