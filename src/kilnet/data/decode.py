"""One image file -> uint8 RGB pixels, or the reason why not.

What makes a file an image is its content, never its name. JPEG, PNG, GIF, BMP, WebP, TIFF and PPM are read.
EXIF orientation is applied; transparency is laid on white; every colour mode becomes 8-bit RGB.
"""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from kilnet.errors import UnusableImageError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 2**30 // 4 // 3
"""89 megapixels, a quarter of a GiB as RGB: where Pillow itself begins to warn of decompression bombs."""
VERSION = 1
"""Raise it when the same file gives other pixels, so that cached images are made anew."""


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
            goes_on = image.format not in ("JPEG", "MPO") and getattr(image, "is_animated", False)
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
    return pixels, ("first of several pictures",) if goes_on else ()


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
