"""Squares of one size from images of any shape."""

import numpy as np
import pytest
from PIL import Image

from kilnet.data.squares import default_side, resized, to_square

RNG = np.random.default_rng(0)


def test_square_keeps_the_aspect_ratio_and_pads_with_black():
    wide = np.full((10, 40, 3), 200, np.uint8)
    square = to_square(wide, 16)
    assert square.shape == (3, 16, 16)
    np.testing.assert_array_equal(square[:, 6:10], 200)  # 4 rows in the middle
    np.testing.assert_array_equal(square[:, :6], 0)
    np.testing.assert_array_equal(square[:, 10:], 0)
    np.testing.assert_array_equal(to_square(wide.transpose(1, 0, 2), 16), square.transpose(0, 2, 1))


def test_square_of_the_right_size_is_untouched_and_slivers_survive():
    exact = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_square(exact, 16), exact.transpose(2, 0, 1))
    assert to_square(np.full((1, 1000, 1), 255, np.uint8), 8).max() == 255


def test_resized_agrees_with_single_squares():
    images = RNG.integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    large = resized(images, 16)
    assert large.shape == (3, 1, 16, 16)
    np.testing.assert_array_equal(large[1], to_square(images[1].transpose(1, 2, 0), 16))


def test_shrinking_does_not_alias():
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[:, :, None]
    inner = to_square(board, 8)[:, 1:-1, 1:-1]
    assert np.abs(inner.astype(int) - 127).max() <= 8


@pytest.mark.parametrize(
    ("sides", "expected"), [([100, 300, 500], 64), ([28, 28, 90], 28), ([2, 3], 8), ([], 8)]
)
def test_default_side_is_the_median_within_limits(sides, expected):
    assert default_side(np.array(sides, np.int64)) == expected


def test_the_middle_is_kept_or_the_whole_squashed():
    wide = (
        np.repeat(np.array([50, 150, 250], np.uint8), (10, 20, 10))[None, :, None].repeat(20, 0).repeat(3, 2)
    )
    np.testing.assert_array_equal(to_square(wide, 20, "crop"), 150)
    squashed = to_square(wide, 20, "stretch")
    assert squashed.shape == (3, 20, 20)
    assert (squashed[0, 0, 1], squashed[0, 0, 10], squashed[0, 0, -2]) == (50, 150, 250)
    for fitting in ("crop", "stretch"):
        upright = to_square(wide.transpose(1, 0, 2), 20, fitting)
        np.testing.assert_array_equal(upright, to_square(wide, 20, fitting).transpose(0, 2, 1))


@pytest.mark.parametrize("size", [(30, 21), (21, 30), (20, 20)])
def test_other_ways_agree_with_pillow(size):
    image = RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture, length = Image.fromarray(image), min(size)
    whole = np.asarray(picture.resize((16, 16), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(to_square(image, 16, "stretch"), whole.transpose(2, 0, 1))
    left, top = (size[0] - length) / 2, (size[1] - length) / 2
    middle = picture.transform(
        (length, length),
        Image.Transform.EXTENT,
        (left, top, left + length, top + length),
        Image.Resampling.BILINEAR,
    )
    cut = np.asarray(middle.resize((16, 16), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    difference = np.abs(to_square(image, 16, "crop").astype(int) - cut)
    assert difference.mean() <= (0 if length % 2 == max(size) % 2 else 12)  # half pixels are interpolated
