import struct

import numpy as np
import pytest
from PIL import Image

from kilnet.data.decode import decode
from kilnet.data.formats import bmp
from kilnet.errors import UnusableImageError
from odd_pictures import saved

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def eight_bits(compression, data):
    """Return a BMP of 4 x 2 pixels, 8 bits each, whose palette is a ramp of greys."""
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 8, compression, len(data), 0, 0, 256, 0)
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + palette + data


def test_size_and_pixels_of_a_file_of_colours():
    content = saved(Image.fromarray(PIXELS), "BMP")
    found = bmp.parts(content)
    assert (found.width, found.height, found.content, found.pixel_bytes) == (7, 5, content, 4)
    np.testing.assert_array_equal(decode(content)[0], PIXELS)


def test_a_negative_height_is_a_picture_from_the_top():
    content = bytearray(saved(Image.fromarray(PIXELS), "BMP"))
    content[22:26] = struct.pack("<i", -5)
    assert bmp.parts(bytes(content)).height == 5
    np.testing.assert_array_equal(decode(bytes(content))[0], PIXELS[::-1])


def test_the_short_head_of_os_2_has_sizes_of_16_bits():
    row = PIXELS[0, :4, ::-1].tobytes()  # blue first; 12 bytes need no padding
    head = struct.pack("<IHHHH", 12, 4, 1, 1, 24)
    content = b"BM" + struct.pack("<IHHI", 26 + len(row), 0, 0, 26) + head + row
    assert (bmp.parts(content).width, bmp.parts(content).height) == (4, 1)
    np.testing.assert_array_equal(decode(content)[0], PIXELS[:1, :4])


def test_runs_are_decoded_and_cost_more_than_plain_pixels():
    plain = eight_bits(0, bytes([9, 9, 9, 9, 1, 1, 5, 5]))
    runs = eight_bits(1, bytes([4, 9, 0, 0, 2, 1, 2, 5, 0, 1]))
    np.testing.assert_array_equal(decode(runs)[0], decode(plain)[0])
    assert bmp.parts(runs).seconds > 10 * bmp.parts(plain).seconds
    assert bmp.parts(runs).working_bytes == 16


def test_a_head_that_is_cut_short_is_refused():
    with pytest.raises(UnusableImageError, match="cut short: no head"):
        bmp.parts(saved(Image.fromarray(PIXELS), "BMP")[:33])
