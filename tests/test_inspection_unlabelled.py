"""Pictures of a folder that are to be labelled next."""

import shutil

import numpy as np
import pytest
from PIL import Image

from inspected import built
from kilnet.errors import InputError
from kilnet.inspection.unlabelled import to_label
from picture_folders import load, make_folder

RANDOM = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    make_folder(tmp_path / "photos")
    (tmp_path / "new" / "deep").mkdir(parents=True)
    for number in range(6):
        image = Image.fromarray(RANDOM.integers(0, 256, (16, 16, 3), np.uint8))
        image.save(tmp_path / "new" / "deep" / f"{number}.png")
    (tmp_path / "new" / "notes.txt").write_text("no picture")
    return tmp_path / "new"


def test_new_pictures_are_chosen_and_those_that_are_trained_on_are_not(folder):
    classifier = built("ResNet", (3, 16, 16), ("cat", "dog"))
    dataset = load(folder.parent / "photos", image_size=16)
    for place, name in enumerate(dataset.train.names[:4]):
        shutil.copy(folder.parent / "photos" / name, folder / f"copy{place}.png")
    split, items = to_label(classifier, folder, dataset, 4)
    assert len(items) == len(set(split.names)) == 4
    assert all(name.startswith("deep/") for name in split.names)
    assert [item.image.name for item in items] == list(split.names)
    assert {(item.image.label, item.image.split) for item in items} == {("", "unlabelled")}
    assert list(to_label(classifier, folder, dataset, 4)[0].names) == list(split.names)


def test_a_folder_without_new_pictures_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    dataset = load(folder.parent / "photos", image_size=16)
    with pytest.raises(InputError, match="no picture in it"):
        to_label(built("ResNet", (3, 16, 16), ("cat", "dog")), tmp_path / "empty", dataset, 4)
