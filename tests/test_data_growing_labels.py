"""A table of a run's pictures and of those labelled since is one to train on."""

import pytest

from kilnet.data.growing_labels import GrowingLabels
from picture_folders import load, make_folder, save_picture

ANSWERS = {
    "deep/a.png": {"verdict": "wrong", "correction": "dog"},
    "b.png": {"verdict": "unsure", "correction": ""},
    "c.png": {"verdict": "remove", "correction": ""},
}


@pytest.fixture
def photos(tmp_path):
    for name in ANSWERS:
        save_picture(tmp_path / "new" / name)
    return make_folder(tmp_path / "photos")


def named(split, prefix):
    return {f"{prefix}{name}" for name in split.names}


def test_new_pictures_join_training_and_the_other_splits_stay(photos, tmp_path):
    before = load(photos, image_size=20)
    table = GrowingLabels(tmp_path / "labels.csv", tmp_path / "new", before, photos)
    assert table.root == tmp_path.resolve()
    table.write(ANSWERS)
    after = load(tmp_path / "labels.csv", root=str(table.root), image_size=20)
    assert named(after.train, "") == named(before.train, "photos/") | {"new/deep/a.png"}
    assert named(after.validation, "") == named(before.validation, "photos/")
    assert named(after.test, "") == named(before.test, "photos/")
    assert after.classes[after.train.labels[after.train.names.index("new/deep/a.png")]] == "dog"


def test_without_files_of_the_run_the_new_ones_stand_alone(photos, tmp_path):
    table = GrowingLabels(tmp_path / "labels.csv", tmp_path / "new", load(photos), None)
    assert table.root == (tmp_path / "new").resolve()
    table.write(ANSWERS)
    assert (tmp_path / "labels.csv").read_text() == "path,label,split\ndeep/a.png,dog,train\n"
