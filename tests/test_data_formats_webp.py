import io
import struct

import numpy as np
import pytest
from PIL import Image

from kilnet.data.decode import decode
from kilnet.data.formats import webp
from kilnet.errors import UnusableImageError

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8))


def saved(picture, **options):
    file = io.BytesIO()
    picture.save(file, "WEBP", **options)
    return file.getvalue()


@pytest.mark.parametrize("lossless", [True, False])
def test_size_and_pixels_are_those_of_the_file(lossless):
    content = saved(PICTURE, lossless=lossless)
    found = webp.parts(content)
    assert webp.is_webp(content[:12])
    assert (found.width, found.height, found.has_more, found.orientation) == (9, 6, False, 1)
    with Image.open(io.BytesIO(content)) as expected:
        np.testing.assert_array_equal(decode(content)[0], np.asarray(expected.convert("RGB")))


def test_metadata_is_left_out_and_the_orientation_kept():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * 50_000
    content = saved(PICTURE, lossless=True, exif=exif.tobytes(), icc_profile=b"y" * 50_000)
    found = webp.parts(content)
    assert len(content) > 100_000 > 10_000 > len(found.content)
    assert found.orientation == 6
    expected = np.rot90(np.asarray(PICTURE), -1)
    np.testing.assert_array_equal(decode(content)[0], expected)


def test_the_first_frame_of_an_animation_stands_for_it():
    other = PICTURE.rotate(180)
    content = saved(PICTURE, save_all=True, append_images=[other], lossless=True)
    found = webp.parts(content)
    assert found.has_more
    np.testing.assert_array_equal(decode(content)[0], np.asarray(PICTURE))


def test_a_claimed_size_counts_before_anything_is_decoded():
    head = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16_382).to_bytes(3, "little") * 2
    content = b"RIFF" + struct.pack("<I", 4 + len(head)) + b"WEBP" + head
    found = webp.parts(content)
    assert (found.width, found.height) == (16_383, 16_383)
    assert found.working_bytes == 12 * 16_383**2


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [(b"", "no frame"), (b"JUNK\x02\0\0\0xx", "no frame"), (b"VP8 \x02\0\0\0xx", "a short frame")],
)
def test_what_has_no_frame_is_refused(chunks, reason):
    content = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
    with pytest.raises(UnusableImageError, match=reason):
        webp.parts(content)
