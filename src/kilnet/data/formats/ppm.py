"""PBM, PGM and PPM, which Pillow decodes in Python where values are not 0 to 255."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from kilnet.data.formats.parts import Parts, damaged
from kilnet.errors import UnusableImageError

MAGIC = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
_CHANNELS = {b"P1": 1, b"P2": 1, b"P3": 3, b"P4": 1, b"P5": 1, b"P6": 3}
_PLAIN = (b"P1", b"P2", b"P3")
_BITS = (b"P1", b"P4")
_MAX_HEAD = 2**16
_MAX_PLAIN = 2**26
_MAX_COMMENTS = 10_000
_MAX_DIGITS = 10
_ROWS_AT_A_TIME = 2**20  # values
_SPACE = b" \t\n\v\f\r"
_COMMENT = re.compile(rb"#[^\r\n]*")
_LONG_NUMBER = re.compile(rb"[0-9]{11}")
_SECONDS_PER_VALUE = 1e-8
_SECONDS_PER_PLAIN_BYTE = 6e-8


def parts(content: bytes) -> Parts:
    """Return size and cost of a PPM file (https://netpbm.sourceforge.net/doc/ppm.html).

    Raises:
        UnusableImageError: its head is damaged or too long.
    """
    (width, height, _), _ = _head(content)
    kind = content[:2]
    num_values = width * height * _CHANNELS[kind]
    is_plain = kind in _PLAIN
    return Parts(
        width=width,
        height=height,
        content=content,
        pixel_bytes=0,
        # Plain numbers of 64 bits, beside the text without its comments.
        working_bytes=2 * len(content) + 8 * num_values if is_plain else 0,
        seconds=num_values * _SECONDS_PER_VALUE + (len(content) * _SECONDS_PER_PLAIN_BYTE if is_plain else 0),
    )


def pixels(content: bytes) -> npt.NDArray[np.uint8]:
    """Return the pixels, uint8 (height, width, 3), with values scaled to 255 and rounded.

    Raises:
        UnusableImageError: the file is damaged, cut short, or too long for text.
    """
    (width, height, maxval), at = _head(content)
    kind = content[:2]
    channels = _CHANNELS[kind]
    shape = (height, width, channels)
    if kind in _PLAIN:
        values = _plain(content, at, height * width * channels, kind in _BITS).reshape(shape)
    elif kind in _BITS:
        row_bytes = (width + 7) // 8
        values = np.unpackbits(_raster(content, at, (height, row_bytes), "u1"), axis=1)[:, :width, None]
    else:
        values = _raster(content, at, shape, "u1" if maxval < 256 else ">u2")
    if kind in _BITS:
        table = np.array([255, 0], np.uint8)
    else:
        table = ((2 * 255 * np.arange(maxval + 1) + maxval) // (2 * maxval)).astype(np.uint8)
    found = np.empty((height, width, 3), np.uint8)
    rows = max(1, _ROWS_AT_A_TIME // (width * channels))
    for top in range(0, height, rows):
        part = values[top : top + rows]
        found[top : top + rows] = (
            part if maxval == 255 and part.dtype == np.uint8 else table.take(part, mode="clip")
        )
    return found


def _head(content: bytes) -> tuple[tuple[int, int, int], int]:
    """Return width, height and the largest value, and where the pixels begin."""
    numbers: list[int] = []
    digits = b""
    head = content[:_MAX_HEAD]
    at = 2
    while len(numbers) < (2 if content[:2] in _BITS else 3):
        if at >= len(head):
            raise damaged(
                "no end of its head" if len(content) < _MAX_HEAD else f"a head of over {_MAX_HEAD} bytes"
            )
        if head[at] == ord("#"):  # to the end of the line, which ends a number too
            comment = _COMMENT.match(head, at)
            at = comment.end() + 1 if comment else at
        elif head[at : at + 1].isdigit() and len(digits) < _MAX_DIGITS:
            digits += head[at : at + 1]
            at += 1
            continue
        elif head[at] not in _SPACE:
            raise damaged("its head is no list of numbers")
        else:
            at += 1
        if digits:
            numbers.append(int(digits))
            digits = b""
    width, height, maxval = (*numbers, 1)[:3]
    if not width or not height or not 1 <= maxval <= 65535:
        raise damaged(f"size {width} × {height}, values up to {maxval}")
    return (width, height, maxval), at


def _raster(content: bytes, at: int, shape: tuple[int, ...], kind: str) -> npt.NDArray[Any]:
    num_values = int(np.prod(shape, dtype=np.int64))
    if len(content) - at < num_values * np.dtype(kind).itemsize:
        raise damaged("fewer pixels than its head says")
    return np.frombuffer(content, kind, num_values, at).reshape(shape)


def _plain(content: bytes, at: int, num_values: int, are_bits: bool) -> npt.NDArray[Any]:
    if len(content) > _MAX_PLAIN:
        raise UnusableImageError(f"more than {_MAX_PLAIN >> 20} MiB of text; save it as a binary PPM (P6)")
    text = content[at:]
    if b"#" in text:
        if text.count(b"#") > _MAX_COMMENTS:
            raise damaged(f"more than {_MAX_COMMENTS} comments; save it again")
        text = _COMMENT.sub(b" ", text)
    if are_bits:
        digits = text.translate(None, _SPACE)
        if digits[:num_values].translate(None, b"01"):
            raise damaged("a pixel that is neither 0 nor 1")
        if len(digits) < num_values:
            raise damaged("fewer pixels than its head says")
        return np.frombuffer(digits, np.uint8, num_values).astype(np.int64) - ord("0")
    if text.translate(None, _SPACE + b"0123456789") or _LONG_NUMBER.search(text):
        raise damaged("a value that is no number of at most 10 digits")
    is_digit = np.frombuffer(text, np.uint8) >= ord("0")
    if np.count_nonzero(is_digit[1:] & ~is_digit[:-1]) + is_digit[:1].sum() < num_values:
        raise damaged("fewer pixels than its head says")
    return np.fromstring(text.decode(), np.int64, num_values, sep=" ")
