from fractions import Fraction

import numpy as np
import pytest

from kilnet.data.decode import decode
from kilnet.errors import UnusableImageError
from odd_pictures import odd_pictures

RANDOM = np.random.default_rng(0)


def rounded(value, maxval):
    return int(Fraction(255 * int(value), maxval) + Fraction(1, 2))


@pytest.mark.parametrize("maxval", [1, 2, 31, 254, 255, 256, 1023, 4095, 65534, 65535])
@pytest.mark.parametrize(("kind", "channels"), [(2, 1), (3, 3), (5, 1), (6, 3)])
def test_values_are_scaled_by_their_largest_and_rounded(kind, channels, maxval):
    values = RANDOM.integers(0, maxval + 1, (4, 5, channels))
    values[0, 0], values[0, 1] = 0, maxval
    if kind < 4:
        data = b" ".join(b"%d" % value for value in values.flat)
    else:
        data = values.astype(">u2" if maxval > 255 else "u1").tobytes()
    pixels, _ = decode(b"P%d\n5 4\n%d\n" % (kind, maxval) + data)
    expected = np.vectorize(rounded)(values, maxval)
    np.testing.assert_array_equal(pixels, np.broadcast_to(expected, (4, 5, 3)))


def test_one_bit_is_black_where_it_is_set():
    pixels, _ = decode(b"P4 10 2\n" + bytes([0b10000000, 0b01000000, 0, 0b00111111]))
    expected = np.full((2, 10), 255)
    expected[0, [0, 9]] = 0
    np.testing.assert_array_equal(pixels[:, :, 0], expected)
    plain, _ = decode(b"P1 # a comment\n10 2\n1 00 0000001 0000000000")
    np.testing.assert_array_equal(plain, pixels)


def test_comments_stand_for_white_space():
    assert decode(odd_pictures()["ppm-comments"])[0].tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert decode(odd_pictures()["ppm-plain-comments"])[0][:, :, 0].tolist() == [[1, 2], [3, 4]]
    assert decode(b"P5 1 1 255#c\nx")[0][0, 0].tolist() == [120, 120, 120]


def test_many_rows_are_converted_in_parts():
    values = RANDOM.integers(0, 65536, (1500, 2000), dtype=np.uint16)
    pixels, _ = decode(b"P5 2000 1500 65535 " + values.astype(">u2").tobytes())
    np.testing.assert_array_equal(pixels[:, :, 1], np.rint(values / 257))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"P6 2 2 255 " + bytes(11), "fewer pixels than its head says"),
        (b"P3 2 2 255 1 2 3", "fewer pixels than its head says"),
        (b"P3 1 1 255 1 2      ", "fewer pixels than its head says"),
        (b"P1 2 2 011", "fewer pixels than its head says"),
        (b"P1 2 2 0112", "neither 0 nor 1"),
        (b"P2 1 1 255 -1", "no number of at most 10 digits"),
        (b"P2 1 1 255 12345678901", "no number of at most 10 digits"),
        (b"P5 1 1 0 x", "values up to 0"),
        (b"P5 1 1 65536 x", "values up to 65536"),
        (b"P5 0 1 255 x", "size 0 × 1"),
        (b"P5 1", "no end of its head"),
        (b"P5 1 1 255", "no end of its head"),
        (b"P5 x", "no list of numbers"),
        (b"P5 #" + bytes(2**16), "a head of over 65536 bytes"),
        (b"Pf 1 1 1.0 " + bytes(4), "floating-point pixels"),
    ],
)
def test_what_is_wrong_is_said(content, reason):
    with pytest.raises(UnusableImageError, match=reason):
        decode(content)
