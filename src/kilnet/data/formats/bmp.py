"""BMP: its size, and what its runs cost, which Pillow decodes in Python."""

import struct

from kilnet.data.formats.parts import Parts, damaged

MAGIC = b"BM"
_RUNS = (1, 2)  # compressions RLE8 and RLE4
_SECONDS_PER_PIXEL = 8e-9
_SECONDS_PER_PIXEL_OF_RUNS = 1.5e-7
_SECONDS_PER_BYTE_OF_RUNS = 1e-6


def parts(content: bytes) -> Parts:
    """Return the size and the cost of a BMP file.

    Raises:
        UnusableImageError: its head is cut short.
    """
    head_bytes = int.from_bytes(content[14:18], "little")
    if len(content) < 34:
        raise damaged("no head")
    if head_bytes == 12:
        width, height = struct.unpack("<HH", content[18:22])
        bits, compression = int.from_bytes(content[24:26], "little"), 0
    else:
        width, height, _, bits, compression = struct.unpack("<iiHHI", content[18:34])
    width, height = abs(width), abs(height)
    seconds = width * height * _SECONDS_PER_PIXEL
    if compression in _RUNS:
        seconds += width * height * _SECONDS_PER_PIXEL_OF_RUNS + len(content) * _SECONDS_PER_BYTE_OF_RUNS
    return Parts(
        width=width,
        height=height,
        content=content,
        pixel_bytes=4 if bits > 8 else 1,
        working_bytes=2 * width * height if compression in _RUNS else 0,
        seconds=seconds,
    )
