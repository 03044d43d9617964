import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from kilnet.data.formats.orientation import orientation, upright


def exif(*entries, order="<"):
    """EXIF data of one directory; an entry is (tag, type, count, four bytes)."""
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    packed = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries)
    return start + struct.pack(order + "H", len(entries)) + packed + bytes(4)


@pytest.mark.parametrize("turn", range(1, 9))
def test_each_orientation_is_as_pillow_turns_it(turn):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = turn
    np.testing.assert_array_equal(upright(pixels, turn), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (exif((0x0112, 3, 1, b"\6\0\0\0")), 6),
        (exif((0x0112, 3, 1, b"\0\6\0\0"), order=">"), 6),
        (exif((0x0112, 4, 1, b"\0\0\0\6"), order=">"), 6),
        (exif((0x0112, 1, 1, b"\6\0\0\0")), 6),
        (exif((0x010F, 2, 4, b"abc\0"), (0x0112, 3, 1, b"\3\0\0\0")), 3),
        (exif((0x0112, 3, 1, b"\0\0\0\0")), 1),
        (exif((0x0112, 3, 1, b"\x09\0\0\0")), 1),
        (exif((0x0112, 2, 1, b"6\0\0\0")), 1),
        (exif((0x010F, 2, 4, b"abc\0")), 1),
        (exif((0x0112, 3, 1, b"\6\0\0\0"))[:-10], 1),
        (b"II*\0\xff\xff\xff\xff", 1),
        (b"II*\0\x08\0\0\0\xff\xff", 1),
        (b"", 1),
        (b"no EXIF", 1),
    ],
)
def test_the_tag_is_found_or_it_is_upright(data, expected):
    assert orientation(data) == expected


def test_exif_comes_before_xmp():
    xmp = b'<rdf:Description tiff:Orientation="8"/>'
    assert orientation(b"", xmp) == 8
    assert orientation(exif((0x010F, 2, 4, b"abc\0")), xmp) == 8
    assert orientation(exif((0x0112, 3, 1, b"\1\0\0\0")), xmp) == 1
    assert orientation(b"", b"<tiff:Orientation>3</tiff:Orientation>") == 3
    assert orientation(b"", b'tiff:Orientation="9"') == 1
