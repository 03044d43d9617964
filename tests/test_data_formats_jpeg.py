import io

import numpy as np
import pytest
from PIL import Image

from kilnet.data.decode import decode
from kilnet.data.formats import jpeg
from kilnet.errors import TooLargeImageError, UnusableImageError
from odd_pictures import noise, odd_pictures, saved, segment

SMOOTH = Image.fromarray(np.add.outer(np.arange(40), np.arange(48)).astype(np.uint8))


def with_scans(num_scans):
    """A progressive file whose last scan is repeated."""
    content = saved(SMOOTH, "JPEG", progressive=True)
    start, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    return content[:end] + content[start:end] * num_scans + content[end:]


def test_scans_cost_time_and_coefficients_cost_memory():
    once, often = jpeg.parts(with_scans(0)), jpeg.parts(with_scans(1000))
    visit = 30 * jpeg._SECONDS_PER_VISIT  # 5 × 6 blocks
    bytes_more = len(with_scans(1000)) - len(with_scans(0))
    expected = 1000 * visit + bytes_more * jpeg._SECONDS_PER_PROGRESSIVE_BYTE
    assert often.seconds - once.seconds == pytest.approx(expected)
    assert once.working_bytes == 30 * 64 * 2
    assert jpeg.parts(saved(SMOOTH, "JPEG")).working_bytes == 0


def test_markers_in_a_thumbnail_are_no_scans():
    plain = saved(SMOOTH, "JPEG", progressive=True)
    thumbnail = segment(0xE2, b"thumbnail" + b"\xff\xda\0\2" * 5000)
    assert jpeg.parts(plain[:2] + thumbnail + plain[2:]) == jpeg.parts(plain)


def test_a_picture_cut_short_is_no_picture():
    content = saved(Image.fromarray(noise(64, 64, 3)), "JPEG")
    for end in (len(content) // 2, len(content) - 20):
        with pytest.raises(UnusableImageError, match="damaged or cut short"):
            decode(content[:end])


def test_rare_kinds_are_refused():
    content = saved(SMOOTH, "JPEG").replace(b"\xff\xc0", b"\xff\xc9")
    with pytest.raises(
        UnusableImageError, match=r"a rare kind of JPEG .marker FFC9. that is not read; save it again"
    ):
        decode(content)


def test_a_large_picture_of_many_scans_is_refused():
    content = with_scans(5000)
    frame = content.index(b"\xff\xc2")
    large = content[: frame + 5] + (4000).to_bytes(2) * 2 + content[frame + 9 :]
    with pytest.raises(
        TooLargeImageError, match=r"decoding its 4000 × 4000 pixels may need .* above the limit of 5 s"
    ):
        decode(large)


def test_the_second_picture_of_a_camera_is_no_frame():
    pixels, said = decode(odd_pictures()["jpeg-another-picture-after-it"])
    assert said == ()
    with Image.open(io.BytesIO(odd_pictures()["jpeg-another-picture-after-it"])) as image:
        np.testing.assert_array_equal(pixels, np.asarray(image))
