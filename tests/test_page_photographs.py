"""Original photographs in a page."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kilnet.page.album import Album, Selection
from kilnet.page.photographs import LONGER_SIDE_PX, photographs, with_photographs


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "cat").mkdir()
    for name, size in (("large.png", (500, 250)), ("small.png", (30, 30)), ("other.png", (400, 400))):
        Image.fromarray(random.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)).save(
            tmp_path / "cat" / name
        )
    (tmp_path / "cat" / "broken.png").write_bytes(b"no picture")
    return tmp_path


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_photographs_keep_their_shape_and_what_cannot_be_had_is_left_out(folder):
    names = ["cat/broken.png", "cat/missing.png", "../cat/large.png", "cat/small.png", "cat/large.png"]
    found = photographs(folder, enumerate(names), seen_px=32)
    assert list(found) == [4], "small.png has no more than the network saw"
    assert opened(found[4]).size == (LONGER_SIDE_PX, LONGER_SIDE_PX // 2)


def test_photographs_end_where_their_room_ends(folder):
    names = ["cat/large.png", "cat/other.png"]
    first = photographs(folder, enumerate(names[:1]), seen_px=32)[0]
    assert list(photographs(folder, enumerate(names), 32, most=len(first))) == [0]
    assert photographs(folder, enumerate(names), 32, most=len(first) - 1) == {}


def test_mistakes_come_first(folder):
    album = Album({}, {"side": 32})
    selection = Selection(indices=np.array([0, 1]), cells={}, samples=[0], mistakes=[1])
    both = with_photographs(album, selection, folder, ["cat/large.png", "cat/other.png"])
    assert list(both.data["photographs"]) == [1, 0]
    assert replace(both, data={"side": 32}) == album or both.sheets == album.sheets
