import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from kilnet.data.decode import decode
from kilnet.errors import UnusableImageError
from odd_pictures import before_pixels, chunk, odd_pictures, png_file, samples_png, saved

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(("colour", "depth"), [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16)])
def test_the_transparent_colour_is_white_and_all_others_are_themselves(colour, depth):
    """PNG 11.3.1.1: a pixel is transparent if all bits of its samples are those of tRNS."""
    channels = 3 if colour == 2 else 1
    samples = RANDOM.integers(0, 2**depth, (11, 13, channels))
    key = samples[4, 5].copy()
    samples[0, :8] = key
    samples[1, :8] = key ^ 1  # at 16 bits the same upper byte
    content = samples_png(samples, depth, colour, chunk(b"tRNS", key.astype(">u2").tobytes()))
    pixels, _ = decode(content)
    largest = 2**depth - 1
    # Grey of 16 bits is rounded; colours of 16 bits lose their lower byte.
    scaled = samples // 256 if (colour, depth) == (2, 16) else np.rint(samples * 255 / largest)
    expected = np.where((samples == key).all(axis=2, keepdims=True), 255, scaled)
    np.testing.assert_array_equal(pixels, np.broadcast_to(expected, pixels.shape))
    without, _ = decode(samples_png(samples, depth, colour))
    np.testing.assert_array_equal(without, np.broadcast_to(scaled, without.shape))


def test_bits_above_the_depth_do_not_count():
    samples = np.array([[[1], [2]]])
    content = samples_png(samples, 4, 0, chunk(b"tRNS", struct.pack(">H", 0xFFF2)))
    assert decode(content)[0][0, :, 0].tolist() == [17, 255]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_with_opacities(depth):
    palette = RANDOM.integers(0, 256, (2**depth, 3), dtype=np.uint8)
    opacities = RANDOM.integers(0, 256, 2**depth, dtype=np.uint8)
    samples = RANDOM.integers(0, 2**depth, (9, 10, 1))
    before = [chunk(b"PLTE", palette.tobytes()), chunk(b"tRNS", opacities.tobytes())]
    pixels, _ = decode(samples_png(samples, depth, 3, *before))
    opacity = opacities[samples] / 255
    expected = palette[samples[:, :, 0]] * opacity + 255 * (1 - opacity)
    assert np.abs(pixels - expected).max() <= 1


def test_metadata_does_not_matter():
    plain, _ = decode(
        saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)), "PNG")
    )
    names = [
        "text-with-a-wrong-checksum",
        "text-with-another-compression",
        "long-text",
        "long-xmp",
        "long-profile",
    ]
    names += ["broken-profile", "short-gamma", "data-in-pieces", "without-its-end", "more-after-its-end"]
    for name in names:
        np.testing.assert_array_equal(decode(odd_pictures()[f"png-{name}"])[0], plain, err_msg=name)
    np.testing.assert_array_equal(
        decode(odd_pictures()["png-orientation-after-the-data"])[0], np.rot90(plain)
    )


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            b"zTXt",
            b"Raw profile type exif\0\0"
            + zlib.compress(b"\nexif\n26\n" + b"4d4d002a0000000800010112000300000001000600000000"),
        ),
        (
            b"tEXt",
            b"Raw profile type exif\0\nexif\n26\n45786966\n00004d4d002a0000000800010112000300000001000600000000",
        ),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b'<x tiff:Orientation="6"/>')),
        (b"eXIf", bytes.fromhex("4d4d002a0000000800010112000300000001000600000000")),
    ],
)
def test_orientation_stands_in_one_of_many_places(kind, text):
    pixels = RANDOM.integers(0, 256, (5, 8, 3), dtype=np.uint8)
    content = before_pixels(saved(Image.fromarray(pixels), "PNG"), chunk(kind, text))
    np.testing.assert_array_equal(decode(content)[0], np.rot90(pixels, k=-1))


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"tRNS"])
def test_a_wrong_checksum_of_what_pixels_depend_on_is_damage(kind):
    before = [chunk(b"PLTE", bytes(6)), chunk(b"tRNS", b"\0")]
    content = bytearray(png_file(1, 1, 1, 3, zlib.compress(b"\0\0"), *before))
    decode(bytes(content))
    at = content.index(kind)
    content[at + 4 + int.from_bytes(content[at - 4 : at])] ^= 1
    with pytest.raises(UnusableImageError, match=f"damaged or cut short: wrong checksum of {kind.decode()}"):
        decode(bytes(content))
