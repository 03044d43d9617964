"""GIF: the first frame alone, without comments and other extensions."""

import struct

from kilnet.data.formats.parts import Parts, damaged

MAGIC = (b"GIF87a", b"GIF89a")
_MAX_BLOCKS = 1_000_000  # 255 MB in blocks of the usual size
_EXTENSION, _FRAME, _CONTROL = 0x21, 0x2C, 0xF9
_SECONDS_PER_PIXEL = 1e-8
_SECONDS_PER_BYTE = 2e-8


def parts(content: bytes) -> Parts:
    """Return what the first frame of a GIF file depends on (GIF89a, CompuServe, 1990).

    Raises:
        UnusableImageError: it has no frame, or too many blocks.
    """
    if len(content) < 13:
        raise damaged("no frame")
    at = 13 + _palette_bytes(content[10])
    kept, blocks_left = [content[:at]], _MAX_BLOCKS
    control = b""
    while content[at : at + 1] == bytes([_EXTENSION]):
        end, blocks_left = _after_blocks(content, at + 2, blocks_left)
        if content[at + 1 : at + 2] == bytes([_CONTROL]):
            control = content[at:end]
        at = end
    if content[at : at + 1] != bytes([_FRAME]) or at + 10 > len(content):
        raise damaged("no frame")
    left, top, width, height, flags = struct.unpack("<HHHHB", content[at + 1 : at + 10])
    screen_width, screen_height = struct.unpack("<HH", content[6:10])
    data = at + 10 + _palette_bytes(flags) + 1
    end, blocks_left = _after_blocks(content, data, blocks_left)
    kept += [control, content[at:end], b";"]
    following = end
    while content[following : following + 1] == bytes([_EXTENSION]) and blocks_left > 1:
        following, blocks_left = _after_blocks(content, following + 2, blocks_left)
    width, height = max(screen_width, left + width), max(screen_height, top + height)
    stripped = b"".join(kept)
    return Parts(
        width=width,
        height=height,
        content=stripped,
        has_more=content[following : following + 1] == bytes([_FRAME]),
        pixel_bytes=1,
        seconds=width * height * _SECONDS_PER_PIXEL + len(stripped) * _SECONDS_PER_BYTE,
    )


def _palette_bytes(flags: int) -> int:
    return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0


def _after_blocks(content: bytes, at: int, blocks_left: int) -> tuple[int, int]:
    """Return where blocks end, and how many more may be gone through."""
    while at < len(content) and (size := content[at]):
        at += 1 + size
        blocks_left -= 1
        if blocks_left <= 0:
            raise damaged(f"more than {_MAX_BLOCKS} blocks; save it again")
    return min(at + 1, len(content)), blocks_left - 1
