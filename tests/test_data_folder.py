import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kilnet.data.decode import decode
from kilnet.data.squares import to_square
from kilnet.errors import DataError
from picture_folders import every_image, load, make_folder, save_picture


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos")


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


def test_where_all_classes_hold_the_same_folders_these_may_be_the_classes(tmp_path):
    for name in ("batch A", "batch B"):
        make_folder(tmp_path / name)
    (notice,) = load(tmp_path).warnings
    assert notice.startswith(
        f"{tmp_path}: read as classes: batch A and batch B; in each of them are cat and dog, which"
    )
    save_picture(tmp_path / "batch A" / "0.png")
    assert load(tmp_path).warnings == ()


def test_folders_of_a_class_are_its_own_affair(photos):
    save_picture(photos / "cat" / "2019" / "x.png")
    for name in ("cat", "dog"):
        save_picture(photos / name / "2020" / "x.png")
    assert load(photos).warnings == ()


def test_a_folder_in_which_the_data_lies_one_deeper_is_refused_with_advice(tmp_path):
    make_folder(tmp_path / "photos")
    with pytest.raises(DataError, match=r"one class \(photos\)") as caught:
        load(tmp_path)
    assert str(caught.value).endswith(f"; if they are in {tmp_path / 'photos'}, give that")
    assert load(tmp_path / "photos").classes == ("cat", "dog")
