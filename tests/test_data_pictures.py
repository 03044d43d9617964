"""Pictures that are kept in the cache."""

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kilnet.config import DataConfig
from kilnet.data import pictures
from kilnet.data.decode import decode
from kilnet.data.sources import load_dataset
from kilnet.data.squares import to_square
from kilnet.errors import DataError
from odd_pictures import zeros_png
from picture_folders import load, make_folder, save_picture


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos")


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    decoded = []

    def counting(path, is_stopped):
        decoded.append(path)
        return decode(path, is_stopped)

    monkeypatch.setattr(pictures, "decode", counting)
    return decoded


def cache_files(cache: Path) -> list[Path]:
    return list((cache / "folders").glob("*.safetensors"))


def test_second_start_decodes_nothing_and_gives_the_same(photos, monkeypatch):
    (photos / "cat" / "bad.jpg").write_bytes(b"bad")
    decoded = count_decoded(monkeypatch)
    first = load(photos, on_bad_image="skip")
    assert len(decoded) == 13
    second = load(photos, on_bad_image="skip")
    assert len(decoded) == 13
    assert second.fingerprint == first.fingerprint
    assert second.warnings == first.warnings
    with pytest.raises(DataError, match=r"cat/bad\.jpg: no image"):  # what was refused is remembered too
        load(photos)


def test_changed_file_and_other_size_are_decoded_again(photos, monkeypatch, own_cache):
    decoded = count_decoded(monkeypatch)
    first = load(photos)
    save_picture(photos / "cat" / "0.png", 40, 40)
    assert load(photos).fingerprint != first.fingerprint
    assert len(decoded) == 24
    load(photos, image_size=9)
    assert len(decoded) == 36
    load(photos)
    assert len(decoded) == 36
    (photos / "cat" / "0.png").chmod(0o600)  # a file that could not be read may be readable now
    load(photos)
    assert len(decoded) == 48
    assert len(cache_files(own_cache)) == 2  # what is out of date does not pile up


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-9] + bytes(9), lambda b: b""])
def test_damaged_cache_is_made_anew(photos, own_cache, damage):
    first = load(photos)
    (cached,) = cache_files(own_cache)
    good = cached.read_bytes()
    cached.write_bytes(damage(good))
    assert load(photos).fingerprint == first.fingerprint
    assert cached.read_bytes() == good


def test_cache_that_cannot_be_written_is_a_warning(photos, monkeypatch, tmp_path):
    (tmp_path / "a_file").write_text("")
    monkeypatch.setenv("KILNET_CACHE", str(tmp_path / "a_file"))
    dataset = load(photos)
    assert len(dataset.train) == 8
    assert "will be decoded again next time" in dataset.warnings[0]


def test_progress_reaches_the_total(photos):
    told = []
    load_dataset(DataConfig(source=str(photos)), lambda *args: told.append(args))
    assert told[-1] == ("decode", 12, 12)


def test_ctrl_c_waits_for_no_picture(tmp_path):
    paths = [f"{number}.png" for number in range(100)]
    for path in paths:
        (tmp_path / path).write_bytes(zeros_png(4000, 4000, 8, 2))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pictures.read_pictures(tmp_path, paths, 32, interrupt)
    assert time.monotonic() - start < 3


def test_threads_give_what_one_file_after_another_gives(tmp_path):
    paths = [f"{number:02}.png" for number in range(70)]
    for number, path in enumerate(paths):
        save_picture(tmp_path / path, 32 if number % 3 else 40, 32)
    (tmp_path / paths[33]).write_bytes(b"bad")
    found = pictures.read_pictures(tmp_path, paths, 24)
    assert found.paths == tuple(path for path in paths if path != paths[33])
    assert [problem.path for problem in found.problems] == [paths[33]]
    for path, image, size, thumbnail in zip(
        found.paths, found.images, found.sizes, found.thumbnails, strict=True
    ):
        with Image.open(tmp_path / path) as picture:
            assert picture.size == tuple(size)
            assert np.array_equal(image, to_square(np.asarray(picture), 24))
            assert np.array_equal(thumbnail, np.asarray(picture.resize((32, 32), Image.Resampling.BOX)))
    assert len(set(found.hashes.tolist())) == 69


def test_an_error_in_a_thread_ends_the_reading(photos, monkeypatch):
    def fails(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(pictures, "to_square", fails)
    with pytest.raises(MemoryError, match="no room"):
        load(photos)
