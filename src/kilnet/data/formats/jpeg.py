"""JPEG: segments that pixels do not depend on are left out, and scans are counted before any is decoded."""

import re
from dataclasses import dataclass

from kilnet.data.formats.orientation import orientation
from kilnet.data.formats.parts import Parts, damaged
from kilnet.errors import UnusableImageError

MAGIC = b"\xff\xd8\xff"
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_FILL = re.compile(rb"\xff{2,}")
_MAX_SEGMENTS = 20_000
_SCAN, _END, _HUFFMAN_FRAMES = 0xDA, 0xD9, (0xC0, 0xC1, 0xC2)
_OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
_TABLES = (0xC4, 0xDB, 0xDD)  # Huffman codes, quantisation, restarts
_BARE = (0x01, *range(0xD0, 0xD9))  # without a body
_SECONDS_PER_BLOCK = 1e-7  # of 64 samples: dequantised, transformed, upsampled
_SECONDS_PER_VISIT = 4e-8  # of a block in one of several scans
_SECONDS_PER_BYTE, _SECONDS_PER_PROGRESSIVE_BYTE = 1.6e-8, 6e-8  # of entropy-coded data


@dataclass(frozen=True)
class _Frame:
    """The frame header: `blocks` are those of each component, by its identifier."""

    width: int
    height: int
    blocks: dict[int, int]
    is_progressive: bool


def parts(content: bytes) -> Parts:
    """Return what the pixels of a JPEG file depend on (ITU-T T.81, annex B).

    Raises:
        UnusableImageError: it is damaged, of a rare kind, or has too many segments.
    """
    view = memoryview(content)
    kept: list[bytes | memoryview] = [MAGIC[:2]]
    exif, xmp, frame, at, visits = b"", b"", None, 2, 0
    for _ in range(_MAX_SEGMENTS):
        marker = _MARKER.search(content, at)
        if marker is None:
            break
        code, at = content[marker.end() - 1], marker.end()
        if code == _END:
            kept.append(view[marker.start() : at])
            break
        if code in _BARE:
            continue
        end = at + int.from_bytes(content[at : at + 2])
        if end < at + 2 or end > len(content):
            raise damaged("a segment ends after the file")
        body = view[at + 2 : end]
        name = bytes(body[:6])
        if code in _OTHER_FRAMES:
            raise UnusableImageError(
                f"a rare kind of JPEG (marker FF{code:02X}) that is not read; save it again"
            )
        if code in _HUFFMAN_FRAMES:
            if frame is not None:
                raise damaged("two frames")
            frame = _frame(body, code == 0xC2)
        if code in (*_HUFFMAN_FRAMES, *_TABLES, _SCAN) or (
            # These two say what the colours are.
            (code == 0xE0 and name[:4] == b"JFIF") or (code == 0xEE and name[:5] == b"Adobe")
        ):
            kept += [view[marker.start() : end]]
        elif code == 0xE1 and name == b"Exif\0\0":
            exif = exif or bytes(body[6:])
        elif code == 0xE1 and name == b"http:/":
            xmp = xmp or bytes(body)
        at = end
        if code == _SCAN:
            if frame is None:
                raise damaged("a scan before the frame")
            components = body[1 : 1 + 2 * body[0] : 2] if body else b""
            visits += sum(frame.blocks.get(component, 0) for component in components)
            if not frame.is_progressive and len(components) == len(frame.blocks):
                kept.append(_without_fill(view[at:]))  # a decoder does not look for more scans
                break
            following = _MARKER_IN_SCAN.search(content, at)
            at = len(content) if following is None else following.start()
            kept.append(_without_fill(view[end:at]))
    else:
        raise damaged(f"more than {_MAX_SEGMENTS} segments; save it again")
    if frame is None or not visits:
        raise damaged("no scan")
    num_blocks = sum(frame.blocks.values())
    is_in_one_scan = not frame.is_progressive and visits == num_blocks
    stripped = b"".join(kept)
    seconds = num_blocks * _SECONDS_PER_BLOCK
    if is_in_one_scan:
        seconds += len(stripped) * _SECONDS_PER_BYTE
    else:
        seconds += len(stripped) * _SECONDS_PER_PROGRESSIVE_BYTE + visits * _SECONDS_PER_VISIT
    return Parts(
        width=frame.width,
        height=frame.height,
        content=stripped,
        orientation=orientation(exif, xmp),
        pixel_bytes=1 if len(frame.blocks) == 1 else 4,
        working_bytes=0 if is_in_one_scan else 128 * num_blocks,  # all coefficients, of 16 bits
        seconds=seconds,
    )


def _frame(body: memoryview, is_progressive: bool) -> _Frame:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise damaged("a short frame header")
    height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
    factors = {body[i]: (body[i + 1] >> 4, body[i + 1] & 15) for i in range(6, 6 + 3 * body[5], 3)}
    if body[0] != 8 or len(factors) not in (1, 3, 4) or len(factors) != body[5]:
        raise damaged(f"{body[0]} bits per sample, {body[5]} components")
    if not all(1 <= factor <= 4 for pair in factors.values() for factor in pair) or not width * height:
        raise damaged("sampling factors or size")
    across, down = (max(pair[axis] for pair in factors.values()) for axis in (0, 1))
    columns, rows = -(-width // (8 * across)), -(-height // (8 * down))
    blocks = {identifier: columns * pair[0] * rows * pair[1] for identifier, pair in factors.items()}
    return _Frame(width, height, blocks, is_progressive)


def _without_fill(entropy_coded: memoryview) -> bytes | memoryview:
    # libjpeg goes through a run of fill bytes again whenever it is given more of it.
    data = bytes(entropy_coded)
    return _FILL.sub(b"\xff", data) if b"\xff\xff" in data else entropy_coded
