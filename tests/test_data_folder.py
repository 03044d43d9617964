import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kilnet.config import DataConfig
from kilnet.data import pictures
from kilnet.data.decode import decode, to_square
from kilnet.data.sources import load_dataset
from kilnet.errors import DataError

RNG = np.random.default_rng(0)


def save_picture(path: Path, width: int = 20, height: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


def make_folder(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), num: int = 6) -> Path:
    for name in classes:
        for i in range(num):
            save_picture(folder / name / f"{i}.png")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos")


def load(folder: Path, **settings: object):
    return load_dataset(DataConfig(source=str(folder), **settings))


def every_image(dataset):
    for split in (dataset.train, dataset.validation, dataset.test):
        yield from zip(split.names, split.images, split.labels, strict=True)


def test_class_folders_become_three_splits(photos):
    dataset = load(photos)
    assert dataset.name == "photos"
    assert dataset.classes == ("cat", "dog")
    assert dataset.image_shape == (3, 20, 20)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (8, 2, 2)
    names = []
    for name, image, label in every_image(dataset):
        np.testing.assert_array_equal(image, to_square(decode(photos / name)[0], 20))
        assert dataset.classes[label] == name.split("/")[0]
        names.append(name)
    assert sorted(names) == sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.png"))


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "VALIDATION", "Test"), ("train", "valid", "test")]
)
def test_split_folders_are_taken_as_they_are(tmp_path, names):
    for name, num in zip(names, (4, 3, 2), strict=True):
        make_folder(tmp_path / name, num=num)
    dataset = load(tmp_path)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (8, 6, 4)
    assert all(name.startswith(names[1]) for name in dataset.validation.names)


def test_classes_are_mapped_by_name_where_splits_hold_different_ones(tmp_path):
    make_folder(tmp_path / "train", ("ant", "bee", "cat"))
    make_folder(tmp_path / "val", ("bee", "cat"))
    make_folder(tmp_path / "test", ("cat",))
    dataset = load(tmp_path)
    for name, _, label in every_image(dataset):
        assert dataset.classes[label] == name.split("/")[1]


def test_class_that_train_lacks_is_refused(tmp_path):
    make_folder(tmp_path / "train", ("ant", "bee"))
    make_folder(tmp_path / "test", ("ant", "bees"))
    with pytest.raises(DataError, match=r"test has a class bees that train lacks; did you mean bee\?"):
        load(tmp_path)


def test_splits_without_train_and_given_twice_are_refused(tmp_path):
    make_folder(tmp_path / "one" / "test")
    with pytest.raises(DataError, match="has test, but no train folder"):
        load(tmp_path / "one")
    for name in ("train", "val", "valid"):
        make_folder(tmp_path / "two" / name)
    with pytest.raises(DataError, match="val and valid are the same split"):
        load(tmp_path / "two")


def test_a_class_may_be_called_test(tmp_path):
    assert load(make_folder(tmp_path, ("test", "toast"))).classes == ("test", "toast")


def test_hidden_files_litter_and_stray_files_do_not_count(photos):
    (photos / "cat" / ".hidden.png").write_bytes(b"x")
    (photos / "cat" / "Thumbs.db").write_bytes(b"x")
    (photos / ".git").mkdir()
    (photos / "__MACOSX").mkdir()
    (photos / "LICENSE.txt").write_text("mine")
    dataset = load(photos)
    assert dataset.classes == ("cat", "dog")
    assert sum(1 for _ in every_image(dataset)) == 12


def test_nested_folders_belong_to_their_class(photos):
    save_picture(photos / "cat" / "2019" / "summer" / "x.png")
    dataset = load(photos)
    assert {label for name, _, label in every_image(dataset) if "summer" in name} == {0}


def test_links_to_files_are_read_and_loops_do_not_hang(photos, tmp_path):
    save_picture(tmp_path / "elsewhere.png")
    (photos / "cat" / "linked.png").symlink_to(tmp_path / "elsewhere.png")
    (photos / "cat" / "loop").symlink_to(photos / "cat")
    (photos / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(
        DataError, match=r"2 files are no usable image, first cat/loop: a link to a folder above it"
    ):
        load(photos)
    dataset = load(photos, on_bad_image="skip")
    assert sum(1 for _ in every_image(dataset)) == 13


@pytest.mark.skipif(os.name == "nt", reason="has other permissions")
def test_unreadable_class_folder_is_named(photos, bound_by_permissions):
    (photos / "cat").chmod(0)
    try:
        with pytest.raises(DataError, match="cat: cannot be read: Permission denied"):
            load(photos)
    finally:
        (photos / "cat").chmod(0o755)


BAD_FILES = {
    "zero.jpg": (b"", "empty file"),
    "words.jpg": (b"no pixels here", "no image in one of the formats"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_fails_with_one_line_or_is_skipped_with_a_warning(photos, name):
    content, reason = BAD_FILES[name]
    (photos / "cat" / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(photos)
    message = str(caught.value)
    assert f"1 file is no usable image, first cat/{name}: {reason}" in message
    assert "`data.on_bad_image='skip'`" in message
    assert f"`kilnet.inspect_data({str(photos)!r})`" in message
    assert "\n" not in message
    dataset = load(photos, on_bad_image="skip")
    assert sum(1 for _ in every_image(dataset)) == 12
    assert any(f"cat/{name}: {reason}" in warning for warning in dataset.warnings)


def test_truncated_file_is_refused(photos):
    path = photos / "dog" / "0.png"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"first dog/0\.png: damaged or cut short"):
        load(photos)


def test_animation_is_a_warning(photos):
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save(photos / "cat" / "moves.gif", save_all=True, append_images=frames[1:])
    assert load(photos).warnings == ("cat/moves.gif: first of several pictures",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder.mkdir(), "no sub-folders"),
        (lambda folder: make_folder(folder, ("cat",)), r"one class \(cat\)"),
        (lambda folder: (make_folder(folder) / "emu").mkdir(), "class emu has no usable image to train on"),
        (lambda folder: make_folder(folder, num=2), "class cat has 2 different images, too few"),
        (lambda folder: save_picture(folder / "a.png"), "no sub-folders"),
    ],
)
def test_folders_that_cannot_be_trained_on(tmp_path, make, message):
    make(tmp_path / "data")
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / "data")
    assert str(tmp_path / "data") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_and_files_are_no_folders(tmp_path):
    with pytest.raises(
        DataError, match=r"cifar-10: no such folder, nor a known data set; did you mean cifar10\?"
    ):
        load(Path("cifar-10"))
    save_picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="a file, not a folder"):
        load(tmp_path / "a.png")


def test_image_size_and_num_train(photos):
    dataset = load(photos, image_size=32, num_train=5)
    assert dataset.image_shape == (3, 32, 32)
    assert len(dataset.train) == 5
    assert len(dataset.test) == 2


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    decoded = []

    def counting(path):
        decoded.append(path)
        return decode(path)

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


def test_splits_do_not_depend_on_where_the_folder_lies(photos, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(photos, moved)
    assert load(moved).fingerprint == load(photos).fingerprint


def test_what_is_left_out_is_said_once_and_counted(photos):
    assert load(photos).warnings == ()
    (photos / "README.md").touch()
    assert load(photos).warnings == (f"{photos}: left out: 1 file, README.md, is in no class folder",)
    save_picture(photos / "more.png")
    assert load(photos).warnings == (f"{photos}: left out: 2 files, first README.md, are in no class folder",)


def test_pictures_beside_the_classes_of_a_split_are_left_out_and_the_split_is_taken_from_train(tmp_path):
    make_folder(tmp_path / "train")
    for i in range(3):
        save_picture(tmp_path / "test" / f"{i}.png")
    dataset = load(tmp_path)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (8, 2, 2)
    assert dataset.warnings == (
        f"{tmp_path}: left out: 3 files, first test/0.png, are in no class folder",
        "test has no usable image in class folders; test is split off from train",
    )


def test_classes_that_a_split_lacks_are_said(tmp_path):
    make_folder(tmp_path / "train", ("ant", "bee", "cat"))
    make_folder(tmp_path / "val", ("bee", "cat"))
    make_folder(tmp_path / "Testing", ("cat",))
    assert load(tmp_path).warnings == (
        f"{tmp_path}: read as splits: train for train, val for validation, Testing for test",
        "val has no image of class ant",
        "Testing has no image of class ant and 1 more",
    )


def test_splits_below_the_classes_are_said(tmp_path):
    for split in ("train", "Test"):
        make_folder(tmp_path / "cat", (split,))
        make_folder(tmp_path / "dog", (split,))
    assert load(tmp_path).warnings == (
        f"{tmp_path}: cat holds Test and train, all read as pictures of cat; splits belong above the classes",
    )


def test_thumbnails_of_a_storage_server_are_no_pictures(photos):
    for name in ("cat", "dog"):
        for i in range(6):
            save_picture(photos / name / "@eaDir" / f"{i}.png" / "SYNOPHOTO_THUMB_M.jpg")
    dataset = load(photos)
    assert sum(1 for _ in every_image(dataset)) == 12
    assert dataset.warnings == ()
