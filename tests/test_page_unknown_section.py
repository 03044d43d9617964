"""The section about pictures of none of the classes."""

import base64
import io
import re

import numpy as np
from PIL import Image

import kilnet
from kilnet.inference.unknown import KnownPictures
from kilnet.page.document import section_html
from kilnet.page.unknown_section import unknown


def section(num=40, channels=1):
    random = np.random.default_rng(0)
    images = np.zeros((num, channels, 8, 8), np.uint8)
    images[:, 0] += np.arange(num, dtype=np.uint8)[:, None, None]
    split = kilnet.Split(images, np.arange(num) % 2, tuple(f"{i}.png" for i in range(num)))
    evidence = np.ones((num, 3), np.float32)
    evidence[:, 0] = random.normal(9, 0.1, num)
    evidence[[7, 30], 0] = [3, 2]  # the second is the less clear
    known = KnownPictures((0.0, 0.0), (0.01, 0.01), 1.0, 1.0, 2.0)
    return section_html(unknown(split, evidence, known, ("<cat>", "dog")))


def test_the_limit_and_the_share_beyond_it_are_told():
    page = section()
    assert "above a strangeness of 2.0" in page
    assert "95% of the validation images are kept: 2 of 40 (5.0%)" in page
    assert "by their labels: &lt;cat&gt;, dog, " in page
    assert "<cat>" not in page


def test_the_strangest_pictures_come_first():
    for channels in (1, 3):
        uri = re.search(r'src="data:image/webp;base64,([^"]*)"', section(channels=channels))[1]
        sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))))
        assert sheet.shape == (196, 596, 4)
        assert [sheet[50, 50 + 100 * place, 0] for place in (0, 1)] == [30, 7]
        assert sheet[50, 98, 3] == 0, "the gap"


def test_one_picture_makes_a_section():
    assert "1 of 1" in section_html(
        unknown(
            kilnet.Split(np.zeros((1, 3, 200, 200), np.uint8), np.zeros(1, np.int64), ("a",)),
            np.zeros((1, 3), np.float32),
            KnownPictures((0.0, 0.0), (1.0, 1.0), 1.0, 1.0, 0.5),
            ("a", "b"),
        )
    )
