"""Pictures are decoded once for all sizes."""

import numpy as np
import pytest

from kilnet.config import DataConfig
from kilnet.data import pictures
from kilnet.data.decoded import Decoded, DecodedPictures
from kilnet.data.sources import load_dataset
from picture_folders import make_folder


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("KILNET_CACHE", str(tmp_path / "cache"))
    return make_folder(tmp_path / "photos")


@pytest.mark.parametrize(("image_size", "fit"), [(24, "crop"), (90, "crop"), (40, "stretch"), (None, "pad")])
def test_another_size_decodes_nothing_and_gives_what_decoding_gives(
    photos, monkeypatch, tmp_path, image_size, fit
):
    decoded = DecodedPictures(10**8)
    load_dataset(DataConfig(source=str(photos), image_size=16), decoded=decoded)
    config = DataConfig(source=str(photos), image_size=image_size, fit=fit)
    with monkeypatch.context() as patch:
        patch.setattr(pictures, "decode", None)
        found = load_dataset(config, decoded=decoded)
    monkeypatch.setenv("KILNET_CACHE", str(tmp_path / "other cache"))
    expected = load_dataset(config)
    assert found.fingerprint == expected.fingerprint
    assert np.array_equal(found.test.images, expected.test.images)


@pytest.mark.parametrize("room", [0, 10**8])
def test_squares_of_some_pictures_are_those_of_the_whole_folder(photos, room):
    decoded = DecodedPictures(room)
    assert decoded.squares(("a.png",), 24, "crop") is None  # of no folder
    load_dataset(DataConfig(source=str(photos), image_size=16), decoded=decoded)
    whole = load_dataset(DataConfig(source=str(photos), image_size=24, fit="crop")).train
    assert np.array_equal(decoded.squares(whole.names[:3], 24, "crop"), whole.images[:3])
    assert decoded.squares(("gone.png",), 24, "crop") is None


def test_there_is_a_limit_to_what_is_kept():
    decoded = DecodedPictures(200)
    picture = Decoded(np.zeros((5, 10, 3), np.uint8), ())
    for name in ("a", "a", "b"):
        decoded.keep(name, picture)
    assert decoded.get("a") is picture
    assert decoded.get("b") is None
