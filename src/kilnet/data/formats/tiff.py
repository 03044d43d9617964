"""TIFF: the first page with the tags that its pixels depend on, and what its strips or tiles cost."""

import ctypes
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import prod

from PIL import _imaging

from kilnet.data.formats.parts import Parts, damaged

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _NUM_SAMPLES, _ROWS, _PLANES = 256, 257, 258, 259, 277, 278, 284
_STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 273, 279, 322, 323, 324, 325
_ORIENTATION = 274
# Those above, and: meaning of samples, bit order, fax options, predictor, palette, inks, extra samples, sample format,
# JPEG tables (also those of TIFF 6.0's first form), YCbCr.
_TAGS = {
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _NUM_SAMPLES, _ROWS, _PLANES),
    *(_STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES),
    *(262, 266, 292, 293, 317, 320, 332, 334, 338, 339, 347, *range(512, 522), 529, 530, 531, 532),
}
_VALUE_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    18: 8,
}
_MAX_ENTRIES = 4096
_MAX_VALUES = 200_000  # of one tag: a palette of 16 bits has 3 * 65536
_MAX_STRIPS = 2**16
_JPEG, _FAX = (6, 7), (2, 3, 4)
# Of the rows, by compression; others, among them LZMA and WebP, cost most.
_SECONDS_PER_BYTE = {1: 4e-9, 5: 1e-8, 6: 2e-8, 7: 2e-8, 8: 8e-9, 32946: 8e-9, 32773: 8e-9, 50000: 8e-9}
_MOST_SECONDS_PER_BYTE = 6e-8
_SECONDS_PER_PIXEL = 1e-8
_SECONDS_PER_STRIP = 2e-5
_SECONDS_PER_SCAN_AND_SAMPLE = 6e-10


@dataclass(frozen=True)
class _Directory:
    """The first page: its tags as they lie in the file, where they begin and end, and where the next page is."""

    order: str
    is_big: bool
    start: int
    end: int
    following: int
    entries: dict[int, bytes]

    @property
    def wide(self) -> str:
        """The letter of a count or an offset, for `struct`."""
        return "Q" if self.is_big else "I"

    def numbers(self, content: bytes, tag: int) -> Sequence[int]:
        """Return the whole numbers of a tag, none if it is missing."""
        entry = self.entries.get(tag)
        if entry is None:
            return ()
        kind, count, at = struct.unpack(f"{self.order}2xH{2 * self.wide}", entry)
        size = count * _VALUE_BYTES.get(kind, 0)
        value = entry[-struct.calcsize(self.wide) :]
        if size > len(value):
            value = content[at : at + size]
        letter = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(kind)
        if letter is None:
            raise damaged(f"tag {tag} has values of type {kind}")
        return struct.unpack(f"{self.order}{count}{letter}", value[:size])

    def number(self, content: bytes, tag: int, default: int) -> int:
        """Return the first number of a tag."""
        return next(iter(self.numbers(content, tag)), default)


def parts(content: bytes) -> Parts:
    """Return what the first page of a TIFF file depends on (TIFF 6.0, Adobe, 1992; BigTIFF).

    Raises:
        UnusableImageError: it is damaged, or has too many tags or strips.
    """
    _silence()
    page = _directory(content)
    number = {
        tag: page.number(content, tag, 1) for tag in (_WIDTH, _HEIGHT, _COMPRESSION, _NUM_SAMPLES, _PLANES)
    }
    width, height, compression = number[_WIDTH], number[_HEIGHT], number[_COMPRESSION]
    if not width or not height or _WIDTH not in page.entries or _HEIGHT not in page.entries:
        raise damaged("no size")
    bits = max(page.numbers(content, _BITS) or (1,))
    samples = number[_NUM_SAMPLES]
    is_tiled = _TILES in page.entries
    if is_tiled:
        block = (page.number(content, _TILE_WIDTH, 0), page.number(content, _TILE_HEIGHT, 0))
    else:
        block = (width, min(page.number(content, _ROWS, 0) or height, height))
    if not all(block):
        raise damaged("tiles without a size")
    lengths = page.numbers(content, _TILE_BYTES if is_tiled else _STRIP_BYTES)
    num_blocks = -(-width // block[0]) * -(-height // block[1]) * (samples if number[_PLANES] == 2 else 1)
    if max(num_blocks, len(page.numbers(content, _TILES if is_tiled else _STRIPS))) > _MAX_STRIPS:
        raise damaged(f"more than {_MAX_STRIPS} strips or tiles; save it again")
    if compression != 1 and len(lengths) > 1 and sum(lengths) > 2 * len(content):
        raise damaged("strips or tiles lie over each other")
    block_bytes = prod(block) * samples * bits // 8
    raw_bytes = -(-width // block[0]) * -(-height // block[1]) * block_bytes
    seconds = _SECONDS_PER_BYTE.get(compression, _MOST_SECONDS_PER_BYTE) * raw_bytes
    seconds += width * height * _SECONDS_PER_PIXEL + num_blocks * _SECONDS_PER_STRIP
    if compression in _JPEG:
        num_scans = content.count(b"\xff\xda")
        seconds += num_scans / num_blocks * raw_bytes * _SECONDS_PER_SCAN_AND_SAMPLE
        block_bytes = max(block_bytes, 4 * prod(block))
    return Parts(
        width=width,
        height=height,
        content=_alone(content, page),
        orientation=turn if 1 <= (turn := page.number(content, _ORIENTATION, 1)) <= 8 else 1,
        has_more=0 < page.following < len(content) and page.following != page.start,
        pixel_bytes=4 if samples > 1 or bits > 16 else 2 if bits > 8 else 1,
        working_bytes=0 if compression == 1 and not is_tiled else block_bytes,
        seconds=seconds,
    )


def _directory(content: bytes) -> _Directory:
    order = "<" if content[:1] == b"I" else ">"
    is_big = content[:4] in MAGIC[2:]
    wide, count_format = ("Q", "Q") if is_big else ("I", "H")
    try:
        (start,) = struct.unpack_from(order + wide, content, 8 if is_big else 4)
        (count,) = struct.unpack_from(order + count_format, content, start)
        entry_format = f"{order}HH{2 * wide}"
        first, size = start + struct.calcsize(count_format), struct.calcsize(entry_format)
        if count > _MAX_ENTRIES:
            raise damaged(f"more than {_MAX_ENTRIES} tags; save it again")
        end = first + count * size
        (following,) = struct.unpack_from(order + wide, content, end)
    except (struct.error, OverflowError):  # an offset of 64 bits
        raise damaged("the list of tags ends after the file") from None
    entries: dict[int, bytes] = {}
    room = len(content)
    for at in range(first, end, size):
        tag, kind, num_values, value_at = struct.unpack_from(entry_format, content, at)
        if tag not in _TAGS and tag != _ORIENTATION:
            continue
        num_bytes = num_values * _VALUE_BYTES.get(kind, 0)
        if num_bytes > struct.calcsize(wide):
            room -= num_bytes
            if num_values > _MAX_VALUES or room < 0 or value_at + num_bytes > len(content):
                raise damaged(f"tag {tag} has {num_values} values")
        entries.setdefault(tag, content[at : at + size])
    return _Directory(order, is_big, start, end + struct.calcsize(wide), following, entries)


def _alone(content: bytes, page: _Directory) -> bytes:
    """Return the file with a shorter list of tags in place of its own, and without further pages."""
    kept = [entry for tag, entry in page.entries.items() if tag in _TAGS]
    count = struct.pack(page.order + ("Q" if page.is_big else "H"), len(kept))
    written = b"".join([count, *kept, bytes(struct.calcsize(page.wide))])
    view = memoryview(content)
    return b"".join([view[: page.start], written, view[page.start + len(written) :]])


@cache
def _silence() -> None:
    """Stop libtiff from writing to standard error; what is wrong with a file is in the exception of Pillow.

    The functions are found where Pillow's own library is linked with libtiff dynamically, as in its wheels for Linux
    and macOS.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            setter = getattr(library, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)
