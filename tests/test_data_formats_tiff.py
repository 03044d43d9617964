import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from kilnet.data.decode import decode
from kilnet.data.formats import tiff
from kilnet.errors import TooLargeImageError, UnusableImageError
from odd_pictures import long, noise, odd_pictures, saved, short, tiff_file, tiff_tags

PIXELS = noise(20, 30)


@pytest.mark.parametrize(
    "name",
    ["big", "tiled", "strips", "layers-of-a-photo-editor", "next-page-is-this-one", "big-endian", "16-bits"],
)
def test_forms_of_the_same_picture(name):
    grey = Image.fromarray(noise(20, 30, 3)).convert("L")
    pixels, said = decode(odd_pictures()[f"tiff-{name}"])
    np.testing.assert_array_equal(pixels, np.asarray(grey)[:, :, None].repeat(3, axis=2))
    assert said == ()


def test_pages_and_orientation():
    assert decode(odd_pictures()["tiff-pages"])[1] == ("first of several pictures",)
    turned, _ = decode(tiff_file(tiff_tags(30, 20, t274=short(6)), PIXELS.tobytes()))
    np.testing.assert_array_equal(turned[:, :, 0], np.rot90(PIXELS, k=-1))


def test_memory_is_that_of_a_strip_or_a_tile():
    assert tiff.parts(tiff_file(tiff_tags(30, 20), PIXELS.tobytes())).working_bytes == 0
    whole = tiff_file(tiff_tags(30, 20, t259=short(5)), PIXELS.tobytes())
    assert tiff.parts(whole).working_bytes == 30 * 20
    rows = tiff_file(tiff_tags(30, 20, t259=short(5), t278=short(2)), PIXELS.tobytes())
    assert tiff.parts(rows).working_bytes == 30 * 2
    assert tiff.parts(odd_pictures()["tiff-tiled"]).working_bytes == 32 * 32


def test_a_tag_that_pixels_do_not_depend_on_is_left_out():
    content = odd_pictures()["tiff-layers-of-a-photo-editor"]
    tag = (37724).to_bytes(2, "little") + (7).to_bytes(2, "little")
    assert tag in content
    assert tag not in tiff.parts(content).content


@pytest.mark.parametrize(
    ("content", "error", "reason"),
    [
        (tiff_file({}), UnusableImageError, "no size"),
        (tiff_file(tiff_tags(30, 20))[:100], UnusableImageError, "the list of tags ends after the file"),
        (b"II*\0\xff\xff\xff\xff" + bytes(20), UnusableImageError, "the list of tags ends after the file"),
        (
            b"II+\0\x08\0\0\0" + b"\xff" * 8 + bytes(20),
            UnusableImageError,
            "the list of tags ends after the file",
        ),
        (
            tiff_file(tiff_tags(30, 20, t256=(2, 4, b"abc\0"))),
            UnusableImageError,
            "tag 256 has values of type 2",
        ),
        (
            tiff_file(tiff_tags(30, 20, t273=(4, 9, b"\xff\xff\xff\xff"))),
            UnusableImageError,
            "tag 273 has 9 values",
        ),
        (
            tiff_file(tiff_tags(30, 20, t322=long(9), t323=long(0), t324=long(8))),
            UnusableImageError,
            "without a size",
        ),
        (
            tiff_file(tiff_tags(9, 9, t322=long(60_000), t323=long(60_000), t324=long(8))),
            TooLargeImageError,
            "3600 MB",
        ),
        (
            tiff_file(tiff_tags(30, 20, t259=short(5)), PIXELS.tobytes()),
            UnusableImageError,
            "cannot be decoded",
        ),
    ],
)
def test_what_is_wrong_is_said(content, error, reason):
    with pytest.raises(error, match=reason):
        decode(content)


def test_libtiff_writes_nothing(tmp_path):
    (tmp_path / "broken.tif").write_bytes(tiff_file(tiff_tags(30, 20, t259=short(5)), PIXELS.tobytes()))
    program = f"""
from pathlib import Path
from kilnet.data.decode import decode
try:
    decode(Path({str(tmp_path / "broken.tif")!r}))
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("damaged or cut short: its TIFF data cannot be decoded\n", "")


def test_a_jpeg_in_it_pays_for_its_scans():
    jpeg = saved(Image.fromarray(PIXELS), "JPEG", progressive=True)
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    few, many = (
        tiff.parts(tiff_file(tiff_tags(30, 20, t259=short(7), t279=long(len(content))), content)).seconds
        for content in (jpeg, jpeg[:-2] + scan * 1000 + jpeg[-2:])
    )
    assert many - few == pytest.approx(1000 * 30 * 20 * tiff._SECONDS_PER_SCAN_AND_SAMPLE)
