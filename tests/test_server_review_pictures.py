"""Pictures of a review: files made smaller, or what the network sees."""

import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from kilnet.inspection.review_queue import Shown
from kilnet.server.review_pictures import LONGER_SIDE_PX, ReviewPictures
from made_up_review import images


def shown(name, split="train", place=1):
    return Shown(split=split, place=place, name=name, label="cat")


def opened(found):
    content, media_type = found
    picture = Image.open(io.BytesIO(content))
    assert picture.get_format_mimetype() == media_type
    return picture


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    Image.new("RGB", (2000, 1000), "red").save(tmp_path / "photos" / "cat" / "large.png")
    Image.new("RGB", (9, 9), "red").save(tmp_path / "photos" / "cat" / "small.png")
    Image.new("RGB", (50, 50), "red").save(tmp_path / "secret.png")
    (tmp_path / "photos" / "cat" / "bad.png").write_bytes(b"no picture")
    (tmp_path / "photos" / "link.png").symlink_to(tmp_path / "secret.png")
    return ReviewPictures({"train": images()}, tmp_path / "photos")


def test_a_large_photograph_is_shown_smaller_as_it_is(pictures):
    picture = opened(pictures.content(shown("cat/large.png")))
    assert picture.size == (LONGER_SIDE_PX, LONGER_SIDE_PX // 2)
    assert np.abs(np.asarray(picture.convert("RGB")).mean((0, 1)) - [255, 0, 0]).max() < 4


@pytest.mark.parametrize(
    "name", ["cat/small.png", "cat/gone.png", "cat/bad.png", "../secret.png", "link.png", "00017"]
)
def test_else_the_pixels_that_the_network_sees(pictures, name):
    picture = opened(pictures.content(shown(name)))
    assert (np.asarray(picture) == images()[1].transpose(1, 2, 0)).all()


def test_without_a_folder_and_of_a_split_that_comes_later(tmp_path):
    pictures = ReviewPictures({}, None)
    pictures.add("test", images())
    picture = opened(pictures.content(shown("cat/large.png", "test", 3)))
    assert (np.asarray(picture) == images()[3].transpose(1, 2, 0)).all()
