"""PNG: chunks that pixels do not depend on are left out, so that their length and their faults do not matter."""

import struct
import zlib
from contextlib import suppress

from kilnet.data.formats.orientation import orientation
from kilnet.data.formats.parts import Parts, damaged

MAGIC = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_MAX_CHUNKS = 100_000
_MAX_TEXT = 2**20
_EXIF_AS_TEXT = b"Raw profile type exif"  # ImageMagick before PNG had eXIf
_XMP = b"XML:com.adobe.xmp"
_SECONDS_PER_BYTE = 6e-9  # of the rows; on machine A of docs/results.md in a slow moment
_SECONDS_PER_PACKED_BYTE = 8e-9
_SECONDS_PER_INTERLACED_PIXEL = 2e-8


def parts(content: bytes) -> Parts:
    """Return what the pixels of a PNG file depend on (PNG, third edition, 2025).

    Raises:
        UnusableImageError: a chunk that the pixels depend on is damaged, or there are too many chunks.
    """
    view = memoryview(content)
    chunks: dict[bytes, memoryview] = {}
    data: list[memoryview] = []
    exif, xmp, at, is_open = b"", b"", len(MAGIC), True
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(content):
            break
        length, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        body = view[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            if is_open:
                data.append(body)
        elif kind in (b"IHDR", b"PLTE", b"tRNS"):
            if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(
                content[at + 8 + length : at + 12 + length]
            ):
                raise damaged(f"wrong checksum of {kind.decode()}")
            chunks.setdefault(kind, body)
        elif kind == b"IEND":
            break
        elif kind == b"eXIf":
            exif = bytes(body[:_MAX_TEXT])
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            text = _text(kind, body)
            if text.startswith(_EXIF_AS_TEXT):
                exif = exif or _unwrapped(text)
            elif text.startswith(_XMP):
                xmp = text
        elif kind == b"acTL":
            chunks[kind] = body
        is_open = kind == b"IDAT" or not data
        at += 12 + length
    else:
        raise damaged(f"more than {_MAX_CHUNKS} chunks; save it again")
    width, height, depth, colour, interlaced = _head(chunks.get(b"IHDR", view[:0]))
    transparent = chunks.get(b"tRNS")
    key: tuple[int, ...] | None = None
    if transparent is not None and colour in (0, 2):
        num_samples = _CHANNELS[colour]
        if len(transparent) < 2 * num_samples:
            raise damaged("a short tRNS")
        samples = struct.unpack(f">{num_samples}H", transparent[: 2 * num_samples])
        if depth < 16:  # Pillow scales samples to 8 bits; bits above `depth` do not count
            key = tuple((sample & (2**depth - 1)) * (255 // (2**depth - 1)) for sample in samples)
        elif colour == 2:
            key = tuple(sample >> 8 for sample in samples) + tuple(sample & 255 for sample in samples)
        else:
            key = samples
    kept = [_chunk(b"IHDR", chunks[b"IHDR"])]
    if colour == 3:
        kept += [_chunk(kind, chunks[kind]) for kind in (b"PLTE", b"tRNS") if kind in chunks]
    row_bytes = 1 + (width * depth * _CHANNELS[colour] + 7) // 8
    packed_bytes = sum(map(len, data))
    passes = 2 if key is not None and len(key) == 6 else 1
    seconds = passes * (height * row_bytes * _SECONDS_PER_BYTE + packed_bytes * _SECONDS_PER_PACKED_BYTE)
    seconds += passes * bool(interlaced) * width * height * _SECONDS_PER_INTERLACED_PIXEL
    return Parts(
        width=width,
        height=height,
        content=b"".join([MAGIC, *kept, _chunk(b"IDAT", *data), _chunk(b"IEND", b"")]),
        orientation=orientation(exif, xmp),
        has_more=int.from_bytes(chunks.get(b"acTL", b"")[:4]) > 1,
        pixel_bytes=(1 if colour == 3 or (colour == 0 and depth < 16) else 2 if colour == 0 else 4)
        + (key is not None),
        seconds=seconds,
        key=key,
    )


def _head(body: memoryview) -> tuple[int, int, int, int, int]:
    if len(body) < 13:
        raise damaged("no IHDR")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body[:13])
    if depth not in _DEPTHS.get(colour, ()):
        raise damaged(f"no PNG has {depth} bits with colour type {colour}")
    return width, height, depth, colour, interlaced


def _chunk(kind: bytes, *bodies: bytes | memoryview) -> bytes:
    checksum = zlib.crc32(kind)
    for body in bodies:
        checksum = zlib.crc32(body, checksum)
    return b"".join([struct.pack(">I", sum(map(len, bodies))), kind, *bodies, struct.pack(">I", checksum)])


def _text(kind: bytes, body: memoryview) -> bytes:
    """Return keyword and text, or nothing if it cannot say which way up the picture is."""
    start = bytes(body[:80])
    keyword = start.partition(b"\0")[0]
    if keyword not in (_EXIF_AS_TEXT, _XMP):
        return b""
    rest = bytes(body[len(keyword) + 1 : len(keyword) + 1 + _MAX_TEXT])
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].split(b"\0", 2)[-1]
    elif packed:
        rest = rest[1:]
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, _MAX_TEXT)
        except zlib.error:
            return b""
    return keyword + b"\0" + rest


def _unwrapped(text: bytes) -> bytes:
    """Return EXIF data that stands in a text as hexadecimal digits, after three lines."""
    with suppress(ValueError):
        return bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:])).removeprefix(b"Exif\0\0")
    return b""
