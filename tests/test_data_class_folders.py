"""Which folder is read as which class of which split, and what is said of it."""

import os
import re
import unicodedata
from pathlib import Path

import pytest

from kilnet.data.class_folders import find_classes, find_files
from kilnet.errors import DataError
from picture_folders import every_image, load, make_folder, save_picture


def make(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def splits(folder: Path, **options: object) -> dict[str, list[str]]:
    """Which class folders belong to which split, relative to the folder."""
    layout = find_classes(folder, **options)
    found: dict[str, list[str]] = {}
    for split, label, path in layout.folders:
        assert layout.classes[label] == unicodedata.normalize("NFC", path.name)
        found.setdefault(split, []).append(str(path.relative_to(folder)))
    return found


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        ("Training", "Test", "test"),
        ("Training", "Testing", "test"),
        ("training_set", "test_set", "test"),
        ("seg_train", "seg_test", "test"),
        ("train_images", "val_images", "validation"),
        ("train", "dev", "validation"),
        ("train", "eval", "test"),
        ("TRAIN", "Holdout", "test"),
        ("train2017", "val2017", "validation"),
        ("训练集", "测试集", "test"),
    ],
)
def test_folders_named_as_splits_are_splits_and_what_is_not_plain_is_said(tmp_path, train, other, split):
    make(tmp_path, f"{train}/cat/1.png", f"{train}/dog/1.png", f"{other}/cat/2.png", f"{other}/dog/2.png")
    expected = {"train": [f"{train}/cat", f"{train}/dog"], split: [f"{other}/cat", f"{other}/dog"]}
    assert splits(tmp_path) == expected
    assert find_classes(tmp_path).notices == (f"read as splits: {train} for train, {other} for {split}",)


def test_of_plain_names_nothing_is_said(tmp_path):
    make(
        tmp_path, *(f"{split}/{name}/1.png" for split in ("Train", "val", "test") for name in ("cat", "dog"))
    )
    assert set(splits(tmp_path)) == {"test", "train", "validation"}
    assert find_classes(tmp_path).notices == ()


def test_folders_beside_splits_are_stray(tmp_path):
    make(tmp_path, "seg_train/cat/1.png", "seg_test/cat/1.png", "seg_pred/1.png", "seg_pred/a/2.png")
    assert find_classes(tmp_path).stray == ("seg_pred/1.png", "seg_pred/a/2.png")


def test_a_split_in_a_folder_of_its_own_name_is_opened(tmp_path):
    make(tmp_path, "train/train/cat/1.png", "train/train/dog/1.png", "test/test/cat/1.png")
    assert splits(tmp_path) == {"train": ["train/train/cat", "train/train/dog"], "test": ["test/test/cat"]}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("Training/1.png", "Testing/1.png"), "has Testing and Training, but no train folder"),
        (
            ("train2017/1.png", "val2017/1.png", "notes/1.png"),
            "has train2017 and val2017, but no train folder",
        ),
        (("val/cat/1.png", "test/cat/1.png", "more/1.png"), "has test and val, but no train folder"),
        (
            ("train/cat/1.png", "val/cat/1.png", "dev/cat/1.png"),
            r"dev and val are the same split \(validation\)",
        ),
        (("train1/a/1.png", "train2/a/1.png", "test1/a/1.png"), "train1 and train2 are the same split"),
        (
            ("cat_train/a/1.png", "cat_test/a/1.png", "dog_train/a/1.png", "dog_test/a/1.png"),
            "cat_train and dog_train are the same split",
        ),
        (
            ("Training/cat/1.png", "Test/cats/1.png"),
            "test has a class cats that train lacks; did you mean cat",
        ),
    ],
)
def test_folders_that_look_like_splits_and_cannot_be_are_refused_in_one_line(tmp_path, files, message):
    make(tmp_path, *files)
    with pytest.raises(DataError, match=message) as caught:
        find_classes(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "notice"),
    [
        (("test", "toast"), "test looks like a split, but without train beside it"),
        (("bus", "train"), "train looks like a split, but"),
        (("invalid", "valid"), "valid looks like a split, but"),
    ],
)
def test_classes_that_are_called_like_a_split_are_classes_and_that_is_said(tmp_path, names, notice):
    make(tmp_path, *(f"{name}/1.png" for name in names))
    layout = find_classes(tmp_path)
    assert layout.classes == names
    assert layout.splits == {}
    (said,) = layout.notices
    assert said.startswith(notice)


@pytest.mark.parametrize(
    "litter", ["@eaDir", "#recycle", "lost+found", "$RECYCLE.BIN", "__MACOSX", ".thumbnails"]
)
def test_system_folders_are_neither_classes_nor_pictures_at_any_depth(tmp_path, litter):
    make(tmp_path, "cat/1.png", "dog/summer/1.png")
    for folder in (tmp_path, tmp_path / "cat", tmp_path / "dog" / "summer"):
        make(folder, f"{litter}/1.png/SYNOPHOTO_THUMB_M.jpg", f"{litter}/2.png")
    layout = find_classes(tmp_path)
    assert (layout.classes, layout.stray, layout.notices) == (("cat", "dog"), (), ())
    files, problems = find_files(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in files] == ["cat/1.png", "dog/summer/1.png"]
    assert problems == []
    make(tmp_path, *(f"d/{split}/{name}/1.png" for split in ("train", "test") for name in ("cat", litter)))
    make(tmp_path, f"d/{litter}/3.png")
    layout = find_classes(tmp_path / "d")
    assert (layout.classes, layout.stray) == (("cat",), ())


def test_names_in_either_of_unicodes_normal_forms_are_one_class(tmp_path):
    composed, decomposed = "\u00e9t\u00e9", "e\u0301te\u0301"
    make(tmp_path, f"train/{decomposed}/1.png", "train/hiver/1.png", f"test/{composed}/1.png")
    if not (tmp_path / "train" / composed).exists():  # a file system that tells the forms apart
        make(tmp_path, f"train/{composed}/2.png")
        assert len(find_classes(tmp_path).folders) == 4
    assert find_classes(tmp_path).classes == ("hiver", composed)
    assert find_classes(tmp_path, [composed, "hiver"]).classes == ("hiver", composed)


def test_to_evaluate_splits_may_lack_train_and_classes(tmp_path):
    make(tmp_path, "one/test/cat/1.png", "two/val/cat/1.png", "two/test/dog/1.png", "three/cat/1.png")
    known = ["cat", "dog", "emu"]
    assert splits(tmp_path / "one", known=known) == {"test": ["test/cat"]}
    assert splits(tmp_path / "two", known=known) == {"test": ["test/dog"], "validation": ["val/cat"]}
    assert splits(tmp_path / "three", known=known) == {"train": ["cat"]}
    with pytest.raises(
        DataError, match=re.escape("three: the network does not know cat; it was trained on dog")
    ):
        find_classes(tmp_path / "three", ["dog"])


def test_to_evaluate_a_class_of_the_network_is_no_split(tmp_path):
    make(tmp_path, "test/1.png", "train/old/1.png")
    assert splits(tmp_path, known=["test", "toast", "train"]) == {"train": ["test", "train"]}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos")


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "VALIDATION", "Test"), ("train", "valid", "test")]
)
def test_split_folders_are_taken_as_they_are(tmp_path, names):
    for name, num in zip(names, (4, 3, 2), strict=True):
        make_folder(tmp_path / name, num=num)
    dataset = load(tmp_path)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (8, 6, 4)
    assert all(name.startswith(names[1]) for name in dataset.validation.names)


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


def test_a_network_of_another_normal_form_knows_the_same_classes(tmp_path):
    make(tmp_path, "\u00e9t\u00e9/1.png")
    assert find_classes(tmp_path, ["e\u0301te\u0301", "hiver"]).classes == ("\u00e9t\u00e9",)
