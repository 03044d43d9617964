"""One picture -> its pixels, a square of a fixed side, and what a network takes.

What makes a file an image is its content, never its name. JPEG, PNG, GIF, BMP, WebP, TIFF and PPM are read.
EXIF orientation is applied; transparency is laid on white; every colour mode becomes 8-bit RGB.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from kilnet.errors import DataError, UnusableImageError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 2**30 // 4 // 3
"""89 megapixels, a quarter of a GiB as RGB: where Pillow itself begins to warn of decompression bombs."""
VERSION = 1
"""Raise it when the same file gives other pixels, so that cached images are made again."""


def decode(source: Path | bytes) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Read one picture.

    16-bit grey is scaled to 8 bits (value / 257, rounded); of an animation or a multi-page file the first
    picture is read. The size is checked before any pixel is decoded.

    Returns:
        (uint8 (height, width, 3), warnings of one line each).

    Raises:
        UnusableImageError: the reason, without the path.
    """
    if not isinstance(source, bytes):
        try:
            source = source.read_bytes()
        except (OSError, ValueError) as error:  # no path has a NUL
            raise UnusableImageError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not source:
        raise UnusableImageError("empty file")
    if webp_pixels(source) > MAX_PIXELS:
        raise UnusableImageError(f"more pixels than the limit of {MAX_PIXELS}")
    try:
        with Image.open(io.BytesIO(source), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UnusableImageError(f"{width} × {height} pixels, above the limit of {MAX_PIXELS}")
            # A JPEG's further pictures are thumbnails and depth maps that cameras add, no animation.
            # Others are not counted: a GIF file of 15 MB takes seconds to go through.
            has_more = image.format not in ("JPEG", "MPO") and getattr(image, "is_animated", False)
            image.seek(0)
            pixels = to_rgb(ImageOps.exif_transpose(image))
    except UnusableImageError:
        raise
    except UnidentifiedImageError:
        raise UnusableImageError(f"no image in one of the formats {', '.join(FORMATS)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnusableImageError(f"more pixels than the limit of {MAX_PIXELS}") from None
    except Exception as error:  # Pillow's readers raise whatever broken bytes lead them to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnusableImageError(f"damaged or cut short: {reason}") from None
    return pixels, ("first of several pictures",) if has_more else ()


def webp_pixels(content: bytes) -> int:
    """Return the pixels of a WebP file as its first bytes say (RFC 9649); 0 for a file of another format.

    Pillow's other readers wait until pixels are asked for; the one of WebP makes room for all when it opens a file.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return 0
    kind, head = content[12:16], content[20:30]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(head[start : start + 3], "little") for start in (4, 7))
    elif kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        width, height = 1 + bits % 2**14, 1 + (bits >> 14) % 2**14
    else:
        width, height = (int.from_bytes(head[start : start + 2], "little") % 2**14 for start in (6, 8))
    return width * height


def to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return a picture of any colour mode as uint8 (height, width, 3).

    Raises:
        UnusableImageError: its pixels have no known range.
    """
    if image.mode.startswith("I"):  # 16 bits, which Pillow's own conversion would clip at 255
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise UnusableImageError(f"pixel values {values.min()} to {values.max()} do not fit 16 bits")
        grey = ((values + 128) // 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise UnusableImageError("floating-point pixels have no known range; save it as an 8-bit image")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def to_pixels(image: Any) -> npt.NDArray[np.uint8]:
    """Return a picture in memory as uint8 (height, width, 1 or 3); see `adopt_dataset` for what it may be.

    Raises:
        DataError: it is no image.
    """
    if isinstance(image, Image.Image):
        if image.mode in ("1", "L") and not image.has_transparency_data:
            return np.asarray(image.convert("L"))[:, :, None]
        return to_rgb(image)
    is_tensor = hasattr(image, "detach")
    try:
        pixels = np.asarray(image.detach().cpu() if is_tensor else image)
    except (TypeError, ValueError, RuntimeError):
        raise DataError(
            f"a {type(image).__name__} is no image; give Pillow images, arrays or tensors"
        ) from None
    return _to_bytes(_channels_last(pixels, is_tensor))


def to_square(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Scale one image into a square: its longer side to the square's, bicubic, with black on both sides of the shorter.

    Nothing is squashed and nothing is cropped. Pillow's bicubic filter widens as it shrinks, so fine patterns do
    not alias.

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

    64 keeps a training epoch on a few thousand photographs within seconds on a laptop; larger sides come from
    `image_size`.
    """
    return int(np.clip(np.median(longer_sides), 8, 64)) if len(longer_sides) else 8


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
        DataError: the network takes no squares, and the picture is not of exactly the size it takes.
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


def _channels_last(pixels: npt.NDArray[Any], is_tensor: bool) -> npt.NDArray[Any]:
    if 0 not in pixels.shape:
        if pixels.ndim == 2:
            return pixels[:, :, None]
        first, last = (pixels.ndim == 3 and pixels.shape[axis] in (1, 3) for axis in (0, -1))
        # Where both could be meant, torch puts channels first, numpy last.
        if first and (is_tensor or not last):
            return pixels.transpose(1, 2, 0)
        if last:
            return pixels
    raise DataError(f"shape {pixels.shape} is no image of 1 or 3 channels")


def _to_bytes(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise DataError(f"{pixels.dtype} pixels; give uint8, or floating point from 0 to 1")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):  # NaN fails too
        raise DataError(f"pixels from {low:.3g} to {high:.3g}, not 0 to 1; leave out the normalisation")
    return np.asarray(np.rint(pixels * 255), np.uint8)
