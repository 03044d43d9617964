import numpy as np
import pytest
from PIL import Image

from kilnet.data.formats.rgb import is_colour, to_rgb
from kilnet.errors import UnusableImageError

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (5, 7, 3), np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_a_mode_without_transparency_is_what_pillow_converts(mode):
    image = Image.fromarray(PICTURE).convert(mode)
    np.testing.assert_array_equal(to_rgb(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_laid_on_white(mode):
    opacity = RANDOM.integers(0, 256, (5, 7), np.uint8)
    image = Image.fromarray(PICTURE).convert(mode)
    image.putalpha(Image.fromarray(opacity))
    colours = np.asarray(image.convert("RGBA"))[:, :, :3].astype(float)
    share = opacity[:, :, None] / 255
    assert np.abs(to_rgb(image) - (colours * share + 255 * (1 - share))).max() <= 1


def test_grey_of_16_bits_is_rounded_to_8_and_not_clipped():
    values = np.arange(0, 65536, 13, dtype=np.uint16)[None]
    for image in (Image.fromarray(values), Image.fromarray(values.astype(np.int32))):
        assert np.array_equal(to_rgb(image)[0, :, 1], np.rint(values[0] / 257).astype(np.uint8))


def test_the_colour_that_is_transparent_is_white_where_it_may_be():
    image = Image.fromarray(PICTURE)
    key = tuple(map(int, PICTURE[2, 3]))
    expected = PICTURE.copy()
    expected[np.equal(PICTURE, key).all(axis=2)] = 255
    np.testing.assert_array_equal(to_rgb(image, key), expected)
    np.testing.assert_array_equal(to_rgb(image, key, np.zeros((5, 7), np.bool_)), PICTURE)
    np.testing.assert_array_equal(is_colour(image, key), np.equal(PICTURE, key).all(axis=2))


def test_large_pictures_are_converted_in_bands_and_may_be_stopped():
    tall = RANDOM.integers(0, 256, (3000, 1500), np.uint8)
    bands = []
    pixels = to_rgb(Image.fromarray(tall), check=lambda: bands.append(None))
    assert np.array_equal(pixels[:, :, 0], tall)
    assert len(bands) == 3

    def stop():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        to_rgb(Image.fromarray(PICTURE), check=stop)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.fromarray(np.zeros((2, 2), np.float32)), "no known range"),
        (Image.new("LAB", (2, 2)), "colours of the kind LAB"),
        (Image.fromarray(np.array([[-1, 5]], np.int32)), "-1 to 5 do not fit"),
        (Image.fromarray(np.array([[0, 70_000]], np.int32)), "0 to 70000 do not fit"),
    ],
)
def test_what_cannot_be_shown_in_8_bits_is_refused(image, reason):
    with pytest.raises(UnusableImageError, match=reason):
        to_rgb(image)
