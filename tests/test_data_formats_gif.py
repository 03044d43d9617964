import io

import numpy as np
import pytest
from PIL import Image

from kilnet.data.decode import decode
from kilnet.data.formats import gif
from kilnet.errors import UnusableImageError

FRAMES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 9), np.uint8), "L") for seed in (0, 1)
]


def saved(*frames, **options):
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=len(frames) > 1, append_images=frames[1:], **options)
    return file.getvalue()


def test_the_first_frame_alone_is_kept_and_that_there_are_more_is_said():
    found = gif.parts(saved(*FRAMES))
    assert (found.width, found.height, found.has_more) == (9, 6, True)
    assert not gif.parts(saved(FRAMES[0])).has_more
    with Image.open(io.BytesIO(found.content)) as kept:
        assert kept.n_frames == 1
        np.testing.assert_array_equal(np.asarray(kept.convert("L")), np.asarray(FRAMES[0]))


def test_comments_are_left_out_and_change_no_pixel():
    plain, told = saved(FRAMES[0]), saved(FRAMES[0], comment=b"x" * 100_000)
    assert len(told) > 100_000 > len(gif.parts(told).content)
    np.testing.assert_array_equal(decode(told)[0], decode(plain)[0])


def test_a_transparent_colour_is_kept_and_is_white():
    indices = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    indices.putpalette([10, 20, 30, 200, 100, 50])
    pixels, _ = decode(saved(indices, transparency=1))
    assert pixels.tolist() == [[[10, 20, 30], [255] * 3], [[255] * 3, [10, 20, 30]]]


def test_the_picture_is_as_large_as_the_screen_or_the_frame_whichever_reaches_further():
    content = bytearray(saved(FRAMES[0]))
    content[6:8] = (100).to_bytes(2, "little")
    assert (gif.parts(bytes(content)).width, gif.parts(bytes(content)).height) == (100, 6)


@pytest.mark.parametrize("length", [6, 12, 13])
def test_what_has_no_frame_is_refused(length):
    with pytest.raises(UnusableImageError, match="no frame"):
        gif.parts(saved(FRAMES[0])[:length])


def test_endless_blocks_are_refused():
    blocks = b"GIF89a" + bytes([1, 0, 1, 0, 0, 0, 0]) + b"\x21\xfe" + b"\x01x" * 1_000_001
    with pytest.raises(UnusableImageError, match="more than 1000000 blocks"):
        gif.parts(blocks)
