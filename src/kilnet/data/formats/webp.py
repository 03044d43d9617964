"""WebP: the first frame alone, without metadata."""

import struct

from kilnet.data.formats.orientation import orientation
from kilnet.data.formats.parts import Parts, damaged

_MAX_CHUNKS = 100_000
_ALPHA, _ANIMATION = 0x10, 0x02
# Pillow's decoder keeps two canvases of 4 bytes per pixel, and gives its pixels as bytes (libwebp, anim_decode.c).
_WORKING_BYTES_PER_PIXEL = 12
_SECONDS_PER_PIXEL = 6e-8
_SECONDS_PER_BYTE = 5e-8


def is_webp(head: bytes) -> bool:
    """Return whether a file is WebP, as its first 12 bytes say."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def parts(content: bytes) -> Parts:
    """Return what the first frame of a WebP file depends on (RFC 9649).

    Raises:
        UnusableImageError: it is damaged, or has too many chunks.
    """
    kept: list[bytes] = []
    size: tuple[int, int] | None = None
    at, num_frames, exif, xmp = 12, 0, b"", b""
    for _ in range(_MAX_CHUNKS):
        kind, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if len(kind) < 4:
            break
        chunk = content[at : at + 8 + length + length % 2]
        at += 8 + length + length % 2
        if kind in (b"VP8X", b"VP8 ", b"VP8L"):
            size = size or _size(kind, chunk[8:18])
            num_frames += kind != b"VP8X"
        if kind == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & (_ALPHA | _ANIMATION)]) + chunk[9:]
        elif kind == b"ANMF":
            num_frames += 1
        if kind in (b"VP8X", b"ANIM", b"ALPH") or (kind in (b"VP8 ", b"VP8L", b"ANMF") and num_frames == 1):
            kept.append(chunk)
        elif kind == b"EXIF":
            exif = chunk[8:].removeprefix(b"Exif\0\0")
        elif kind == b"XMP ":
            xmp = chunk[8:]
    if size is None:
        raise damaged("no frame")
    stripped = b"WEBP" + b"".join(kept)
    width, height = size
    return Parts(
        width=width,
        height=height,
        content=b"RIFF" + struct.pack("<I", len(stripped)) + stripped,
        orientation=orientation(exif, xmp),
        has_more=num_frames > 1,
        pixel_bytes=4,
        working_bytes=width * height * _WORKING_BYTES_PER_PIXEL,
        seconds=width * height * _SECONDS_PER_PIXEL + len(stripped) * _SECONDS_PER_BYTE,
    )


def _size(kind: bytes, head: bytes) -> tuple[int, int]:
    if len(head) < 10 and (kind != b"VP8L" or len(head) < 5):
        raise damaged("a short frame")
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return 1 + bits % 2**14, 1 + (bits >> 14) % 2**14
    return int.from_bytes(head[6:8], "little") % 2**14, int.from_bytes(head[8:10], "little") % 2**14
