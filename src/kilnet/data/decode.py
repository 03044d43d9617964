"""One picture -> its pixels, and what a network takes.

What makes a file an image is its content, never its name. JPEG, PNG, GIF, BMP, WebP, TIFF and PPM are read.
EXIF orientation is applied; transparency is laid on white; every colour mode becomes 8-bit RGB.
"""

import io
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from kilnet.config import Fit
from kilnet.data.formats import bmp, gif, jpeg, png, ppm, tiff, webp
from kilnet.data.formats.orientation import upright
from kilnet.data.formats.parts import Parts
from kilnet.data.formats.rgb import is_colour, to_rgb
from kilnet.data.squares import to_square
from kilnet.errors import DataError, TooLargeImageError, UnusableImageError
from kilnet.storage import given_path

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 2**30 // 4 // 3
"""89 megapixels, a quarter of a GiB as RGB: where Pillow itself begins to warn of decompression bombs."""
MAX_SIDE = 65_535
"""Pixels of the longer side, as JPEG has at most; Pillow cannot scale lines of some million pixels."""
MAX_FILE_BYTES = 200_000_000
"""66 megapixels without compression."""
MAX_SECONDS = 5.0
"""Processor time for decoding one picture."""
MAX_EXTRA_BYTES = 500_000_000
"""Memory for decoding one picture, beside its pixels."""
VERSION = 2
"""Raise it when the same file gives other pixels, so that cached images are made again."""

_HEAD_BYTES = 16
_SMALL_BYTES = 2**16  # of a file, and of its pixels: no decoder asks twice for so few, and none takes long
_NOBODY_WAITS = "nobody waits for it"
_SECONDS_PER_PIXEL = 2.2e-8  # to RGB, and to a square


def _never() -> bool:
    return False


def decode(
    source: Path | bytes, is_stopped: Callable[[], bool] = _never
) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Read one picture.

    16-bit grey is scaled to 8 bits (value / 257, rounded); of an animation or a multi-page file the first
    picture is read. Size and cost are judged before any pixel is decoded: a picture that may need more than
    `MAX_SECONDS` of processor time, or `MAX_EXTRA_BYTES` beside its pixels, is refused.

    Args:
        is_stopped: asked now and then whether nobody waits for the picture any more.

    Returns:
        (uint8 (height, width, 3), warnings of one line each).

    Raises:
        UnusableImageError: the reason, without the path.
    """
    image_format, parts = _parts(source)
    _check(parts)
    try:
        pixels = (
            ppm.pixels(parts.content) if image_format == "PPM" else _decoded(image_format, parts, is_stopped)
        )
        pixels = upright(pixels, parts.orientation)
    except UnusableImageError:
        raise
    except MemoryError:
        raise TooLargeImageError("not enough memory to decode it; scale it down") from None
    except UnidentifiedImageError:
        raise UnusableImageError(f"damaged or cut short: its {image_format} data cannot be read") from None
    except Exception as error:  # Pillow's readers raise whatever broken bytes lead them to
        reason = " ".join(str(error).split()) or type(error).__name__
        if reason.startswith("decoder error"):  # a number of libtiff's
            reason = f"its {image_format} data cannot be decoded"
        raise UnusableImageError(f"damaged or cut short: {reason}") from None
    return pixels, ("first of several pictures",) if parts.has_more else ()


@dataclass(frozen=True)
class Estimate:
    """What a file says about its picture, and what decoding it costs at most.

    Attributes:
        width, height: pixels, not turned upright.
        num_bytes: memory beside the pixels.
        seconds: processor time.
    """

    width: int
    height: int
    num_bytes: int
    seconds: float


def estimate(source: Path | bytes) -> Estimate:
    """Judge a picture without decoding it, whatever its cost.

    Raises:
        UnusableImageError: it is no picture, or its head is damaged.
    """
    return _estimate(_parts(source)[1])


def _parts(source: Path | bytes) -> tuple[str, Parts]:
    """Return the format of a picture, and those of its parts that pixels depend on."""
    content = source if isinstance(source, bytes) else _read(source)
    if not content:
        raise UnusableImageError("empty file")
    image_format = _format(content[:_HEAD_BYTES])
    readers = {
        "JPEG": jpeg.parts,
        "PNG": png.parts,
        "GIF": gif.parts,
        "BMP": bmp.parts,
        "WEBP": webp.parts,
        "TIFF": tiff.parts,
        "PPM": ppm.parts,
    }
    return image_format, readers[image_format](content)


def _check(parts: Parts) -> None:
    """Raise an error if decoding may cost more than its budget."""
    cost = _estimate(parts)
    size = f"{parts.width} × {parts.height} pixels"
    if parts.width * parts.height > MAX_PIXELS:
        raise TooLargeImageError(f"{size}, above the limit of {MAX_PIXELS}; scale it down")
    if max(parts.width, parts.height) > MAX_SIDE:
        raise TooLargeImageError(f"{size}, above the limit of {MAX_SIDE} on one side; scale it down")
    if cost.num_bytes > MAX_EXTRA_BYTES:
        needs = f"may need {cost.num_bytes / 1e6:.0f} MB of memory beside them"
        limit = f"above the limit of {MAX_EXTRA_BYTES / 1e6:.0f} MB; scale it down"
        raise TooLargeImageError(f"decoding its {size} {needs}, {limit}")
    if cost.seconds > MAX_SECONDS:
        raise _too_slow(f"may need {cost.seconds:.0f} s", parts)


def _estimate(parts: Parts) -> Estimate:
    num_pixels = parts.width * parts.height
    decoded = parts.pixel_bytes * num_pixels
    # RGB pixels are there once decoding is over.
    num_bytes = len(parts.content) + max(parts.working_bytes + decoded - 3 * num_pixels, decoded)
    return Estimate(parts.width, parts.height, num_bytes, parts.seconds + num_pixels * _SECONDS_PER_PIXEL)


def _too_slow(needs: str, parts: Parts) -> TooLargeImageError:
    size = f"decoding its {parts.width} × {parts.height} pixels {needs} of processor time"
    return TooLargeImageError(
        f"{size}, above the limit of {MAX_SECONDS:.0f} s; save it again in a simpler form"
    )


def _read(path: Path) -> bytes:
    """Read a file whose first bytes are those of a picture."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise UnusableImageError("cannot be read: neither a file nor a link to one")
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 half the time of `Path.open`
            head = file.read(_HEAD_BYTES)
            if head:
                _format(head)
            num_bytes = os.fstat(file.fileno()).st_size
            if num_bytes > MAX_FILE_BYTES:
                size = f"a file of {num_bytes / 1e6:.0f} MB"
                raise TooLargeImageError(
                    f"{size}, above the limit of {MAX_FILE_BYTES / 1e6:.0f} MB; scale it down"
                )
            parts = [head]
            while part := file.read(max(0, num_bytes - sum(map(len, parts)))):
                parts.append(part)
            return b"".join(parts)
    except UnusableImageError:
        raise
    except MemoryError:
        raise TooLargeImageError("not enough memory to read it; scale it down") from None
    except (OSError, ValueError) as error:  # no path has a NUL
        raise UnusableImageError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _format(head: bytes) -> str:
    starts: dict[str, bytes | tuple[bytes, ...]] = {
        "JPEG": jpeg.MAGIC, "PNG": png.MAGIC, "GIF": gif.MAGIC, "BMP": bmp.MAGIC, "TIFF": tiff.MAGIC, "PPM": ppm.MAGIC,
    }  # fmt: skip
    for name, start in starts.items():
        if head.startswith(start):
            return name
    if webp.is_webp(head):
        return "WEBP"
    if head.startswith((b"PF", b"Pf")):
        raise UnusableImageError("floating-point pixels have no known range; save it as an 8-bit image")
    raise UnusableImageError(f"no image in one of the formats {', '.join(FORMATS)}")


@dataclass(frozen=True)
class _Watch:
    """Ends decoding when nobody waits for it, or when it has taken too long, in case the estimate was wrong."""

    parts: Parts
    is_stopped: Callable[[], bool]
    end: float

    def check(self) -> None:
        """Raise an error if decoding should end now."""
        if self.is_stopped():
            raise UnusableImageError(_NOBODY_WAITS)
        if time.thread_time() > self.end:
            raise _too_slow("needs more", self.parts)


class _WatchedFile(io.BytesIO):
    """A file that is watched whenever a decoder asks for more of it, which most do for every 64 kB."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__(watch.parts.content)
        self._watch = watch

    def read(self, size: int | None = -1, /) -> bytes:
        self._watch.check()
        return super().read(size)


def _decoded(
    image_format: str, parts: Parts, is_stopped: Callable[[], bool] = _never
) -> npt.NDArray[np.uint8]:
    watch = _Watch(parts, is_stopped, time.thread_time() + MAX_SECONDS)
    is_small = max(len(parts.content), 3 * parts.width * parts.height) <= _SMALL_BYTES
    lower_bytes = None
    if parts.key is not None and len(parts.key) == 6:
        # Pillow keeps the upper byte of 16 bits; read as numbers of the other byte order, these are the lower ones.
        with Image.open(_WatchedFile(watch), formats=(image_format,)) as image:
            image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
            lower_bytes = is_colour(image, parts.key[3:])
    file = io.BytesIO(parts.content) if is_small else _WatchedFile(watch)
    with Image.open(file, formats=(image_format,)) as image:
        if image.size != (parts.width, parts.height):
            raise UnusableImageError(f"damaged or cut short: its size is not {parts.width} × {parts.height}")
        image.load()
        return to_rgb(image, parts.key, lower_bytes, watch.check)


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


def to_input(
    picture: Any,
    image_shape: tuple[int, int, int],
    is_stopped: Callable[[], bool] = _never,
    fitting: Fit = "pad",
) -> npt.NDArray[np.uint8]:
    """Turn one picture into what a network of this `image_shape` takes.

    Args:
        picture: a path, the bytes of a file, a Pillow image, or an array or tensor as `adopt_dataset` takes them.
        image_shape: (channels, height, width).
        is_stopped: see `decode`.
        fitting: see `to_square`.

    Returns:
        uint8 (channels, height, width).

    Raises:
        UnusableImageError: a file cannot be used; the reason, without its path.
        DataError: a picture in memory cannot be used.
    """
    if isinstance(picture, str):
        picture = given_path(picture)
    if isinstance(picture, Path | bytes):
        pixels, _ = decode(picture, is_stopped)
        if is_stopped():
            raise UnusableImageError(_NOBODY_WAITS)
    elif isinstance(picture, Image.Image):
        try:
            picture.load()
            pixels = to_pixels(ImageOps.exif_transpose(picture))
        except OSError as error:  # Pillow reads a file when its pixels are first asked for
            raise DataError(f"damaged or cut short: {error}") from None
    else:
        pixels = to_pixels(picture)
    return fit(pixels, image_shape, fitting)


def fit(
    pixels: npt.NDArray[np.uint8], image_shape: tuple[int, int, int], fitting: Fit = "pad"
) -> npt.NDArray[np.uint8]:
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
        fitted = to_square(pixels, height, fitting)
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
