from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from kilnet.config import DataConfig
from kilnet.data.inventory import inspect_data
from kilnet.data.sources import load_dataset, located, source_of


def test_digits_are_those_of_scikit_learn():
    dataset = load_dataset(DataConfig(source="digits", image_size=8))
    original = load_digits()
    assert dataset.classes == tuple("0123456789")
    seen = 0
    for split in (dataset.train, dataset.validation, dataset.test):
        rows = [int(name) for name in split.names]
        np.testing.assert_array_equal(split.labels, original.target[rows])
        np.testing.assert_array_equal(split.images[:, 0], np.rint(original.images[rows] / 16 * 255))
        seen += len(rows)
    assert seen == 1797


def test_digits_are_sixteen_pixels_unless_asked_otherwise():
    dataset = load_dataset(DataConfig(source="digits"))
    assert dataset.image_shape == (1, 16, 16)
    sizes = [len(dataset.train), len(dataset.validation), len(dataset.test)]
    assert np.allclose(np.array(sizes) / 1797, [0.72, 0.08, 0.2], atol=0.005)


@pytest.fixture
def own_digits(tmp_path, monkeypatch):
    """A folder `digits` in the current folder."""
    monkeypatch.chdir(tmp_path)
    for label, name in enumerate(("0", "1")):
        (tmp_path / "digits" / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (9, 9), (40 * i, 90 * label, 7)).save(tmp_path / "digits" / name / f"{i}.png")
    return tmp_path / "digits"


def test_a_name_that_is_also_a_folder_means_the_data_set_and_that_is_said(own_digits):
    dataset = load_dataset(DataConfig(source="digits"))
    assert dataset.image_shape == (1, 16, 16)
    (warning,) = dataset.warnings
    assert warning.startswith("digits is the data set of that name, and not the folder ./digits")
    own_digits.rename("photos")
    assert load_dataset(DataConfig(source="digits")).warnings == ()


@pytest.mark.parametrize("written", ["./digits", "digits/", Path("digits"), "../{}/digits"])
def test_a_path_means_the_folder_whatever_it_is_called(own_digits, written):
    if isinstance(written, str):
        written = written.format(own_digits.parent.name)
    config = located(DataConfig(source=source_of(written)))
    assert config.source == str(own_digits)
    assert load_dataset(config).image_shape == (3, 9, 9)
    assert inspect_data(config).classes == ("0", "1")


def test_names_stay_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (source_of("digits"), source_of(Path("cifar10"))) == ("digits", "cifar10")
    assert located(DataConfig(source="digits")).source == "digits"
